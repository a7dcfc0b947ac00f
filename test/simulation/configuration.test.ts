import { describe, expect, test } from 'vitest';
import { ConfigAttributeType } from '../../src/core/wire/index.ts';
import {
  childPolicy,
  connectionPolicy,
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  Net,
  type Peer,
  subnet,
} from '../../src/testing/index.ts';

const EVERYTHING = [subnet('0.0.0.0/0'), subnet('::/0')];

interface World {
  readonly net: Net;
  readonly gw: Peer;
  readonly users: readonly Peer[];
  readonly user: Peer;
}

/** A gateway, and users who ask it for an address of either family. */
function world(options: {
  readonly pool?: readonly string[];
  readonly vips?: readonly string[];
  readonly users?: number;
  readonly childless?: 'allow' | 'force';
  /** Behind the users, beside what is leased to them. */
  readonly networks?: readonly ReturnType<typeof subnet>[];
}): World {
  const { pool, vips = ['0.0.0.0', '::'], childless = 'allow', networks = [] } = options;
  const net = new Net('configuration');
  const gw = net.peer('gw', '198.51.100.2', {
    pool: pool ?? [],
    connections: [
      connectionPolicy({
        localAddresses: ['198.51.100.2'],
        pools: pool === undefined ? [] : ['inner'],
        children: [childPolicy({ localTs: EVERYTHING, remoteTs: pool === undefined ? EVERYTHING : ['dynamic', ...networks] })],
      }),
    ],
  });
  const users = Array.from({ length: options.users ?? 1 }, (_, i) =>
    net.peer(`u${i + 1}`, `192.0.2.${i + 1}`, {
      connections: [
        connectionPolicy({
          localAddresses: [`192.0.2.${i + 1}`],
          remoteAddresses: ['198.51.100.2'],
          virtualIps: vips,
          childless,
          children: [childPolicy({ localTs: networks.length > 0 ? networks : ['dynamic'], remoteTs: EVERYTHING })],
        }),
      ],
    }),
  );
  return { net, gw, users, user: users[0]! };
}

describe('configuration payload (RFC 7296 §2.19)', () => {
  test('D17 two users get distinct leases, the selectors are narrowed to them, and a delete frees them', () => {
    const { net, gw, users } = world({ pool: ['10.66.0.2', '10.66.0.3'], vips: ['0.0.0.0'], users: 2 });
    for (const user of users) user.initiate();
    net.settle();
    expect(users.map((user) => user.ikeSas[0]?.assigned)).toEqual([['10.66.0.2'], ['10.66.0.3']]);
    for (const [i, user] of users.entries()) {
      expect(user.children[0]!.localTs).toEqual([subnet(`10.66.0.${i + 2}`)]);
      const theirs = gw.children.find(({ outboundSpi }) => outboundSpi === user.children[0]!.inboundSpi);
      expect(theirs?.remoteTs).toEqual([subnet(`10.66.0.${i + 2}`)]);
    }
    expect([...gw.pool.lent.keys()]).toEqual(['10.66.0.2', '10.66.0.3']);
    users[0]!.deleteIke();
    net.settle();
    expect([...gw.pool.lent.keys()]).toEqual(['10.66.0.3']);
    expectTrafficBothWays(net, users[1]!, gw);
    expectInvariants(net);
  });

  test('D18 IPv4 and IPv6 are asked for together, and both go through one child', () => {
    const { net, gw, user } = world({ pool: ['10.66.0.2', 'fd00::2'] });
    user.initiate();
    net.settle();
    expectOneChild(user, gw);
    expect(user.ikeSas[0]!.assigned).toEqual(['10.66.0.2', 'fd00::2']);
    expect(user.children[0]).toMatchObject({ localTs: [subnet('10.66.0.2'), subnet('fd00::2')], remoteTs: EVERYTHING });
    expect(gw.children[0]).toMatchObject({ localTs: EVERYTHING, remoteTs: [subnet('10.66.0.2'), subnet('fd00::2')] });
    expect(user.heard('addresses')).toMatchObject([{ addresses: ['10.66.0.2', 'fd00::2'], missing: [] }]);
    expect(user.heard('addresses')[0]!.attributes.map(({ type }) => type)).toEqual([
      ConfigAttributeType.INTERNAL_IP4_ADDRESS,
      ConfigAttributeType.INTERNAL_IP6_ADDRESS,
    ]);
    expectTrafficBothWays(net, user, gw);
    expectInvariants(net);
  });

  test('the lease survives an IKE rekey and is freed with the last IKE SA', () => {
    const { net, gw, user } = world({ pool: ['10.66.0.2', 'fd00::2'] });
    user.initiate();
    net.settle();
    user.rekeyIke();
    net.settle({ quiet: 120_000 });
    expect(gw.pool.lent.size).toBe(2);
    expect(user.ikeSas).toHaveLength(1);
    user.deleteIke();
    net.settle({ quiet: 120_000 });
    expectNothingLeft(gw, user);
  });

  test('one family of two is given: the tunnel stands with that one, and both ends say which is missing', () => {
    const { net, gw, user } = world({ pool: ['10.66.0.2'] });
    user.initiate();
    net.settle();
    expectOneChild(user, gw);
    expect(user.ikeSas[0]!.assigned).toEqual(['10.66.0.2']);
    expect(user.children[0]!.localTs).toEqual([subnet('10.66.0.2')]);
    for (const end of [user, gw]) expect(end.heard('addresses')).toMatchObject([{ addresses: ['10.66.0.2'], missing: [6] }]);
    expect(user.heard('failed')).toEqual([]);
    expectTrafficBothWays(net, user, gw);
    expectInvariants(net);
  });
});

describe('an address that is asked for and not given (RFC 7296 §3.15.4)', () => {
  test('the peer knows no addresses: no tunnel without one, and the peer learns it by a Delete', () => {
    const { net, gw, user } = world({});
    user.initiate();
    net.exchange('u1 → gw  IKE_SA_INIT request 0 { ... }');
    net.exchange('gw → u1  IKE_SA_INIT response 0 { ... }');
    net.exchange('u1 → gw  IKE_AUTH request 1  { IDi, IDr?, N(INITIAL_CONTACT), AUTH, CP(CFG_REQUEST), SA, TSi, TSr, ... }');
    net.exchange('gw → u1  IKE_AUTH response 1 { IDr, AUTH, SA, TSi, TSr }');
    net.exchange('u1 → gw  INFORMATIONAL request 2 { D }');
    net.exchange('gw → u1  INFORMATIONAL response 2 { }');
    net.settle({ quiet: 120_000 });
    expect(user.heard('failed').map(({ error }) => error)).toMatchObject([
      {
        code: 'ADDRESS_NOT_ASSIGNED',
        message: 'the peer assigned no address inside the tunnel: it left our request for an IPv4 or IPv6 address unanswered',
        section: 'RFC 7296 §3.15.4',
        hint: expect.stringMatching(/pool on the peer/),
      },
    ]);
    expect(user.heard('ike-down')).toMatchObject([{ error: { code: 'ADDRESS_NOT_ASSIGNED' } }]);
    expect(user.heard('addresses')).toEqual([]);
    expect(user.heard('child-up')).toEqual([]);
    expect(gw.heard('ike-down')).toHaveLength(1);
    expectNothingLeft(gw, user);
  });

  test('it is no tunnel without a child either: an IKE SA that began childless goes again', () => {
    const { net, gw, user } = world({ childless: 'force' });
    user.initiate();
    net.settle({ quiet: 120_000 });
    expect(user.heard('failed').map(({ error }) => error.code)).toEqual(['ADDRESS_NOT_ASSIGNED']);
    expectNothingLeft(gw, user);
  });

  test('none is free: INTERNAL_ADDRESS_FAILURE, and nothing is left at either end', () => {
    const { net, gw, user } = world({ pool: [] });
    user.initiate();
    net.settle({ quiet: 120_000 });
    expect(net.transcript.messages[3]!.summary).toMatch(/N\(INTERNAL_ADDRESS_FAILURE\)/);
    expect(user.heard('failed').map(({ error }) => error.code)).toEqual(['PEER_INTERNAL_ADDRESS_FAILURE']);
    expect(user.heard('addresses')).toEqual([]);
    expectNothingLeft(gw, user);
  });

  test('a peer that asks for none where pools are: FAILED_CP_REQUIRED, and no lease', () => {
    const { net, gw, user } = world({ pool: ['10.66.0.2'], vips: [] });
    user.initiate();
    net.settle({ quiet: 120_000 });
    expect(net.transcript.messages[3]!.summary).toMatch(/IDr.*AUTH.*N\(FAILED_CP_REQUIRED\)/);
    expect(gw.heard('failed').map(({ error }) => error.code)).toEqual(['FAILED_CP_REQUIRED']);
    expect(user.heard('failed').map(({ error }) => error.code)).toEqual(['PEER_FAILED_CP_REQUIRED']);
    expect(gw.pool.lent.size).toBe(0);
    expectNothingLeft(gw, user);
  });

  test('a peer with a network of its own needs no address, pools or not', () => {
    const { net, gw, user } = world({ pool: ['10.66.0.2'], vips: [], networks: [subnet('10.7.0.0/16')] });
    user.initiate();
    net.settle({ quiet: 120_000 });
    expectOneChild(gw, user);
    expect(gw.pool.lent.size).toBe(0);
  });
});
