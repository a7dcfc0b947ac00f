import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { compile, configFrom, connect, createGateway } from '../../src/index.ts';
import { exampleOf, runExample } from '../support/example.ts';

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
    const code = (await exampleOf('src/index.ts', 'tunnelwright'))
      .replace(
        "remote_addrs: 'vpn.example.com',",
        `remote_addrs: '127.0.0.1', remote_port: ${sockets!.ike!.port}, remote_nat_port: ${sockets!.nat.port},`,
      )
      .replace('/home/alice/office.key', secret)
      .replace("host: '10.0.0.5'", "host: '10.0.0.1'");
    const stdout = { write: (chunk: Uint8Array) => output.push(new TextDecoder().decode(chunk)) };
    await runExample(code, { compile, configFrom, connect, process: { stdout } });
    expect(output.join('')).toContain('hello');
    expect(gateway.ikeSas()).toEqual([]);
    server.close();
  } finally {
    await gateway.close(200);
    await rm(folder, { recursive: true });
  }
});
