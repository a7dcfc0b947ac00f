import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { compile, configFrom, connect, createGateway } from '../../src/index.ts';

type Example = (compile: unknown, configFrom: unknown, connect: unknown, process: unknown) => Promise<void>;
const AsyncFunction = (async () => undefined).constructor as new (...lines: string[]) => Example;

test('the example at the head of the library runs as it stands, against a gateway of ours', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-example-'));
  const secret = join(folder, 'office.key');
  await writeFile(secret, 'correct horse battery staple', { mode: 0o600 });
  const gateway = await createGateway({
    config: compile(
      configFrom({
        listen: { addresses: ['127.0.0.1'], port: 0, nat_port: 0 },
        connections: {
          staff: {
            local: [{ auth: 'psk', id: 'vpn.example.com' }],
            remote: [{ auth: 'psk' }],
            pools: ['staff'],
            children: { net: { local_ts: '10.0.0.0/8', remote_ts: 'dynamic' } },
          },
        },
        pools: { staff: { addrs: '10.0.0.0/24' } },
        secrets: { key: { kind: 'psk', secret_file: secret } },
      }),
    ),
  });
  try {
    await gateway.listen();
    const server = gateway.listenTcp(80, (socket) => socket.on('data', () => socket.end('HTTP/1.0 200 OK\r\n\r\nhello')));
    const output: string[] = [];
    const [sockets] = gateway.sockets;
    // Only where the world of the example differs from that of a test: address, ports, path, and the host that answers.
    const code = (await example())
      .replace(
        "remote_addrs: 'vpn.example.com',",
        `remote_addrs: '127.0.0.1', remote_port: ${sockets!.ike!.port}, remote_nat_port: ${sockets!.nat.port},`,
      )
      .replace('/home/alice/office.key', secret)
      .replace("host: '10.0.0.5'", "host: '10.0.0.1'");
    const stdout = { write: (chunk: Uint8Array) => output.push(new TextDecoder().decode(chunk)) };
    await new AsyncFunction('compile', 'configFrom', 'connect', 'process', code)(compile, configFrom, connect, { stdout });
    expect(output.join('')).toContain('hello');
    expect(gateway.ikeSas()).toEqual([]);
    server.close();
  } finally {
    await gateway.close(200);
    await rm(folder, { recursive: true });
  }
});

/** The code of the first example, without its import. */
async function example(): Promise<string> {
  const source = await readFile(join(import.meta.dirname, '..', '..', 'src', 'index.ts'), 'utf8');
  const lines = /```ts\n([\s\S]*?)\n \* ```/
    .exec(source)![1]!
    .split('\n')
    .map((line) => line.replace(/^ \* ?/, ''));
  expect(lines[0]).toMatch(/^import \{ .* \} from 'tunnelwright';$/);
  return lines.slice(1).join('\n');
}
