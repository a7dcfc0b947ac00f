import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CliProcess, runCli } from '../../support/cli.ts';
import { describeWith, TSHARK } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';
import { LoopbackCapture } from './loopback-capture.ts';
import { httpRequests, ikeMessages, openedAsConfigured, type Source, sentInside } from './tshark.ts';

/** `serve` and `up`, each with `--keylog`, under a capture of loopback. tshark is told nothing: what it knows stands in the folder. */
describeWith(TSHARK, 'a gateway and a client under tshark', () => {
  const scope = new Scope();
  const file = randomBytes(3 << 20);
  const ends: { readonly name: string; readonly source: Source }[] = [];
  let closed: Source;

  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-tshark-'));
    scope.defer(folder, () => rm(folder, { recursive: true }));
    const path = (name: string): string => join(folder, name);
    for (const name of ['home', 'run', 'inbox', 'nothing']) await mkdir(path(name), { mode: 0o700 });
    await writeFile(path('psk'), 'a secret of more than sixteen octets\n', { mode: 0o600 });
    await writeFile(path('letter.bin'), file);
    const options = { cwd: folder, env: { HOME: path('home'), XDG_RUNTIME_DIR: path('run') } };

    const capture = await LoopbackCapture.start(scope, path('loopback.pcapng'));
    const listen = ['--address', '127.0.0.1', '--port', '0', '--nat-port', '0'];
    const gateway = new CliProcess(
      ['serve', '--psk-file', 'psk', '--id', 'gw', '--inbox', 'inbox', '--keylog', 'gateway keys', ...listen],
      options,
    );
    scope.defer('the gateway', () => gateway.kill());
    const [, ike, nat] = await gateway.until(/listening on 127\.0\.0\.1:(\d+), 127\.0\.0\.1:(\d+)/);
    await writeFile(
      path('client.yaml'),
      `connections:
  gw:
    remote_addrs: 127.0.0.1
    remote_port: ${ike}
    remote_nat_port: ${nat}
    vips: [0.0.0.0, "::"]
    encap: yes
    local: {auth: psk, id: laptop}
    remote: {auth: psk, id: gw}
    children: {net: {remote_ts: "0.0.0.0/0, ::/0"}}
secrets: {gw: {kind: psk, secret_file: psk}}
listen: {port: 0, nat_port: 0}
`,
    );
    const client = new CliProcess(['up', 'gw', '--config', 'client.yaml', '--keylog', 'keys'], options);
    scope.defer('the client', () => client.kill());
    await client.until(/up in/);
    for (const args of [
      ['send', 'letter.bin', 'gw:'],
      ['rekey', 'gw'],
    ]) {
      const { code, stdout, stderr } = await runCli(args, options);
      expect(code, stdout + stderr).toBe(0);
    }
    for (const one of [client, gateway]) {
      one.interrupt();
      const { code, stderr } = await one.ended;
      expect(code).toBe(130);
      expect(stderr).toMatch(/holds the keys\. To look inside a capture, with wireshark or tshark -r:\n {2}WIRESHARK_CONFIG_DIR=/);
    }
    await capture.end();
    ends.push({ name: 'serve', source: { capture: capture.path, folder: path('gateway keys') } });
    ends.push({ name: 'up', source: { capture: capture.path, folder: path('keys') } });
    closed = { capture: capture.path, folder: path('nothing') };
  });
  afterAll(() => scope.close());

  test.each([0, 1])('the folder that end %i left opens every message of IKE, the rekeying with it', async (i) => {
    const messages = await ikeMessages(ends[i]!.source);
    expect(messages.filter(({ exchange, decrypted }) => (exchange === 'IKE_SA_INIT') === decrypted)).toEqual([]);
    const exchanges = new Set(messages.map(({ exchange }) => exchange));
    expect([...exchanges].sort()).toEqual(['CREATE_CHILD_SA', 'IKE_AUTH', 'IKE_SA_INIT', 'INFORMATIONAL']);
  });

  test.each([0, 1])('the folder that end %i left opens ESP, with no option given', async (i) => {
    const { source } = ends[i]!;
    expect(await openedAsConfigured(source)).toBeGreaterThan(100);
    const patches = httpRequests(await sentInside(source)).filter(({ method }) => method === 'PATCH');
    expect(sha256(Buffer.concat(patches.map(({ body }) => body)))).toBe(sha256(file));
  });

  test('without it nothing is opened', async () => {
    expect(await openedAsConfigured(closed)).toBe(0);
  });
});

function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}
