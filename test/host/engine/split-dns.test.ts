import { describe, expect, test } from 'vitest';
import { parseIp, utf8 } from '../../../src/core/bytes/index.ts';
import type { Connection } from '../../../src/core/ike/index.ts';
import { type ConfigurationAttribute, NotifyType, readTrustAnchor, writeTrustAnchor } from '../../../src/core/wire/index.ts';
import { placeOf, resolveOutside } from '../../../src/host/engine/inner-dns.ts';
import type { PoolPolicy } from '../../../src/host/engine/lease-pool.ts';
import { LeaseTable } from '../../../src/host/engine/leases.ts';
import { childPolicy, subnet } from '../../../src/testing/policies.ts';
import { connection, End, settle } from '../../core/ike/two-ends.ts';

const ANCHOR = readTrustAnchor(`43547 8 2 ${'AB'.repeat(32)}`)!;
const DS = `43547 8 2 ${'AB'.repeat(32)}`;
const BEHIND = subnet('10.2.0.0/16');

interface Options {
  readonly client?: Partial<Connection>;
  readonly gateway?: Partial<Connection>;
  readonly pool?: Partial<PoolPolicy>;
  /** Instead of what the pool gives. */
  readonly attributes?: readonly ConfigurationAttribute[];
  readonly traffic?: ReturnType<typeof subnet>;
}

/** A client and a gateway with a pool, after the client called. */
function meet({ client, gateway, pool, attributes, traffic = BEHIND }: Options) {
  const leases = new LeaseTable([{ name: 'lan', ranges: ['10.66.0.0/24'], dns: ['10.66.0.1'], ...pool }]);
  const left = new End({
    connections: [
      connection('left', {
        virtualIps: ['0.0.0.0'],
        splitDns: { accept: 'any', trustAnchors: [] },
        children: [childPolicy({ localTs: ['dynamic'], remoteTs: [traffic] })],
        ...client,
      }),
    ],
  });
  const right = new End({
    connections: [
      connection('right', { pools: ['lan'], children: [childPolicy({ localTs: [traffic], remoteTs: ['dynamic'] })], ...gateway }),
    ],
  });
  const asked: (readonly ConfigurationAttribute[])[] = [];
  right.answers = (ask) => {
    if (ask.kind !== 'lease') return right.answer(ask);
    asked.push(ask.requested);
    const answer = leases.lease(1, ask);
    return answer.ok && attributes !== undefined ? { ...answer, attributes: [...answer.attributes, ...attributes] } : answer;
  };
  left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
  settle(left, right);
  const told = left.has('addresses')[0];
  return { left, right, asked: asked[0] ?? [], told, split: told?.splitDns };
}
const domain = (text: string): ConfigurationAttribute => ({ type: 25, value: utf8(text) });
const anchor: ConfigurationAttribute = { type: 26, value: writeTrustAnchor(ANCHOR) };
const types = (attributes: readonly ConfigurationAttribute[]) => attributes.map(({ type }) => type);

describe('split DNS (RFC 8598)', () => {
  test('the gateway names its domains, the client sends names in these to the servers inside, and says so in its status', () => {
    const { left, asked, split } = meet({ pool: { domains: ['example.com', 'city.other.test'] } });
    expect(types(asked)).toEqual([1, 3, 13, 25]);
    expect(split).toEqual({
      servers: ['10.66.0.1'],
      domains: [
        { name: 'example.com', trustAnchors: [] },
        { name: 'city.other.test', trustAnchors: [] },
      ],
      ignored: [],
    });
    expect(left.endpoint.info()[0]!.splitDns).toEqual(split);
  });

  test('trust anchors stand behind their domain, and come to whom they are trusted from', () => {
    const pool = { domains: ['example.com', 'other.test'], trustAnchors: { 'example.com': [ANCHOR] } };
    const trusting = meet({ pool, client: { splitDns: { accept: 'any', trustAnchors: ['example.com'] } } });
    expect(types(trusting.asked)).toContain(26);
    expect(types(trusting.told!.attributes)).toEqual([1, 3, 25, 26, 25]);
    expect(trusting.split!.domains).toEqual([
      { name: 'example.com', trustAnchors: [DS] },
      { name: 'other.test', trustAnchors: [] },
    ]);
    expect(types(meet({ pool }).told!.attributes)).toEqual([1, 3, 25, 25]);
  });

  test('§3.2: domains without a DNS server of a family that is given are not told', () => {
    expect(types(meet({ pool: { domains: ['example.com'], dns: ['fd00::1'] } }).told!.attributes)).toEqual([1]);
  });

  test('domains last through a rekeying and a restart', () => {
    const { left, right, split } = meet({ pool: { domains: ['example.com'] } });
    left.endpoint.command({ kind: 'rekey-ike', ikeSa: left.endpoint.info()[0]!.id }, 1000);
    settle(left, right, 1000);
    expect(left.endpoint.info().find(({ state }) => state === 'established')!.splitDns).toEqual(split);
    const again = new End({ connections: [connection('left', { virtualIps: ['0.0.0.0'] })] });
    again.endpoint.restore(left.endpoint.snapshot(1000), 2000);
    expect(again.endpoint.info()[0]!.splitDns).toEqual(split);
  });
});

describe('what a gateway says of names is not heeded', () => {
  const why = (options: Options) => {
    const { split } = meet({ attributes: [domain('example.com'), anchor], ...options });
    return { domains: split?.domains.map(({ name }) => name), ignored: split?.ignored };
  };

  test.each([
    [
      'that did not prove who it is (§8)',
      { client: { remote: [{ auth: 'null', id: { kind: 'any' } }] }, gateway: { local: [{ auth: 'null', id: undefined }] } },
      'did not prove who it is',
    ],
    ['where everything goes through the tunnel (§8)', { traffic: subnet('0.0.0.0/0') }, 'everything goes through the tunnel'],
    ['without servers to ask', { pool: { dns: [] } }, 'no DNS server came along'],
    ['where the connection takes none', { client: { splitDns: undefined } }, 'does not take any'],
    [
      'of domains that the connection does not name (§5)',
      { client: { splitDns: { accept: ['example.net', 'le.com'], trustAnchors: [] } } },
      'dns_domains of this connection',
    ],
  ] as const)('%s', (_what, options, reason) => {
    const { domains, ignored } = why(options as unknown as Options);
    expect(domains).toEqual([]);
    expect(ignored).toEqual([{ what: 'example.com', why: expect.stringContaining(reason) }]);
  });

  test('a trust anchor that the policy does not expect (§6)', () => {
    expect(why({}).ignored).toEqual([{ what: 'trust anchor of example.com', why: expect.stringContaining('trust_anchors') }]);
    expect(why({ client: { splitDns: { accept: 'any', trustAnchors: ['xample.com'] } } }).ignored).toHaveLength(1);
    expect(why({ client: { splitDns: { accept: 'any', trustAnchors: ['example.com'] } } }).ignored).toEqual([]);
  });

  test('§4.2: a trust anchor that no domain stands before', () => {
    const client = { splitDns: { accept: 'any', trustAnchors: ['example.com'] } } as const;
    const dns = { type: 3, value: parseIp('10.66.0.9') };
    for (const attributes of [
      [anchor, domain('example.com')],
      [domain('example.com'), dns, anchor],
      [domain('.'), anchor, domain('example.com')],
    ])
      expect(meet({ client, attributes }).split!.domains).toEqual([{ name: 'example.com', trustAnchors: [] }]);
  });

  test('what is no name, with whatever is in it', () => {
    const attributes = ['.', '', '\u001b[2J.example', 'a b', '10.0.0.1'].map(domain);
    const { split } = meet({ attributes: [...attributes, domain('good.example')] });
    expect(split!.domains).toEqual([{ name: 'good.example', trustAnchors: [] }]);
    expect(split!.ignored.map(({ why: reason }) => reason)).toEqual(Array(4).fill('it is no name of a domain'));
    for (const { what } of split!.ignored) expect(what).not.toMatch(/[^\x20-\x7e]/);
  });

  test('thousands of them are bounded', () => {
    const client = { splitDns: { accept: 'any', trustAnchors: ['example'] } } as const;
    const attributes = Array.from({ length: 200 }, (_, i) => [domain(`d${i}.example`), anchor, anchor]).flat();
    const { split } = meet({ client, attributes });
    expect(split!.domains).toHaveLength(64);
    expect(split!.domains[0]!.trustAnchors).toEqual([DS]);
    expect(split!.ignored).toEqual([{ what: '136 more domains', why: 'no more than 64 are taken' }]);
  });

  test('an old client that asked for no addresses gets nothing of it', () => {
    const { left } = meet({
      client: { virtualIps: [], children: [childPolicy({ localTs: [subnet('10.66.0.0/24')], remoteTs: [BEHIND] })] },
      gateway: { pools: [] },
    });
    expect(left.has('addresses')).toEqual([]);
  });
});

describe('who resolves a name', () => {
  const corp = { servers: ['10.0.0.1'], domains: ['corp.example', 'internal'] };
  const lab = { servers: ['10.1.0.1'], domains: ['lab.corp.example'] };
  const whole = { servers: ['10.2.0.1'], domains: [] };
  test.each([
    ['host.corp.example', [corp], ['10.0.0.1'], false],
    ['HOST.Corp.Example.', [corp], ['10.0.0.1'], false],
    ['corp.example', [corp, lab], ['10.0.0.1'], false],
    ['a.lab.corp.example', [corp, lab], ['10.1.0.1'], false],
    ['notcorp.example', [corp], [], true],
    ['www.example.org', [corp, whole], ['10.2.0.1'], false],
    ['host.corp.example', [corp, whole], ['10.0.0.1'], false],
    ['www.example.org', [whole], ['10.2.0.1'], false],
    ['www.example.org', [], [], false],
  ])('%s, told %j', (name, told, servers, outside) => {
    expect(placeOf(name, told)).toEqual({ servers, outside });
  });

  test('outside, the resolver of the machine, for families that there are inside', async () => {
    const lookup = async () => ['2001:db8::7', '192.0.2.7'];
    expect(await resolveOutside('www.example.org', { lookup, own: ['10.66.0.2'] })).toBe('192.0.2.7');
    await expect(resolveOutside('www.example.org', { lookup: async () => [], own: ['10.66.0.2'] })).rejects.toMatchObject({
      code: 'ENOTFOUND',
    });
    await expect(resolveOutside('www.example.org', { lookup: () => Promise.reject(new Error('no')), own: [] })).rejects.toMatchObject({
      code: 'ENOTFOUND',
    });
  });
});

describe('address families (RFC 8983)', () => {
  const served = { v4: { ranges: ['10.66.0.0/24'] }, v6: { ranges: ['fd66::/64'] }, both: { ranges: ['10.66.0.0/24', 'fd66::/64'] } };
  const V4 = NotifyType.IP4_ALLOWED;
  test('the numbers of IANA', () => expect([V4, NotifyType.IP6_ALLOWED]).toEqual([16439, 16440]));

  // §5, table 1
  test.each([
    [['0.0.0.0'], 'v6', [], [6]],
    [['0.0.0.0'], 'v4', [4], [4]],
    [['0.0.0.0'], 'both', [4], [4, 6]],
    [['::'], 'v6', [6], [6]],
    [['::'], 'v4', [], [4]],
    [['::'], 'both', [6], [4, 6]],
    [['0.0.0.0', '::'], 'v4', [4], [4]],
    [['0.0.0.0', '::'], 'v6', [6], [6]],
    [['0.0.0.0', '::'], 'both', [4, 6], [4, 6]],
  ] as const)('asked for %j of a gateway with %s: %j, and %j is said to be there', (virtualIps, pool, given, families) => {
    const any = [subnet('0.0.0.0/0'), subnet('::/0')];
    const { left, told } = meet({
      client: { virtualIps, children: [childPolicy({ localTs: ['dynamic'], remoteTs: any })] },
      gateway: { children: [childPolicy({ localTs: any, remoteTs: ['dynamic'] })] },
      pool: served[pool],
    });
    if (given.length > 0) {
      expect(told).toMatchObject({ addresses: given.map((family) => expect.stringMatching(family === 4 ? /\./ : /:/)), served: families });
      return;
    }
    expect(
      left
        .has('ike-down')
        .concat(left.has('failed') as never)
        .map(({ error }) => error),
    ).toContainEqual(
      expect.objectContaining({
        code: 'ADDRESS_FAMILY_NOT_SERVED',
        message: `the peer gives IPv${families[0]} addresses and no others, and we asked for IPv${families[0] === 4 ? 6 : 4}`,
        hint: expect.stringContaining(families[0] === 6 ? '"::"' : '"0.0.0.0"'),
      }),
    );
  });
});
