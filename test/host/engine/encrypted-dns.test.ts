import { describe, expect, test } from 'vitest';
import { fromHex } from '../../../src/core/bytes/index.ts';
import type { Connection } from '../../../src/core/ike/index.ts';
import { type ConfigurationAttribute, writeEncryptedResolver, writeResolverDigest } from '../../../src/core/wire/index.ts';
import type { PoolPolicy, ResolverPolicy } from '../../../src/host/engine/lease-pool.ts';
import { LeaseTable } from '../../../src/host/engine/leases.ts';
import { childPolicy, subnet } from '../../../src/testing/policies.ts';
import { connection, End, settle } from '../../core/ike/two-ends.ts';

const KEY = new Uint8Array(32).fill(0xab);
const DOT: ResolverPolicy = { priority: 1, name: 'dot.example.com', addresses: ['10.66.0.1', 'fd00:66::1'], alpn: ['dot'] };
const DOH: ResolverPolicy = {
  priority: 2,
  name: 'doh.example.com',
  addresses: ['10.66.0.2'],
  alpn: ['h2'],
  path: '/dns-query{?dns}',
  key: KEY,
};

interface Options {
  readonly client?: Partial<Connection>;
  readonly gateway?: Partial<Connection>;
  readonly pool?: Partial<PoolPolicy>;
  /** Instead of what the pool gives. */
  readonly attributes?: readonly ConfigurationAttribute[];
}

/** A client and a gateway with a pool, after the client called. */
function meet({ client, gateway, pool, attributes = [] }: Options) {
  const leases = new LeaseTable([{ name: 'lan', ranges: ['10.66.0.0/24', 'fd00:66::/64'], encryptedDns: [DOT, DOH], ...pool }]);
  const behind = subnet('10.2.0.0/16');
  const left = new End({
    connections: [
      connection('left', {
        virtualIps: ['0.0.0.0'],
        encryptedDns: true,
        children: [childPolicy({ localTs: ['dynamic'], remoteTs: [behind] })],
        ...client,
      }),
    ],
  });
  const right = new End({
    connections: [
      connection('right', { pools: ['lan'], children: [childPolicy({ localTs: [behind], remoteTs: ['dynamic'] })], ...gateway }),
    ],
  });
  const asked: ConfigurationAttribute[] = [];
  right.answers = (ask) => {
    if (ask.kind !== 'lease') return right.answer(ask);
    asked.push(...ask.requested);
    const answer = leases.lease(1, ask);
    return answer.ok ? { ...answer, attributes: [...answer.attributes, ...attributes] } : answer;
  };
  left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
  settle(left, right);
  return { left, right, asked: asked.map(({ type }) => type), told: left.endpoint.info()[0]!.encryptedDns };
}

const PATH = { path: '/dns-query{?dns}' };
const FOUR = [
  { name: 'dot.example.com', addresses: ['10.66.0.1'], alpn: ['dot'], keys: [] },
  { name: 'doh.example.com', addresses: ['10.66.0.2'], alpn: ['h2'], ...PATH, keys: [`sha256:${'ab'.repeat(32)}`] },
];

describe('encrypted DNS (RFC 9464)', () => {
  test('who asks is told of the resolvers of its pool, by family and in order, with the digests of their keys', () => {
    const { asked, told } = meet({});
    expect(asked).toEqual([1, 3, 13, 27, 29]);
    expect(told).toEqual({ resolvers: FOUR, ignored: [] });
  });

  test('addresses of both families belong to one resolver', () => {
    const { asked, told } = meet({ client: { virtualIps: ['0.0.0.0', '::'] } });
    expect(asked).toEqual(expect.arrayContaining([27, 28, 29]));
    expect(told?.resolvers.map(({ addresses }) => addresses)).toEqual([['10.66.0.1', 'fd00:66::1'], ['10.66.0.2']]);
  });

  test('who does not ask is not told, and a pool without any tells nothing', () => {
    const silent = meet({ client: { encryptedDns: false } });
    expect([silent.asked, silent.told]).toEqual([[1, 3, 13], undefined]);
    expect(meet({ pool: { encryptedDns: [] } }).told).toBeUndefined();
    expect(meet({ client: { virtualIps: ['::'] }, pool: { encryptedDns: [DOH] } }).told).toBeUndefined();
  });

  test('one name alone needs none in its digest', () => {
    const { left, told } = meet({ pool: { encryptedDns: [DOH] } });
    const digest = left.has('addresses')[0]!.attributes.find(({ type }) => type === 29)!;
    expect(digest.value).toEqual(writeResolverDigest({ name: '', hash: 2, digest: KEY }));
    expect(told?.resolvers[0]?.keys).toEqual([`sha256:${'ab'.repeat(32)}`]);
  });

  test('it lasts through a rekeying and a restart', () => {
    const { left, right, told } = meet({});
    left.endpoint.command({ kind: 'rekey-ike', ikeSa: left.endpoint.info()[0]!.id }, 1000);
    settle(left, right, 1000);
    expect(left.endpoint.info().find(({ state }) => state === 'established')!.encryptedDns).toEqual(told);
    const again = new End({ connections: [connection('left', { virtualIps: ['0.0.0.0'] })] });
    again.endpoint.restore(left.endpoint.snapshot(1000), 2000);
    expect(again.endpoint.info()[0]!.encryptedDns).toEqual(told);
  });
});

describe('what a gateway says of resolvers is not heeded', () => {
  const none = { pool: { encryptedDns: [] } };
  const resolver = (changes: Partial<ResolverPolicy> = {}): ConfigurationAttribute => ({
    type: 27,
    value: writeEncryptedResolver({ ...DOH, ...changes }),
  });

  test('that did not prove who it is', () => {
    const { told } = meet({
      client: { remote: [{ auth: 'null', id: { kind: 'any' } }] },
      gateway: { local: [{ auth: 'null', id: undefined }] },
    });
    expect(told).toEqual({ resolvers: [], ignored: ['resolvers of a gateway that did not prove who it is'] });
  });

  test('unasked', () => {
    expect(meet({ ...none, client: { encryptedDns: false }, attributes: [resolver()] }).told).toBeUndefined();
  });

  test('where it cannot be read; the rest is', () => {
    const attributes = [
      { type: 27, value: fromHex('0001') },
      { type: 28, value: fromHex('00') },
      { type: 29, value: fromHex('0300') },
      resolver(),
    ];
    const { told } = meet({ ...none, attributes });
    expect(told?.resolvers.map(({ name }) => name)).toEqual(['doh.example.com']);
    expect(told?.ignored).toEqual([
      expect.stringMatching(/^a resolver: /),
      expect.stringMatching(/^a resolver: /),
      expect.stringMatching(/^a digest: /),
    ]);
  });

  test('digests of other names, by other hashes, or too short', () => {
    const digest = (name: string, hash: number, length: number): ConfigurationAttribute => ({
      type: 29,
      value: writeResolverDigest({ name, hash, digest: new Uint8Array(length) }),
    });
    const attributes = [resolver(), digest('other.example.com', 2, 32), digest('doh.example.com', 3, 48), digest('', 2, 31)];
    expect(meet({ ...none, attributes }).told?.resolvers[0]?.keys).toEqual([]);
  });

  test('beyond bounds', () => {
    const many = Array.from({ length: 200 }, (_, i) => resolver({ priority: 200 - i, name: `r${i}.example.com` }));
    const addresses = Array.from({ length: 50 }, (_, i) => `10.66.1.${i}`);
    const { told } = meet({ ...none, attributes: [resolver({ addresses }), ...many] });
    expect(told?.resolvers).toHaveLength(32);
    expect(told?.resolvers.find(({ name }) => name === 'doh.example.com')?.addresses).toHaveLength(8);
    expect(told?.resolvers.map(({ name }) => name).at(-1)).toBe('r0.example.com');
  });
});
