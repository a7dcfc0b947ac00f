import { expect, test } from 'vitest';
import { compile, loadConfig } from '../../../src/product/config/index.ts';

const DIGEST = 'AB'.repeat(32);
const config = (connection: string, pool = '') =>
  compile(
    loadConfig(
      `pools: {inner: {addrs: 10.66.0.0/24, dns: 10.66.0.1${pool}}}
secrets: {s: {kind: psk, secret_file: s.psk}}
connections: {c: {local: {auth: psk, id: us}, remote: {auth: psk}, children: {net: {}}${connection}}}
`,
      { file: 'f.yaml' },
    ),
  );

test.each([
  ['', { accept: 'any', trustAnchors: [] }],
  [', dns_domains: none', undefined],
  [', dns_domains: "Corp.Example.com., example.net"', { accept: ['corp.example.com', 'example.net'], trustAnchors: [] }],
  [', trust_anchors: "corp.example.com, tld:internal"', { accept: 'any', trustAnchors: ['corp.example.com', 'internal'] }],
])('a client: %s', (text, policy) => {
  expect(config(text).connections[0]!.splitDns).toEqual(policy);
});

test('a pool tells domains and their trust anchors', () => {
  const { pools } = config('', `, domains: "corp.example.com, lab.test", trust_anchors: {corp.example.com: 43547 8 2 ${DIGEST}}`);
  expect(pools[0]).toMatchObject({
    domains: ['corp.example.com', 'lab.test'],
    trustAnchors: { 'corp.example.com': [{ keyTag: 43547, algorithm: 8, digestType: 2 }] },
  });
});

test.each([
  [', trust_anchors: .', '', 'is not a DNS name'],
  [', trust_anchors: com', '', '"com" is a top-level domain'],
  [', dns_domains: "*.example.com"', '', 'is not a DNS name'],
  ['', ', domains: 10.0.0.1', 'is not a DNS name'],
  ['', `, trust_anchors: {corp.example.com: 43547 8 2 ${DIGEST}}`, 'is not among the domains of this pool'],
  ['', ', domains: a.test, trust_anchors: {a.test: 43547 8 2 AB}', 'is not a DS record'],
])('%s %s is refused', (connection, pool, message) => {
  expect(() => config(connection, pool)).toThrow(message);
});
