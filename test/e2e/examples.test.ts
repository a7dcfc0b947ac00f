import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as tunnelwright from '../../src/index.ts';
import { runExampleFile } from '../support/example.ts';

/** What each of them finds of the process it runs in. */
class World {
  readonly said: string[] = [];
  readonly scope: Readonly<Record<string, unknown>>;
  end: () => unknown = () => undefined;

  constructor(...args: readonly string[]) {
    const decoder = new TextDecoder();
    this.scope = {
      console: { log: (line: string) => this.said.push(line) },
      process: {
        argv: ['node', 'example.ts', ...args],
        stdout: { write: (chunk: Uint8Array) => this.said.push(decoder.decode(chunk)) },
        once: (_signal: string, listener: () => unknown) => {
          this.end = listener;
        },
      },
    };
  }
}

const SECRETS = { key: { kind: 'psk', secret: 'a key that both ends know' } };
let folder: string;
let gateway: tunnelwright.Gateway;
const world = new World();

/** The example of the gateway serves the others, its configuration aside. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tunnelwright-examples-'));
  const clients = {
    local: [{ auth: 'psk', id: 'vpn.example.com' }],
    remote: [{ auth: 'psk' }],
    pools: ['staff'],
    children: { net: { local_ts: '10.66.0.0/24', remote_ts: 'dynamic' } },
  };
  const file = await put('gateway.yaml', {
    listen: { addresses: ['127.0.0.1'], port: 0, nat_port: 0 },
    connections: { clients },
    pools: { staff: { addrs: '10.66.0.0/24', dns: '10.66.0.1' } },
    secrets: SECRETS,
  });
  const createGateway: typeof tunnelwright.createGateway = async (options) => {
    gateway = await tunnelwright.createGateway(options);
    return gateway;
  };
  const { scope } = Object.assign(world, new World(file));
  await runExampleFile('examples/gateway.ts', { tunnelwright: { ...tunnelwright, createGateway } }, scope);
});
afterAll(async () => {
  world.end();
  await gateway.close(0);
  await rm(folder, { recursive: true });
});

async function put(name: string, settings: object): Promise<string> {
  const file = join(folder, name);
  await writeFile(file, JSON.stringify(settings), { mode: 0o600 });
  return file;
}

function client(id: string): Promise<string> {
  const [sockets] = gateway.sockets;
  const office = {
    remote_addrs: '127.0.0.1',
    remote_port: sockets!.ike!.port,
    remote_nat_port: sockets!.nat.port,
    vips: '0.0.0.0',
    local: { auth: 'psk', id },
    remote: { auth: 'psk', id: 'vpn.example.com' },
    children: { net: { remote_ts: '10.66.0.0/24' } },
  };
  return put(`${id}.yaml`, { connections: { office }, secrets: SECRETS, listen: { port: 0, nat_port: 0 } });
}

describe('the examples run as they stand', () => {
  test('connect.ts', async () => {
    const { said, scope } = new World(await client('alice@example.com'));
    await runExampleFile('examples/connect.ts', { tunnelwright }, scope);
    expect(said.join('')).toMatch(/^HTTP\/1\.0 200 OK\r\n\r\nhello from the gateway$/);
  });

  test('http.ts', async () => {
    const { said, scope } = new World(await client('bob@example.com'), 'http://10.66.0.1/');
    await runExampleFile('examples/http.ts', { tunnelwright }, scope);
    expect(said).toEqual(['hello from the gateway', 'hello from the gateway', '10.66.0.1 is 10.66.0.1']);
  });

  test('gateway.ts lets in whom it knows, with the address it chose, and keeps the books', async () => {
    const { scope } = new World(await client('mallory@example.com'));
    await expect(runExampleFile('examples/connect.ts', { tunnelwright }, scope)).rejects.toMatchObject({
      code: 'PEER_AUTHENTICATION_FAILED',
    });
    const has = (pattern: RegExp): boolean => world.said.some((line) => pattern.test(line));
    while (!has(/^stop 1 10\.66\.0\.77 [1-9]\d+ \S/) || !has(/^stop 2 10\.66\.0\.2 [1-9]\d+ \S/))
      await new Promise((resolve) => setTimeout(resolve, 10));
    expect(has(/^start 1 10\.66\.0\.77 0$/)).toBe(true);
    expect(has(/^start 3/)).toBe(false);
  });
});

test('docs/library.md shows them as they are', async () => {
  const page = await readFile('docs/library.md', 'utf8');
  for (const name of ['connect', 'http', 'gateway']) {
    const lines = (await readFile(`examples/${name}.ts`, 'utf8')).split('\n').slice(1);
    expect(page, name).toContain(`\`\`\`ts\n${lines.join('\n')}\`\`\``);
  }
});
