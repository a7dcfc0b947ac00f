import { describe, expect, test } from 'vitest';
import { ExchangeType, NotifyType, type Payload } from '../../src/core/wire/index.ts';
import {
  childPolicy,
  connectionPolicy,
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  fqdn,
  Net,
  pair,
  subnet,
} from '../../src/testing/index.ts';
import { Insider, RawInitiator } from './insider.ts';

const BEHIND = subnet('10.2.0.0/24');
const ANONYMOUS = { auth: 'null', id: undefined } as const;
const ANYBODY = { auth: 'null', id: { kind: 'any' } } as const;

/** A gateway that lets anybody in, clients that prove nothing, and one that does. */
function open(options: { readonly pool?: readonly string[]; readonly clients?: number } = {}) {
  const { pool = ['10.66.0.2', '10.66.0.3', '10.66.0.4'], clients = 1 } = options;
  const net = new Net('null authentication');
  const pools = pool.length > 0 ? ['inner'] : [];
  const children = [childPolicy({ localTs: [BEHIND], remoteTs: ['dynamic'] })];
  const gw = net.peer('gw', '198.51.100.2', {
    pool,
    connections: [
      connectionPolicy({ name: 'open', localAddresses: ['198.51.100.2'], remote: [ANYBODY], pools, children, mobike: true }),
      connectionPolicy({
        name: 'known',
        localAddresses: ['198.51.100.2'],
        children: [childPolicy({ localTs: [BEHIND], remoteTs: [subnet('192.0.2.0/24')] })],
      }),
    ],
  });
  const client = (i: number, changes: Partial<Parameters<typeof connectionPolicy>[0]> = {}) =>
    net.peer(`c${i}`, `192.0.2.${i}`, {
      connections: [
        connectionPolicy({
          localAddresses: [`192.0.2.${i}`],
          remoteAddresses: ['198.51.100.2'],
          local: [ANONYMOUS],
          virtualIps: pools.length > 0 ? ['0.0.0.0'] : [],
          children: [childPolicy({ localTs: ['dynamic'], remoteTs: [BEHIND] })],
          mobike: true,
          ...changes,
        }),
      ],
    });
  return { net, gw, client, clients: Array.from({ length: clients }, (_, i) => client(i + 1)) };
}

describe('NULL authentication (RFC 7619)', () => {
  test('a client that stays anonymous, with a gateway that proves who it is', () => {
    const { net, gw, clients } = open();
    const [a] = clients;
    a!.initiate();
    net.exchange('c1 → gw  IKE_SA_INIT request 0 { ... }');
    net.exchange('gw → c1  IKE_SA_INIT response 0 { ... }');
    // no INITIAL_CONTACT: of nobody it says nothing
    net.exchange('c1 → gw  IKE_AUTH request 1  { IDi, AUTH, CP(CFG_REQUEST), N(MOBIKE_SUPPORTED), N(PRIVATE_NOTIFY)?, SA, TSi, TSr, ... }');
    net.settle();
    expectOneChild(a!, gw);
    expect(a!.ikeSas[0]).toMatchObject({ localAuth: 'NULL_AUTHENTICATION', remoteAuth: 'SHARED_KEY_MIC', assigned: ['10.66.0.2'] });
    expect(gw.ikeSas[0]).toMatchObject({ connection: 'open', remoteAuth: 'NULL_AUTHENTICATION', remoteId: { idType: 13 } });
    a!.rekeyIke();
    net.settle({ quiet: 120_000 });
    gw.rekeyChild(gw.plane.children.at(-1)!.id);
    net.settle();
    expectTrafficBothWays(net, a!, gw);
    expectInvariants(net);
  });

  test.each([
    ['both ends', [ANYBODY], [ANONYMOUS]],
    ['the gateway alone', [{ auth: 'psk', id: { kind: 'any' } }], [{ auth: 'psk', id: undefined }]],
  ] as const)('%s prove nothing', (_who, remote, local) => {
    const { net, a, b } = pair({
      a: { connection: { local, remote: [ANYBODY] }, child: { localTs: ['dynamic'] } },
      b: { connection: { local: [ANONYMOUS], remote }, child: { remoteTs: ['dynamic'] } },
    });
    a.initiate();
    net.settle();
    expectOneChild(a, b);
    expect(a.ikeSas[0]).toMatchObject({ remoteAuth: 'NULL_AUTHENTICATION' });
    // what we look for behind the one we call is our own policy, also when it rekeys
    b.rekeyChild(b.plane.children[0]!.id);
    net.settle();
    b.rekeyIke();
    net.settle({ quiet: 120_000 });
    b.rekeyChild(b.plane.children.at(-1)!.id);
    net.settle();
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('§2.3: identities that prove nothing replace nobody, the same ones neither, and INITIAL_CONTACT ends nothing', () => {
    const { net, gw, client } = open({ clients: 0 });
    const alice = client(1, { local: [{ auth: 'null', id: fqdn('alice.lab') }] });
    const impostor = client(2, { local: [{ auth: 'null', id: fqdn('alice.lab') }] });
    for (const each of [alice, impostor]) each.initiate();
    net.settle();
    expect(gw.established).toHaveLength(2);
    const address: Payload = { kind: 'CP', cfgType: 1, attributes: [{ type: 1, value: new Uint8Array(0) }] };
    const options = { anonymous: true, authPayloads: (payloads: readonly Payload[]) => [...payloads, contact, address] };
    for (const address of ['203.0.113.1', '203.0.113.2']) {
      const raw = new RawInitiator(net, gw, options, address);
      raw.init();
      expect(raw.auth()?.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['IDr', 'AUTH']));
    }
    expect(gw.established).toHaveLength(4);
    net.settle();
  });

  test('an anonymous peer never takes the place of one that proved its identity', () => {
    const { net, gw, client } = open({ clients: 0, pool: [] });
    const known = client(1, {
      local: [{ auth: 'psk', id: fqdn('alice.lab') }],
      children: [childPolicy({ localTs: [subnet('192.0.2.0/24')], remoteTs: [BEHIND] })],
    });
    known.initiate();
    net.settle();
    const impostor = client(2, { local: [{ auth: 'null', id: fqdn('alice.lab') }] });
    impostor.initiate();
    net.settle({ quiet: 120_000 });
    // §3.3: its address lies in what goes to alice
    expect(gw.established).toHaveLength(1);
    expect(impostor.plane.children).toHaveLength(0);
    expect(gw.heard('failed').map(({ error }) => [error.code, error.message])).toEqual([
      ['TS_UNACCEPTABLE', expect.stringContaining('proved no identity asks for traffic that goes to one which did')],
    ]);
    expectTrafficBothWays(net, known, gw);
  });

  test('§2.5: it gets its own address and no other, in IKE_AUTH and later', () => {
    const { net, gw, clients } = open({ pool: [] });
    const [a] = clients;
    a!.initiate();
    net.settle();
    expect(gw.children[0]).toMatchObject({ remoteTs: [subnet('192.0.2.1')] });
    const insider = new Insider(a!);
    const before = gw.plane.children.length;
    const wanted = [
      { kind: 'SA', proposals: [{ ...childPolicy().proposals[0]!, spi: Uint8Array.of(0xc0, 0, 0, 9) }] },
      { kind: 'Nonce', data: new Uint8Array(32).fill(7) },
      { kind: 'TSi', selectors: [subnet('8.8.8.8')] },
      { kind: 'TSr', selectors: [BEHIND] },
    ] as const satisfies readonly Payload[];
    gw.inject(insider.request(ExchangeType.CREATE_CHILD_SA, 2, wanted), { ip: '192.0.2.1', port: 4500 });
    net.run(100);
    expect(gw.plane.children).toHaveLength(before);
    // it has no address of ours, so its traffic hangs on where it is: it may not move with it
    expect(gw.ikeSas[0]!.mobike).toBeUndefined();
  });

  test('ten that come and go get addresses, and nothing of them stays', () => {
    const { net, gw, clients } = open({ clients: 3 });
    for (const each of clients) each.initiate();
    net.settle();
    expect(gw.pool.lent.size).toBe(3);
    for (const each of clients) each.deleteIke();
    net.settle({ quiet: 120_000 });
    expectNothingLeft(gw, ...clients);
  });

  test('AUTH is bound to the exchange: what was changed on the way, or by another key, proves nothing', () => {
    for (const data of [new Uint8Array(0), new Uint8Array(32), new Uint8Array(64)]) {
      const { net, gw } = open({ clients: 0 });
      const raw = new RawInitiator(net, gw, { authPayloads: (payloads) => asNull(payloads, data) });
      raw.init();
      expect(raw.auth()?.map((p) => p.kind)).toEqual(['N']);
      net.settle();
      expect(gw.established).toHaveLength(0);
      expect(gw.heard('ike-down').map(({ error }) => error?.code)).toEqual(['NULL_AUTH_MISMATCH']);
      expect(gw.pool.lent.size).toBe(0);
    }
  });
});

const contact: Payload = { kind: 'N', notify: NotifyType.INITIAL_CONTACT, protocol: 0, spi: new Uint8Array(0), data: new Uint8Array(0) };
const asNull = (payloads: readonly Payload[], data?: Uint8Array): Payload[] =>
  payloads.map((p): Payload => (p.kind === 'AUTH' ? { ...p, method: 13, data: data ?? p.data } : p));
