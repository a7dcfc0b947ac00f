import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { utf8 } from '../../src/core/bytes/index.ts';
import { ControlClient, ControlServer, ROUTES } from '../../src/product/control/index.ts';
import { seededDraws } from '../fuzz/draws.ts';
import { mutate } from '../fuzz/mutate.ts';
import { FakeTarget, ikeSa } from '../product/control/fake-target.ts';

/** Mutated HTTP on the control socket: every connection ends, with an answer or without, and the next honest request is served. */
describe('control socket', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tw-control-'));
  const path = join(folder, 'run', 'home.sock');
  let server: ControlServer;

  beforeAll(async () => {
    const target = new FakeTarget();
    target.behave = async () => ({ ikeSas: 1, children: 1, ikeSa: ikeSa(), took: 1 });
    server = await ControlServer.listen({ target, path, version: '1.2.3' });
  });
  afterAll(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });

  test('stands mutated requests', async () => {
    const draws = seededDraws(2906);
    const seeds = requests();
    const seen = new Set<string>();
    for (let i = 0; i < INPUTS; i++) {
      const input = mutate(draws.pick(seeds), seeds, draws);
      const answer = await exchange(path, input);
      seen.add(answer.slice(9, 12));
      if (answer !== '') expect(answer, Buffer.from(input).toString('latin1')).toMatch(/^HTTP\/1\.1 [1-5]\d\d /);
      expect(answer).not.toMatch(/INTERNAL_ERROR|\n\s+at /);
    }
    expect([...seen], 'some are served, some refused by HTTP, some by the API').toEqual(expect.arrayContaining(['200', '400', '404']));
    expect(await new ControlClient(path).version()).toMatchObject({ version: '1.2.3' });
  });
});

function requests(): Uint8Array[] {
  const bodies = [
    '{"connection":"road"}',
    '{"connection":"road","children":true}',
    '{"ikeSa":12,"force":true}',
    '{"all":true}',
    '{"files":["/a"],"peer":"road","path":"x/"}',
  ];
  return Object.values(ROUTES).flatMap(({ method, path: where }) =>
    method === 'GET'
      ? [utf8(`GET ${where} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)]
      : bodies.map((body) =>
          utf8(
            `POST ${where} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
          ),
        ),
  );
}

/** Sends it, closes this half, and takes what comes until the other side ends it; a stream, which has no end, is cut as it begins. */
function exchange(path: string, input: Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(path, () => socket.end(input));
    socket.on('data', (data) => {
      answer += data.toString('latin1');
      if (/^content-type: application\/x-ndjson/im.test(answer)) socket.destroy();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(answer));
  });
}

const INPUTS = 300;
