import { expect, test } from 'vitest';
import { compile, loadConfig } from '../../../src/product/config/index.ts';

const DIGEST = 'ab'.repeat(32);
const config = (pool: string, connection = '') =>
  compile(
    loadConfig(
      `pools: {inner: {addrs: 10.66.0.0/24, encrypted_dns: ${pool}}}
secrets: {s: {kind: psk, secret_file: s.psk}}
connections: {c: {local: {auth: psk, id: us}, remote: {auth: psk}, children: {net: {}}${connection}}}
`,
      { file: 'f.yaml' },
    ),
  );

test('a pool names resolvers in the order of preference', () => {
  const { pools } = config(
    `[{name: DoT.Example.com, addrs: "10.66.0.1, fd00::1"}, {name: doh.example.com, addrs: 10.66.0.2, protocols: [h2, h3], port: 8443, key_digest: "sha256:${DIGEST}"}]`,
  );
  expect(pools[0]?.encryptedDns).toEqual([
    { priority: 1, name: 'dot.example.com', addresses: ['10.66.0.1', 'fd00::1'], alpn: ['dot'] },
    {
      priority: 2,
      name: 'doh.example.com',
      addresses: ['10.66.0.2'],
      alpn: ['h2', 'h3'],
      port: 8443,
      path: '/dns-query{?dns}',
      key: new Uint8Array(32).fill(0xab),
    },
  ]);
});

test('a client asks where it is told to', () => {
  expect(config('{name: a.test, addrs: 10.66.0.1}').connections[0]!.encryptedDns).toBe(false);
  expect(config('{name: a.test, addrs: 10.66.0.1}', ', encrypted_dns: yes').connections[0]!.encryptedDns).toBe(true);
});

test.each([
  ['{addrs: 10.66.0.1}', 'name'],
  ['{name: 10.0.0.1, addrs: 10.66.0.1}', 'is not a DNS name'],
  ['{name: a.test, addrs: resolver}', 'is not an IP address'],
  ['{name: a.test, addrs: 10.66.0.1, protocols: plain}', 'protocols'],
  ['{name: a.test, addrs: 10.66.0.1, path: dns-query}', 'is not the path of a URI template'],
  ['{name: a.test, addrs: 10.66.0.1, key_digest: "sha256:ab"}', 'is not sha256: and 64 hex digits'],
])('%s is refused', (pool, message) => {
  expect(() => config(pool)).toThrow(message);
});
