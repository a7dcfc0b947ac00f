import { describe, expect, test } from 'vitest';
import {
  establishedPair,
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  type NatBehaviour,
  type NatOptions,
  Net,
  type Pair,
  pair,
} from '../../src/testing/index.ts';

const BEHAVIOURS: readonly NatBehaviour[] = ['endpoint-independent', 'address-dependent', 'address-and-port-dependent'];
const KINDS = BEHAVIOURS.flatMap((mapping) =>
  BEHAVIOURS.flatMap((filtering) => (['preserve', 'sequential', 'random'] as const).map((ports) => ({ mapping, filtering, ports }))),
);

/** UDP ports outside of the NAT that b sees a under. */
const seenPort = ({ b }: Pair): number => b.ikeSas[0]!.remote.port;

describe('a behind a NAT (RFC 7296 §2.23)', () => {
  test.each(KINDS)('$mapping mapping, $filtering filtering, $ports ports', (kind) => {
    const made = pair({ nat: kind, link: { delay: 10 } });
    const { net, a, b } = made;
    a.initiate();
    net.settle();
    expectOneChild(a, b);
    expect(a.heard('nat')[0]).toMatchObject({ ours: true, theirs: false });
    expect(b.heard('nat')[0]).toMatchObject({ ours: false, theirs: true });
    // From IKE_AUTH on everything goes through port 4500.
    expect(a.ikeSas[0]!.remote.port).toBe(4500);
    expect(a.plane.children[0]!.encap && b.plane.children[0]!.encap).toBe(true);
    if (kind.ports !== 'preserve') expect(seenPort(made)).not.toBe(4500);
    expectTrafficBothWays(net, a, b);
    b.rekeyChild();
    net.settle();
    a.rekeyIke();
    net.settle({ quiet: 60_000 });
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    a.deleteIke();
    net.settle({ quiet: 120_000 });
    expectNothingLeft(a, b);
    expectInvariants(net);
  });

  test('without a NAT nothing is encapsulated', () => {
    const { net, a, b } = establishedPair();
    expect(a.plane.children[0]!.encap).toBe(false);
    expect(net.internet.capture.packets.every(({ packet }) => packet.destination.port === 500)).toBe(true);
    expectTrafficBothWays(net, a, b);
    expect(net.internet.capture.packets.some(({ packet }) => packet.protocol === 'esp')).toBe(true);
  });

  test('encap: a NAT is pretended by wrong hashes', () => {
    const { net, a, b } = establishedPair({ a: { connection: { encap: true } } });
    expect(a.plane.children[0]!.encap && b.plane.children[0]!.encap).toBe(true);
    expectTrafficBothWays(net, a, b);
  });

  test('forceEncap of the data plane does so to every peer', () => {
    const { net, a, b } = establishedPair({ b: { endpoint: { forceEncap: true } } });
    expect(a.plane.children[0]!.encap && b.plane.children[0]!.encap).toBe(true);
    expectTrafficBothWays(net, a, b);
  });

  test('a NAT inside a NAT', () => {
    const { net, a, b } = nested();
    a.initiate();
    net.settle();
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('two clients behind one NAT, with the same inner port', () => {
    const net = new Net(4);
    const nat = net.nat('nat', { outside: ['192.0.2.1'], ports: 'preserve' });
    const from = pair();
    const [one, two] = ['10.0.0.5', '10.0.0.6'].map((ip, i) => net.peer(`c${i}`, ip, optionsOf(from, ip), nat));
    const gateway = net.peer('b', '198.51.100.2', optionsOf(pair(), '198.51.100.2', '%any'));
    one!.initiate();
    two!.initiate();
    net.settle();
    expect(gateway.established).toHaveLength(2);
    expect(new Set(gateway.established.map((sa) => sa.remote.port)).size).toBe(2);
    for (const client of [one!, two!]) {
      const before = gateway.plane.received.length;
      client.sendTraffic(Uint8Array.of(1));
      net.run(1000);
      expect(gateway.plane.received.length).toBe(before + 1);
    }
  });
});

describe('the NAT changes its mind', () => {
  const kinds: readonly Partial<NatOptions>[] = [{ ports: 'sequential' }, { ports: 'random', mapping: 'address-and-port-dependent' }];
  test.each(kinds)('rebinding: b follows authentic traffic (§2.23), %o', (kind) => {
    const made = establishedPair({ nat: kind });
    const { net, a, b, nat } = made;
    const before = seenPort(made);
    nat!.rebind();
    a.sendTraffic(Uint8Array.of(1));
    net.settle();
    expect(seenPort(made)).not.toBe(before);
    expectTrafficBothWays(net, a, b);
  });

  test('rebinding: b follows an authentic IKE request', () => {
    const made = establishedPair({ nat: {} });
    const { net, a, b, nat } = made;
    const before = seenPort(made);
    nat!.rebind();
    a.checkLiveness();
    net.settle();
    expect(seenPort(made)).not.toBe(before);
    expectTrafficBothWays(net, a, b);
    b.rekeyChild();
    net.settle();
    expectOneChild(a, b);
  });

  test('b does not follow what is not authentic', () => {
    const made = establishedPair({ nat: {} });
    const { net, a, b } = made;
    const before = seenPort(made);
    a.checkLiveness();
    net.settle();
    const forged = a.sent.at(-1)!.data.slice();
    forged[forged.length - 1]! ^= 1;
    forged[23]!++;
    b.inject(forged, { ip: '192.0.2.99', port: 4500 }, true);
    net.settle();
    expect(seenPort(made)).toBe(before);
    expect(b.ikeSas[0]!.remote.ip).toBe('192.0.2.1');
  });

  test('b does not follow an old authentic request that somebody sends again from elsewhere', () => {
    const made = establishedPair({ nat: {} });
    const { net, a, b } = made;
    a.checkLiveness();
    net.settle();
    const replayed = a.sent.at(-1)!.data.slice();
    b.inject(replayed, { ip: '203.0.113.66', port: 4500 }, true);
    net.settle();
    expect(b.ikeSas[0]!.remote.ip).toBe('192.0.2.1');
    expectTrafficBothWays(net, a, b);
  });

  test('a reboot with another address: liveness from a brings it back', () => {
    const made = establishedPair({ nat: {}, a: { connection: { liveness: { delay: 40_000 } } } });
    const { net, a, b, nat } = made;
    nat!.reboot(['192.0.2.200']);
    net.run(60_000);
    expect(b.ikeSas[0]!.remote.ip).toBe('192.0.2.200');
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });
});

function nested(): Pair {
  const net = new Net(9);
  const carrier = net.nat('carrier', { outside: ['192.0.2.1'] });
  const home = net.nat('home', { outside: ['100.64.0.9'], network: carrier.inside });
  const a = net.peer('a', '192.168.1.5', optionsOf(pair(), '192.168.1.5'), home);
  const b = net.peer('b', '198.51.100.2', optionsOf(pair(), '198.51.100.2', '%any'));
  return { net, a, b, nat: carrier };
}

/** The policy of a (or of b, when it takes anybody) at another address. */
function optionsOf(from: Pair, local: string, remote = '198.51.100.2'): Parameters<Net['peer']>[2] {
  const { connections } = (remote === '%any' ? from.b : from.a).options;
  return { connections: connections.map((connection) => ({ ...connection, localAddresses: [local], remoteAddresses: [remote] })) };
}
