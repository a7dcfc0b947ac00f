import { createHash, randomBytes } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { DemoResult } from '../../../src/cli/demo/demo.ts';
import { runCli } from '../../support/cli.ts';
import { describeWith, TSHARK } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';
import { LoopbackCapture } from './loopback-capture.ts';
import { espPackets, type HttpRequest, httpRequests, ikeMessages, type Source, sentInside, tcpStreams } from './tshark.ts';

/** The demo, seen by somebody who captures loopback, holds the key tables that `--keylog` left, and trusts no word of ours. */
describeWith(TSHARK, 'the demo under tshark', () => {
  const scope = new Scope();
  const file = randomBytes(64 << 20);
  const fileDigest = sha256(file);
  let keylog = '';
  let result: DemoResult;
  /** Our own capture of loopback, with the keys; with none; and the capture that the demo left, with the folder as it left it. */
  let own: Source;
  let keyless: Source;
  let theirs: Source;

  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-tshark-'));
    scope.defer(folder, () => rm(folder, { recursive: true }));
    const path = (name: string): string => join(folder, name);
    for (const name of ['home', 'tmp', 'keys', 'no-keys']) await mkdir(path(name));
    await writeFile(path('letter.bin'), file);
    keylog = path('keylog');
    const capture = await LoopbackCapture.start(scope, path('loopback.pcapng'));
    const args = ['demo', '--json', '--file', 'letter.bin', '--keylog', keylog];
    const { code, stdout, stderr } = await runCli(args, { cwd: folder, env: { HOME: path('home'), TMPDIR: path('tmp') } });
    await capture.end();
    expect(code, stdout + stderr).toBe(0);
    result = JSON.parse(stdout) as DemoResult;
    for (const table of ['esp_sa', 'ikev2_decryption_table']) await copyFile(join(keylog, table), join(path('keys'), table));
    own = { capture: capture.path, folder: path('keys'), ports: result.ports };
    keyless = { ...own, folder: path('no-keys') };
    theirs = { capture: join(keylog, 'demo.pcapng'), folder: keylog };
  });
  afterAll(() => scope.close());

  test('--keylog leaves the capture, the tables, and what Wireshark has to know of the ports', async () => {
    expect((await readdir(keylog)).sort()).toEqual(['decode_as_entries', 'demo.pcapng', 'esp_sa', 'ikev2_decryption_table', 'preferences']);
  });

  test('IKE: every message past IKE_SA_INIT is decrypted, and both rekeyings are there', async () => {
    const messages = await ikeMessages(own);
    expect(messages.filter(({ exchange, decrypted }) => (exchange === 'IKE_SA_INIT') === decrypted)).toEqual([]);
    const exchanges = messages.filter(({ response }) => !response).map(({ exchange }) => exchange);
    expect(exchanges.slice(0, 2)).toEqual(['IKE_SA_INIT', 'IKE_AUTH']);
    expect(exchanges.filter((exchange) => exchange === 'CREATE_CHILD_SA').length).toBe(2);
    expect(messages.filter(({ response }) => response).length, 'every request was answered').toBe(exchanges.length);

    const named = (exchange: string, response = false) => messages.filter((m) => m.exchange === exchange && m.response === response);
    const [auth] = named('IKE_AUTH');
    expect(auth?.payloads).toEqual(
      expect.arrayContaining([
        'Identification - Initiator (35)',
        'Certificate (37)',
        'Authentication (39)',
        'Configuration (47)',
        'Security Association (33)',
        'Traffic Selector - Initiator (44) # 1',
        'Traffic Selector - Responder (45) # 1',
      ]),
    );
    expect(auth?.text).toContain('client@demo');
    const [child, ike] = named('CREATE_CHILD_SA');
    expect(child?.payloads).toEqual([
      'Encrypted and Authenticated (46)',
      'Notify (41) - REKEY_SA',
      'Security Association (33)',
      'Nonce (40)',
      'Key Exchange (34)',
      'Traffic Selector - Initiator (44) # 1',
      'Traffic Selector - Responder (45) # 1',
    ]);
    expect(ike?.payloads).toEqual(['Encrypted and Authenticated (46)', 'Security Association (33)', 'Nonce (40)', 'Key Exchange (34)']);
    // the last word is spoken under the keys of the new IKE SA
    const goodbye = named('INFORMATIONAL').at(-1);
    expect(goodbye?.payloads).toContain('Delete (42)');
    expect(goodbye?.spiI).not.toBe(auth?.spiI);
    expect(ike?.text).toContain(`SPI: ${goodbye?.spiI}`);
  });

  test('ESP: two SAs each way, and no sequence number twice', async () => {
    const packets = await espPackets(own, result.ports.nat);
    const spis = (toGateway: boolean) => new Set(packets.filter((p) => p.toGateway === toGateway).map(({ spi }) => spi));
    expect([spis(true).size, spis(false).size]).toEqual([2, 2]);
    expect(new Set(packets.map(({ spi, sequence }) => `${spi} ${sequence}`)).size).toBe(packets.length);
  });

  test('the file, cut out of what tshark decrypted, is the file', async () => {
    expect(await tcpStreams(own)).toBe(1);
    const requests = httpRequests(await sentInside(own));
    expect(requests.map(({ method }) => method)).toEqual(['POST', 'PATCH']);
    expect(sha256(bodyOf(requests))).toBe(fileDigest);
    expect(result.sha256.received).toBe(fileDigest);
  });

  test('the capture that the demo left gives the same, with nothing but its folder for a configuration', async () => {
    expect(sha256(bodyOf(httpRequests(await sentInside(theirs))))).toBe(fileDigest);
    expect((await ikeMessages(theirs)).filter(({ decrypted }) => decrypted).length).toBeGreaterThan(2);
  });

  test('without the keys nobody reads anything', async () => {
    expect(await tcpStreams(keyless)).toBe(0);
    expect((await ikeMessages(keyless)).filter(({ decrypted }) => decrypted)).toEqual([]);
    const captured = await readFile(own.capture);
    const samples = Array.from({ length: 16 }, (_, i) => file.subarray(i << 22, (i << 22) + 16));
    expect(samples.filter((octets) => captured.includes(octets))).toEqual([]);
  });
});

/** What was appended to the upload, in the order of its offsets (the resumable upload that `send` speaks). */
function bodyOf(requests: readonly HttpRequest[]): Buffer {
  const patches = requests.filter(({ method }) => method === 'PATCH');
  const offset = ({ fields }: HttpRequest): number => Number(fields.get('upload-offset'));
  return Buffer.concat(patches.sort((a, b) => offset(a) - offset(b)).map(({ body }) => body));
}

function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}
