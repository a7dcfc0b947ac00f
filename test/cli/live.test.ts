import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Cli, type CliOptions, cli, json } from './harness.ts';
import { TestPki } from './pki.ts';
import { type ClientSettings, clientOf, type Ports, portsOf, User } from './user.ts';

/** Real sockets on loopback, the real core, in one process; each end is a command line. */
let user: User;
let folder: string;
let options: CliOptions;

beforeEach(() => {
  user = new User();
  ({ folder, options } = user);
});
afterEach(() => user.leave());

/** A gateway that answers, and its ports. */
async function serve(...argv: string[]): Promise<{ gateway: Cli } & Ports> {
  const gateway = user.start('serve', '--address', '127.0.0.1', '--port', '0', '--nat-port', '0', ...argv);
  return { gateway, ...(await portsOf(gateway)) };
}

const client = (ports: Ports, settings?: ClientSettings) => user.put('client.yaml', clientOf(ports, settings));

async function up(...argv: string[]): Promise<Cli> {
  const tunnel = user.start('up', 'home', '--config', 'client.yaml', ...argv);
  await tunnel.says(/up in .*|✗/);
  return tunnel;
}

/** Sends what is no IKE to a gateway, again and again, until somebody who follows its events has seen it. */
async function knock(port: number, seen: () => boolean): Promise<void> {
  const socket = createSocket('udp4');
  for (let i = 0; i < 1000 && !seen(); i++) {
    socket.send('who is there?', port, '127.0.0.1');
    await sleep(20);
  }
  socket.close();
  expect(seen()).toBe(true);
}

const PSK = ['--psk-file', 'home.psk', '--id', 'home.example.com'];

describe('two ends with a pre-shared key', () => {
  test('connect, are seen, move files both ways, get fresh keys, and part', async () => {
    mkdirSync(join(folder, 'share'));
    mkdirSync(join(folder, 'inbox'));
    const big = randomBytes(3_000_000);
    user.put('big.bin', big);
    user.put('share/report.txt', 'all is well\n');
    const ports = await serve(...PSK, '--share', 'share', '--inbox', 'inbox');
    client(ports);
    const tunnel = await up();
    expect(tunnel.out).toMatch(/→ IKE_SA_INIT {3}127\.0\.0\.1:\d+ {3}\d+ B → \d+ B .* aes256gcm16 · prfsha384 · x25519\n/);
    expect(tunnel.out).toMatch(/· home\.example\.com proved with the pre-shared key\n/);
    expect(tunnel.out).toMatch(/✓ up in .* {3}10\.66\.0\.2 {3}routes 0\.0\.0\.0\/0\n {4}data plane: netstack/);

    const status = await cli(['status', '--json'], options);
    expect(json(status)).toMatchObject({
      schema: 1,
      instances: [
        { name: 'gateway', role: 'gateway', peers: [{ id: 'laptop@home.example.com', state: 'up', addresses: ['10.66.0.2'] }] },
        { name: 'home', role: 'client', peers: [{ connection: 'home', state: 'up', addresses: ['10.66.0.2'] }] },
      ],
    });
    expect(await cli(['status', '--quiet'], options)).toEqual({ code: 0, out: '', err: '' });
    const sas = await cli(['sas'], options);
    expect(sas.out).toMatch(/2 IKE SAs, 2 child SAs\n$/);
    expect(sas.out).not.toContain('a secret of more');
    const socket = join(folder, 'run', 'tunnelwright', 'home.sock');
    expect(statSync(socket).mode & 0o777).toBe(0o600);

    const sent = await cli(['send', 'big.bin', 'home:2026/', '--parallel', '2'], options);
    expect(sent).toMatchObject({ code: 0, out: expect.stringMatching(/^✓ big\.bin → home:2026\/big\.bin {2}2\.9 MiB in /) });
    expect(sent.out).toMatch(/\n {4}SPI (?:[0-9a-f]{8} in .*? · )?[0-9a-f]{8} out (?:2\.9|3\.\d) MiB.*; nothing left outside of them\n$/);
    expect(readFileSync(join(folder, 'inbox', '2026', 'big.bin')).equals(big)).toBe(true);
    const got = await cli(['get', 'home:report.txt', 'copy.txt', '--json'], options);
    expect(json(got)).toMatchObject({
      schema: 1,
      files: [{ name: 'report.txt', path: join(folder, 'copy.txt'), bytes: 12, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) }],
    });
    const { spis, outside } = json(got) as { spis: { direction: string; bytes: number }[]; outside: number };
    expect(spis.map(({ direction }) => direction).sort()).toEqual(['in', 'out']);
    expect(spis.find(({ direction }) => direction === 'in')?.bytes).toBeGreaterThan(12);
    expect(outside).toBe(0);
    expect(readFileSync(join(folder, 'copy.txt'), 'utf8')).toBe('all is well\n');
    await ports.gateway.says(/file {2}laptop@home\.example\.com sent 2026\/big\.bin {2}2\.9 MiB/);
    await ports.gateway.says(/file {2}laptop@home\.example\.com got report\.txt {2}12 B/);

    mkdirSync(join(folder, 'tree', 'sub'), { recursive: true });
    for (const name of ['a', 'b', 'sub/c']) user.put(`tree/${name}`, name);
    expect(await cli(['send', 'tree', 'home:2026/'], options)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^✓ tree → home:2026\/ {2}3 files, 7 B in /),
    });
    expect(readFileSync(join(folder, 'inbox', '2026', 'tree', 'sub', 'c'), 'utf8')).toBe('sub/c');
    expect((await cli(['send', 'tree', 'home:2026/'], options)).out).toBe('✓ tree → home:2026/  3 files, was there already, whole\n');
    await ports.gateway.says(/file {2}laptop@home\.example\.com sent 3 files {2}7 B/);
    symlinkSync('/etc/hosts', join(folder, 'tree', 'hosts'));
    expect(await cli(['send', 'tree', 'home:2026/'], options)).toMatchObject({
      code: 1,
      out: '! tree → home:2026/  3 files, was there already, whole, 1 left out:\n    2026/tree/hosts: is a symbolic link that leads out of what is sent\n',
    });
    mkdirSync(join(folder, 'share', 'sub'));
    user.put('share/sub/d', 'd');
    symlinkSync('sub/d', join(folder, 'share', 'link'));
    utimesSync(join(folder, 'share', 'sub', 'd'), 1_700_000_000, 1_700_000_000);
    chmodSync(join(folder, 'share', 'sub', 'd'), 0o751);
    expect((await cli(['ls', 'home:'], options)).out).toBe('link → sub/d\nreport.txt\nsub/\n');
    expect((await cli(['ls', 'home:sub', '-l'], options)).out).toBe('-rwxr-x--x   1 B   2023-11-14 22:13   d\n');
    expect(json(await cli(['ls', 'home:sub', '--json'], options))).toMatchObject({
      entries: [{ name: 'd', kind: 'file', size: 1, mode: 0o751 }],
    });
    expect((await cli(['ls', 'home:nothing'], options)).code).toBe(3);
    rmSync(join(folder, 'share', 'link'));
    expect(json(await cli(['get', 'home:', 'all', '--json'], options))).toMatchObject({
      files: [{ path: join(folder, 'all'), bytes: 13, sha256: null, tree: { files: 2, known: 0, skipped: [], skippedCount: 0 } }],
    });
    expect(readFileSync(join(folder, 'all', 'sub', 'd'), 'utf8')).toBe('d');

    expect(await cli(['get', 'home:nowhere.txt'], options)).toMatchObject({ code: 3, err: expect.stringContaining('no such file') });
    expect(await cli(['send', 'big.bin', 'laptop:'], options)).toMatchObject({
      code: 3,
      err: expect.stringContaining('laptop serves no files inside the tunnel'),
    });
    expect(await cli(['send', 'nowhere.bin', 'home:'], options)).toMatchObject({
      code: 3,
      err: `✗ nowhere.bin: there is no such file   exit 3\n  fix   It was looked for at ${join(folder, 'nowhere.bin')}\n`,
    });
    expect(await cli(['send', 'big.bin', 'mallory:'], options)).toMatchObject({
      code: 3,
      err: expect.stringContaining('nothing here is called mallory'),
    });

    expect(await cli(['rekey', 'home', '--children'], options)).toMatchObject({ code: 0, out: '✓ fresh keys for 1 IKE SA, 1 child SA\n' });
    // What was told about the old IKE SA holds for the new one.
    expect(await cli(['get', 'home:report.txt', 'again.txt'], options)).toMatchObject({ code: 0, err: '' });

    // The child before the rekey may linger for late packets.
    expect(await cli(['down', 'home'], options)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^✓ closed 1 IKE SA, [12] child SAs?\n$/),
    });
    expect((await tunnel.done).code).toBe(0);
    expect(existsSync(socket)).toBe(false);
    expect((await cli(['status'], options)).out).toMatch(/^laptop@home\.example\.com {3}down {3}last seen \d+s ago: /);
    expect((await cli(['down', '--all'], options)).out).toBe('Nothing was up.\n');
    ports.gateway.signal('SIGTERM');
    expect((await ports.gateway.done).code).toBe(0);
  });

  test('whichever end rekeys the IKE SA, files find their way, and everybody keeps name and address', async () => {
    mkdirSync(join(folder, 'inbox'));
    user.put('note.txt', 'all is well\n');
    const ports = await serve(...PSK, '--inbox', 'inbox');
    client(ports);
    await up();
    const before = json(await cli(['status', '--json'], options));
    expect(await cli(['rekey', 'gateway'], options)).toEqual({
      code: 0,
      out: '✓ fresh keys for 1 IKE SA\n',
      err: '  its child SAs keep theirs; --children gives them new ones as well\n',
    });
    const { out } = await cli(['sas'], options);
    expect(out).toMatch(/^clients .* initiator [\s\S]*? {2}them {2}laptop@home\.example\.com {2}psk {2}10\.66\.0\.2 /m);
    expect(out).toMatch(/^home .* responder [\s\S]*? {2}we {4}laptop@home\.example\.com {2}psk {2}10\.66\.0\.2 /m);
    expect(await cli(['send', 'note.txt', 'home:'], options)).toMatchObject({ code: 0, err: '' });
    await ports.gateway.says(/file {2}laptop@home\.example\.com sent note\.txt {2}12 B/);
    expect((await cli(['send', 'note.txt', 'home:'], options)).out).toBe('✓ note.txt → home:note.txt  was there already, whole\n');
    const since = ({ instances }: Record<string, unknown>) =>
      (instances as { peers: { since: string }[] }[]).map(({ peers }) => Date.parse(peers[0]!.since));
    const after = since(json(await cli(['status', '--json'], options)));
    // the two clocks are read anew each time, and differ by what a rounding makes of them
    for (const [i, at] of since(before).entries()) expect(Math.abs(after[i]! - at)).toBeLessThan(50);
    expect((await cli(['up', 'home'], options)).out).toMatch(/^ {2}✓ up already {3}10\.66\.0\.2 /);
  });

  test('a connection that is called as its address is a connection, not an address inside the tunnel', async () => {
    mkdirSync(join(folder, 'inbox'));
    user.put('note.txt', 'all is well\n');
    const { nat } = await serve(...PSK, '--inbox', 'inbox');
    const target = `ike://laptop@127.0.0.1:${nat}`;
    const tunnel = user.start('up', target, '--psk-file', 'home.psk', '--remote-id', 'home.example.com');
    await tunnel.says(/up in .*|✗/);
    expect(await cli(['send', 'note.txt', '127.0.0.1:', '--timeout', '10s'], options)).toMatchObject({ code: 0, err: '' });
    expect(readFileSync(join(folder, 'inbox', 'note.txt'), 'utf8')).toBe('all is well\n');
    const again = await cli(['up', target, '--psk-file', 'home.psk'], options);
    expect(again.code).toBe(1);
    expect(again.err).toContain('a client with tunnelwright down 127.0.0.1 as well.');
  });

  test('receive takes files into a client that serves none, as many as are asked for, or until Ctrl-C', async () => {
    mkdirSync(join(folder, 'inbox'));
    mkdirSync(join(folder, 'got'));
    user.put('note.txt', 'all is well\n');
    const ports = await serve(...PSK, '--inbox', 'inbox');
    client(ports);
    await up();
    const one = user.start('receive', 'got', '--through', 'home', '--count', '1');
    await one.says(/takes files into got through home/);
    expect(await cli(['send', 'note.txt', 'laptop:2026/'], options)).toMatchObject({ code: 0, err: '' });
    expect(await one.done).toMatchObject({ code: 0 });
    expect(one.out).toMatch(/ sent 2026\/note\.txt {2}12 B\n✓ received 1 file, 12 B\n$/);
    expect(readFileSync(join(folder, 'got', '2026', 'note.txt'), 'utf8')).toBe('all is well\n');
    const until = user.start('receive', 'got', '--through', 'home', '--json');
    await until.says(/"event":"listening"/);
    until.signal('SIGINT');
    expect((await until.done).code).toBe(130);
    const taken = await cli(['receive', 'got', '--through', 'gateway'], options);
    expect(taken).toMatchObject({ code: 1, err: expect.stringContaining('gateway takes files already') });
    expect((await cli(['receive', 'nowhere', '--through', 'home'], options)).code).toBe(3);
  });

  test('Ctrl-C says goodbye, and is 130 for a script', async () => {
    const ports = await serve(...PSK);
    client(ports);
    const tunnel = await up();
    tunnel.signal('SIGINT');
    expect((await tunnel.done).code).toBe(130);
    await ports.gateway.says(/down {2}laptop@home\.example\.com {2}#\d+ {2}the peer closed the IKE SA/);
    expect(tunnel.exitedNow).toBeUndefined();
  });

  test('the second Ctrl-C waits for nobody', async () => {
    const ports = await serve(...PSK);
    client(ports);
    const tunnel = await up();
    tunnel.signal('SIGINT');
    tunnel.signal('SIGINT');
    expect(tunnel.exitedNow).toBe(130);
    await tunnel.done;
  });

  test('--json is one document a line, keys are never in it', async () => {
    const ports = await serve(...PSK);
    client(ports);
    const tunnel = user.start('up', 'home', '--config', 'client.yaml', '--json');
    await tunnel.says(/"event":"up"/);
    const lines = tunnel.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.every((line) => line.schema === 1)).toBe(true);
    expect(lines.map((line) => line.event)).toEqual(expect.arrayContaining(['exchange', 'peer', 'ike-up', 'child-up', 'up']));
    expect(tunnel.out).not.toMatch(/SK_|encryptionKey|sharedSecret/);
    expect(tunnel.err).toBe('');
  });

  test('a name on the machine is there once', async () => {
    const ports = await serve(...PSK);
    client(ports);
    await up();
    const second = await cli(['up', 'home', '--config', 'client.yaml'], options);
    expect(second).toMatchObject({ code: 1, err: expect.stringContaining('an instance already listens at') });
    expect(second.err).toContain('--name');
  });

  test('a connection of a running instance is brought up there', async () => {
    const ports = await serve(...PSK);
    client(ports);
    user.put(
      'site.yaml',
      readFileSync(join(folder, 'client.yaml'), 'utf8').replace(
        'listen: {port: 0, nat_port: 0}',
        'listen: {addresses: 127.0.0.1, port: 0, nat_port: 0}\nname: site',
      ),
    );
    const site = user.start('serve', '--config', 'site.yaml');
    await site.says(/listening on/);
    expect((await cli(['status'], options)).out).toContain('home   down   not connected yet');
    const brought = await cli(['up', 'home'], options);
    expect(brought).toMatchObject({ code: 0, err: expect.stringContaining('in site; to disconnect: tunnelwright down home') });
    expect(brought.out).toMatch(/→ IKE_AUTH[\s\S]*✓ up in /);
    expect((await cli(['down', 'home'], options)).out).toBe('✓ closed 1 IKE SA, 1 child SA\n');
    expect((await cli(['up', 'home'], options)).code).toBe(0);
  });

  test('events are followed for a while', async () => {
    const ports = await serve(...PSK);
    client(ports);
    const events = user.start('events', 'gateway', '-v', '--timeout', '10m');
    await knock(ports.ike, () => /drop/.test(events.out));
    const tunnel = await up();
    await events.says(/up {2,}laptop@home\.example\.com/);
    tunnel.signal('SIGTERM');
    await events.says(/down {2}laptop@home\.example\.com/);
    events.signal('SIGINT');
    expect((await events.done).code).toBe(130);
  });
});

describe('two ends with certificates', () => {
  const cert = (gateway: Ports, remote = 'id: vpn.example.com, cacerts: ca.crt') =>
    client(gateway, { local: '{auth: pubkey, certs: alice.crt, key: alice.key}', remote: `{auth: pubkey, ${remote}}` });
  const GATEWAY = ['--cert', 'gw.crt', '--key', 'gw.key', '--ca', 'ca.crt', '--id', 'vpn.example.com'];

  test('connect, and say what proved it', async () => {
    const pki = new TestPki(folder);
    pki.issue('gw', 'vpn.example.com', { gateway: true });
    pki.issue('alice', 'alice@example.com');
    cert(await serve(...GATEWAY));
    const tunnel = await up();
    expect(tunnel.out).toMatch(/· vpn\.example\.com proved with a certificate: CN=vpn\.example\.com \(CA "ca", \d+ d left\)/);
    expect((await cli(['sas'], options)).out).toMatch(/them {2}vpn\.example\.com +cert/);
  });

  test('an authority we do not know: 7', async () => {
    const pki = new TestPki(folder);
    new TestPki(folder, 'other');
    pki.issue('gw', 'vpn.example.com', { gateway: true });
    pki.issue('alice', 'alice@example.com');
    cert(await serve(...GATEWAY), 'id: vpn.example.com, cacerts: other.crt');
    expect(await failing()).toMatchObject({ code: 7, err: expect.stringMatching(/✗ home: .*(CA|authority|issued).* exit 7\n {2}fix {3}/) });
  });

  test('a gateway that is somebody else: 7, with both names', async () => {
    const pki = new TestPki(folder);
    pki.issue('gw', 'gw1.corp.internal', { gateway: true });
    pki.issue('alice', 'alice@example.com');
    cert(await serve(...GATEWAY));
    expect(await failing()).toMatchObject({
      code: 7,
      err: expect.stringMatching(/vpn\.example\.com[\s\S]*gw1\.corp\.internal|gw1\.corp\.internal[\s\S]*vpn\.example\.com/),
    });
  });

  test('our certificate has expired: 7, with the day', async () => {
    const pki = new TestPki(folder);
    pki.issue('gw', 'vpn.example.com', { gateway: true });
    pki.issue('alice', 'alice@example.com', { expired: true });
    cert(await serve(...GATEWAY));
    expect(await failing()).toMatchObject({
      code: 7,
      err: expect.stringMatching(/✗ home: our own certificate "CN=alice@example\.com" expired on .* exit 7\n {2}fix {3}Renew it/),
    });
  });

  test('that of the gateway has: it says so when it starts, the client hears 4', async () => {
    const pki = new TestPki(folder);
    pki.issue('gw', 'vpn.example.com', { gateway: true, expired: true });
    pki.issue('alice', 'alice@example.com');
    const ports = await serve(...GATEWAY);
    expect(ports.gateway.err).toMatch(/! our certificate CN=vpn\.example\.com expired on \d{4}-\d\d-\d\d\n {2}fix {3}Renew it/);
    cert(ports);
    expect(await failing()).toMatchObject({ code: 4 });
  });

  test('a key that others can read is refused before anything is sent: 2', async () => {
    const pki = new TestPki(folder);
    pki.issue('gw', 'vpn.example.com', { gateway: true });
    const { chmodSync } = await import('node:fs');
    chmodSync(join(folder, 'gw.key'), 0o644);
    expect(await cli(['serve', ...GATEWAY], options)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/✗ --key: .*gw\.key .*\n {2}fix {3}chmod 600 /),
    });
  });
});

/** `up` that must not succeed. */
const failing = () => cli(['up', 'home', '--config', 'client.yaml'], options);

describe('--keylog', () => {
  test('leaves a folder at either end that Wireshark starts with, and says how', async () => {
    const ports = await serve(...PSK, '--keylog', 'gateway keys');
    client(ports);
    const tunnel = await up('--keylog', 'keys');
    await user.end();
    for (const name of ['keys', 'gateway keys']) {
      expect(readdirSync(join(folder, name)).sort()).toEqual(['decode_as_entries', 'esp_sa', 'ikev2_decryption_table', 'preferences']);
      expect(readFileSync(join(folder, name, 'decode_as_entries'), 'utf8')).toBe(
        `decode_as_entry: udp.port,${ports.ike},(none),ISAKMP\ndecode_as_entry: udp.port,${ports.nat},(none),UDPENCAP\n`,
      );
    }
    const [theirs, ours] = [join(folder, 'gateway keys'), join(folder, 'keys')];
    expect(tunnel.err).toContain(
      `\n${ours} holds the keys. To look inside a capture, with wireshark or tshark -r:\n  WIRESHARK_CONFIG_DIR=${ours} wireshark CAPTURE\n`,
    );
    expect(ports.gateway.err).toContain(`\n  WIRESHARK_CONFIG_DIR='${theirs}' wireshark CAPTURE\n`);
  });

  test('a folder that cannot be is told before anything is opened', async () => {
    client({ ike: 500, nat: 4500 });
    for (const argv of [
      ['up', 'home', '--config', 'client.yaml'],
      ['serve', '--address', '127.0.0.1', '--port', '0', '--nat-port', '0', ...PSK],
    ]) {
      const { code, out, err } = await cli([...argv, '--keylog', 'home.psk'], options);
      expect({ code, out }).toEqual({ code: 2, out: '' });
      expect(err).toMatch(/^✗ .*home\.psk is not a folder to write to \(EEXIST\) .*exit 2\n {2}fix {3}Name a folder of yours/);
    }
  });
});

describe('what goes wrong ends in one sentence, its fix and its exit code', () => {
  test('a wrong pre-shared key: 4, and the gateway knows more', async () => {
    user.put('wrong.psk', 'another secret, just as long as the first');
    const ports = await serve(...PSK);
    client(ports, { secret: 'wrong.psk' });
    expect(await failing()).toMatchObject({
      code: 4,
      err: expect.stringMatching(/^✗ home: the peer answered AUTHENTICATION_FAILED.* exit 4\n {2}fix {3}Compare identity and secret/),
    });
    await ports.gateway.says(/✗ {5}clients {2}#\d+ {2}the pre-shared key of laptop@home\.example\.com is not the one/);
  });

  test('no common proposal: 5, with what was offered', async () => {
    const ports = await serve(...PSK, '--ike', 'aes256-sha512-modp4096');
    client(ports, { lines: 'proposals: [aes256gcm16-prfsha384-x25519, chacha20poly1305-prfsha256-ecp256]' });
    expect(await failing()).toMatchObject({
      code: 5,
      err: expect.stringMatching(
        /NO_PROPOSAL_CHOSEN.* exit 5\n {2}we offered {2}1 aes256gcm16-prfsha384-x25519 {3}2 chacha20poly1305-prfsha256-ecp256\n {2}fix {3}/,
      ),
    });
  });

  test('no common child proposal: 5', async () => {
    const ports = await serve(...PSK, '--esp', 'aes256-sha512');
    client(ports, { child: '{remote_ts: 0.0.0.0/0, esp_proposals: aes128gcm16}' });
    expect(await failing()).toMatchObject({
      code: 5,
      err: expect.stringMatching(/CHILD_SA net.* exit 5\n {2}we offered {2}1 aes128gcm16-esn-noesn\n/),
    });
  });

  test('unacceptable selectors: 5, with what was asked for', async () => {
    const ports = await serve(...PSK, '--net', '10.1.0.0/16');
    client(ports, { child: '{remote_ts: 10.2.0.0/16}' });
    expect(await failing()).toMatchObject({
      code: 5,
      err: expect.stringMatching(/TS_UNACCEPTABLE.* exit 5\n {2}we asked for {2}our address ⇄ 10\.2\.0\.0\/16\n/),
    });
  });

  test('a silent peer: 6', async () => {
    client({ ike: 9, nat: 9 }, { patience: '2s' });
    expect(await failing()).toMatchObject({
      code: 6,
      out: expect.stringContaining('asked again (1)'),
      err: expect.stringMatching(
        /^✗ home: 127\.0\.0\.1:9 did not answer IKE_SA_INIT for 2 s; over TCP: 127\.0\.0\.1:9 does not take TCP connections {3}exit 6\n {2}fix /,
      ),
    });
  });

  test('--timeout ends it sooner, Ctrl-C too', async () => {
    client({ ike: 9, nat: 9 });
    expect(await cli(['up', 'home', '--config', 'client.yaml', '--timeout', '300ms'], options)).toMatchObject({
      code: 6,
      err: expect.stringContaining('not done within 0.3 s'),
    });
    const attempt = user.start('up', 'home', '--config', 'client.yaml');
    await attempt.says(/asked again/);
    attempt.signal();
    expect((await attempt.done).code).toBe(130);
  });

  test('a port that is taken: 1', async () => {
    const { ike, nat } = await serve(...PSK);
    expect(
      await cli(['serve', ...PSK, '--address', '127.0.0.1', '--port', String(ike), '--nat-port', String(nat), '--name', 'second'], options),
    ).toMatchObject({ code: 1, err: expect.stringMatching(/already uses this port[\s\S]*fix/) });
  });

  test('a configuration with several mistakes tells all of them: 2', async () => {
    user.put('bad.yaml', 'connections:\n  home:\n    remot_addrs: x\n    mobike: maybe\n    local: {auth: psk}\n    remote: {auth: psk}\n');
    expect(await cli(['up', 'home', '--config', 'bad.yaml'], options)).toMatchObject({
      code: 2,
      err: '✗ bad.yaml:3:5 connections.home.remot_addrs: unknown key: did you mean "remote_addrs"?\n✗ bad.yaml:4:13 connections.home.mobike: expected yes or no   exit 2\n',
    });
  });

  test('a secret inside a file that others can read: 2', async () => {
    client({ ike: 9, nat: 9 });
    const text = readFileSync(join(folder, 'client.yaml'), 'utf8').replace(
      'secret_file: home.psk',
      'secret: a secret of more than sixteen octets',
    );
    writeFileSync(join(folder, 'open.yaml'), text, { mode: 0o644 });
    const ran = await cli(['up', 'home', '--config', 'open.yaml'], options);
    expect(ran).toMatchObject({ code: 2, err: expect.stringMatching(/open\.yaml holds a secret but others may read[\s\S]*chmod 600/) });
    expect(ran.out + ran.err).not.toContain('a secret of more');
  });

  test('flags that a configuration file would silently swallow: 2', async () => {
    client({ ike: 9, nat: 9 });
    expect(await cli(['serve', '--config', 'client.yaml', '--pool', '10.0.0.0/24'], options)).toMatchObject({
      code: 2,
      err: expect.stringContaining('--pool makes a gateway without a configuration, and client.yaml is one'),
    });
  });

  test('a target that is a file with several connections', async () => {
    user.put(
      'two.yaml',
      'secrets: {s: {kind: psk, secret_file: home.psk}}\nconnections:\n  a: &c {remote_addrs: 127.0.0.1, local: {auth: psk, id: x}, remote: {auth: psk}, children: {n: }}\n  b: *c\n',
    );
    expect(await cli(['up', 'two.yaml'], options)).toMatchObject({
      code: 2,
      err: expect.stringContaining('tunnelwright up a --config two.yaml'),
    });
  });
});
