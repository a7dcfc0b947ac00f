import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createNetwork, type Network } from '../support/network.ts';
import { commandExists, Daemon, eventually, type Finished, must, PATIENCE, run } from '../support/process.ts';
import { createIdentities } from '../support/profile.ts';
import { describeWith, NAMESPACES, TSHARK } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';
import { configuration } from '../support/tunnelwright.ts';
import { CONTROL, type CommandLine, commandWithin, TUNNELWRIGHT, writeSettings } from '../transfer/ends.ts';

/** On the gateway's machine, behind the gateway. */
const BEHIND = '10.2.0.5';
const INSIDE = '10.2.0.0/24, 10.66.0.0/24';
const [WEB, SOCKS, FORWARDED, FILES] = [8000, 1080, 8080, 9467];
/** What a ping in clear carries, hex. */
const CLEAR = 'c1ea';
const MARK = 'a sentence that nobody between may read';
const CAPTURE = {
  name: TSHARK.name,
  missing: () => NAMESPACES.missing() ?? TSHARK.missing() ?? ['curl', 'ss'].find((name) => !commandExists(name)),
};

describeWith(CAPTURE, 'nothing passes beside the tunnel of a client and a gateway without interfaces', () => {
  const scope = new Scope();
  let network: Network;
  let folder: string;
  let gateway: Daemon;
  let captured: string;
  let capture: Daemon;

  const at = (side: 'left' | 'right', command: readonly string[]): CommandLine =>
    commandWithin(network[side].namespace, join(folder, side), command);
  const runs = (side: 'left' | 'right', ...command: readonly string[]): Promise<Finished> => {
    const [program, args, options] = at(side, command);
    return run(program, args, options);
  };
  const curl = (...words: readonly string[]): Promise<Finished> => runs('left', 'curl', '-sS', '--fail', '--max-time', '5', ...words);
  const through = (): readonly (readonly string[])[] => [
    ['--proxy', `socks5h://127.0.0.1:${SOCKS}`, `http://${BEHIND}:${WEB}/page`],
    ['--proxy', `http://127.0.0.1:${SOCKS}`, `http://${BEHIND}:${WEB}/page`],
    [`http://127.0.0.1:${FORWARDED}/page`],
  ];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tunnelwright-clear-'));
    scope.defer('folder', () => rm(folder, { recursive: true, force: true }));
    await chmod(folder, 0o755);
    network = await createNetwork(scope);
    const { left, right } = network;
    await must('ip', ['-n', right.namespace, 'addr', 'add', `${BEHIND}/32`, 'dev', 'lo']);
    // a machine whose default route would take whatever is not kept
    await must('ip', ['-n', left.namespace, 'route', 'add', 'default', 'via', right.address]);
    const identities = await createIdentities(folder, 'psk');
    const suites = { ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16' };
    await mkdir(join(folder, 'inbox'));
    await writeSettings(
      join(folder, 'right'),
      configuration({
        ...suites,
        host: right,
        peer: left,
        identity: identities.right,
        connection: { pools: ['clients'] },
        child: { local_ts: INSIDE, remote_ts: 'dynamic' },
        sections: {
          addresses: undefined,
          pools: { clients: { addrs: '10.66.0.0/24' } },
          behind: { lan: { networks: BEHIND } },
          transfer: { inbox: join(folder, 'inbox'), port: FILES },
        },
      }),
    );
    await writeSettings(
      join(folder, 'left'),
      configuration({
        ...suites,
        host: left,
        peer: right,
        identity: identities.left,
        connection: { vips: '0.0.0.0', dpd_delay: '1s' },
        child: { local_ts: 'dynamic', remote_ts: INSIDE, dpd_action: 'restart' },
        sections: { addresses: [] },
      }),
    );
    await writeFile(join(folder, 'left', 'page'), MARK);
    captured = join(folder, 'outside.pcapng');
    const { namespace, device } = left;
    capture = new Daemon(scope, 'dumpcap', 'ip', ['netns', 'exec', namespace, 'dumpcap', '-q', '-i', device, '-w', captured]);
    await eventually(
      'dumpcap captures',
      () => /^File: /m.test(capture.output),
      PATIENCE,
      () => capture.output,
    );
    const serves = `require('node:http').createServer((_, response) => response.end('${MARK}')).listen(${WEB}, '${BEHIND}')`;
    new Daemon(scope, 'web', ...at('right', [process.execPath, '-e', serves]));
    const file = ['--config', 'tunnelwright.yaml'];
    const start = async (side: 'left' | 'right', words: readonly string[], said: string): Promise<Daemon> => {
      const daemon = new Daemon(scope, side, ...at(side, [...TUNNELWRIGHT, ...words, ...file]));
      await eventually(
        `it says ${said}`,
        () => daemon.output.includes(said),
        PATIENCE,
        () => daemon.output,
      );
      return daemon;
    };
    gateway = await start('right', ['serve'], 'listening on');
    await start('left', ['up', 'net', '--socks', String(SOCKS), '-L', `${FORWARDED}:${BEHIND}:${WEB}`], '✓ up in');
  });
  afterAll(() => scope.close());

  test('while it stands, programs reach what is behind it', async () => {
    for (const words of through())
      await eventually(
        `curl ${words.join(' ')}`,
        async () => (await curl(...words)).stdout.includes(MARK),
        PATIENCE,
        () => gateway.output,
      );
    const sent = await runs('left', ...TUNNELWRIGHT, 'send', 'page', 'net:', '--control', CONTROL);
    expect(sent, sent.stderr).toMatchObject({ status: 0 });
    expect(await readFile(join(folder, 'inbox', 'page'), 'utf8')).toContain(MARK);
  });

  test('files are taken inside it alone', async () => {
    const { stdout: listening } = await runs('right', 'ss', '-Htln');
    expect(listening).not.toContain(`:${FILES}`);
    const before = await must('ls', [join(folder, 'inbox')]);
    for (const address of [network.right.address, BEHIND, '10.66.0.1']) {
      const { status, stdout } = await curl('--upload-file', 'page', `http://${address}:${FILES}/inbox/`);
      expect([status === 0, stdout]).toEqual([false, '']);
    }
    // a route into the gateway's machine does not lead to its addresses inside the tunnel
    await must('ip', ['-n', network.left.namespace, 'route', 'add', '10.66.0.0/24', 'via', network.right.address]);
    expect((await curl('--connect-timeout', '3', `http://10.66.0.1:${FILES}/`)).status).not.toBe(0);
    expect(await must('ls', [join(folder, 'inbox')])).toBe(before);
  });

  test('when it is down nothing leaves in clear, whatever programs try', async () => {
    // `ip netns exec` becomes what it executes
    process.kill(gateway.pid, 'SIGKILL');
    await eventually('the gateway is gone', () => !gateway.running);
    for (const words of through()) expect((await curl(...words)).status).not.toBe(0);
    for (const words of [
      ['nc', BEHIND, String(WEB)],
      ['ping', '-n', '1', BEHIND],
      ['send', 'page', 'net:'],
    ]) {
      const { status } = await runs('left', ...TUNNELWRIGHT, ...words, '--control', CONTROL, '--timeout', '2s');
      expect(status, words[0]).not.toBe(0);
    }
    // a packet in clear would be seen; and once these are written, so is all before them
    const ping = ['-q', '-c', '16', '-i', '0.01', '-s', '1400', '-p', CLEAR, network.right.address];
    await eventually(
      'dumpcap writes what is in clear',
      async () => {
        await runs('left', 'ping', ...ping);
        return (await readFile(captured)).includes(Buffer.from(CLEAR.repeat(16), 'hex'));
      },
      PATIENCE,
      () => capture.output,
    );
    await capture.stop();
    const seen = (filter: string): Promise<string> => must('tshark', ['-n', '-r', captured, '-Y', filter]);
    const fromUs = `ip.src == ${network.left.address}`;
    const ofTheTunnel = '(udp.port in {500, 4500} || tcp.port == 4500)';
    expect(await seen(`${fromUs} && !icmp && !${ofTheTunnel} && !(tcp.dstport == ${FILES})`)).toBe('');
    expect(await seen(`icmp.type == 8 && !(data contains ${CLEAR.slice(0, 2)}:${CLEAR.slice(2)})`)).toBe('');
    expect((await seen(`${fromUs} && udp.port == 4500`)).split('\n').length).toBeGreaterThan(10);
    expect((await readFile(captured)).includes(MARK)).toBe(false);
  });
});
