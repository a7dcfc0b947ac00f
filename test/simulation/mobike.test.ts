import { describe, expect, test } from 'vitest';
import { equalBytes, utf8 } from '../../src/core/bytes/index.ts';
import {
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  type Pair,
  type PairOptions,
  type Peer,
  pair,
} from '../../src/testing/index.ts';
import type { Packet } from '../../src/testing/network.ts';
import { A1, A2, B1, B2, expectPath, requests, roamers } from './roamers.ts';

/** Packets both ways every 50 ms while something happens. @returns how many of each direction got lost */
function traffic({ net, a, b }: Pair, milliseconds: number): { readonly toA: number; readonly toB: number } {
  const lost = { toA: 0, toB: 0 };
  const end = net.now + milliseconds;
  const got = (peer: Peer, payload: Uint8Array): boolean => peer.plane.received.some((packet) => equalBytes(packet.payload, payload));
  for (let i = 0; net.now < end; i++) {
    const [up, down] = [utf8(`up ${net.now} ${i}`), utf8(`down ${net.now} ${i}`)];
    a.sendTraffic(up);
    b.sendTraffic(down);
    net.run(50);
    if (!got(b, up)) lost.toB++;
    if (!got(a, down)) lost.toA++;
  }
  return lost;
}

/** Flag R of the IKE header, behind the non-ESP marker. */
const isAnswer = (data: Uint8Array): boolean => (data[23]! & 0x20) !== 0;

const keysOf = (peer: Peer): string[] => peer.plane.history.map(({ key }) => key);

describe('IKE_AUTH (RFC 4555 §3.1–§3.4)', () => {
  test('both ends say that they speak MOBIKE, and tell their other addresses', () => {
    const made = roamers({ more: { a: [A2], b: [B2, '2001:db8::2'] } });
    const auth = made.net.transcript.messages.filter(({ summary }) => summary.startsWith('IKE_AUTH'));
    expect(auth[0]!.summary).toMatch(/N\(MOBIKE_SUPPORTED\), N\(ADDITIONAL_IP4_ADDRESS\)/);
    expect(auth[1]!.summary).toMatch(/N\(MOBIKE_SUPPORTED\), N\(ADDITIONAL_IP4_ADDRESS\), N\(ADDITIONAL_IP6_ADDRESS\)/);
    expect(made.a.ikeSas[0]!.mobike).toEqual({ decides: true, peerAddresses: [B2, '2001:db8::2'], echoes: true });
    expect(made.b.ikeSas[0]!.mobike).toEqual({ decides: false, peerAddresses: [A2], echoes: true });
  });

  test('IKE goes to port 4500 even without a NAT, ESP stays outside of UDP (§3.3)', () => {
    const made = roamers();
    expect(made.a.ikeSas[0]!.remote.port).toBe(4500);
    expect(made.b.ikeSas[0]!.remote.port).toBe(4500);
    expectTrafficBothWays(made.net, made.a, made.b);
    expect(made.net.internet.capture.packets.some(({ packet }) => packet.protocol === 'esp')).toBe(true);
    expect(made.a.plane.children[0]!.encap || made.b.plane.children[0]!.encap).toBe(false);
  });

  test.each(['a', 'b'] as const)('%s does not speak it: then nobody does', (which) => {
    const made = roamers({ [which]: { connection: { mobike: false } } });
    expect(made.a.ikeSas[0]!.mobike).toBeUndefined();
    expect(made.b.ikeSas[0]!.mobike).toBeUndefined();
    expectTrafficBothWays(made.net, made.a, made.b);
    // an address that is not one of ours any more: only dead peer detection is left
    made.a.host.move(made.net.internet.core, [A2]);
    made.net.run(10_000);
    expect(requests(made.net, 'a', 'UPDATE_SA_ADDRESSES')).toBe(0);
  });

  test('transport mode is beyond its scope (§1.2)', () => {
    const made = roamers({ child: { mode: 'transport', localTs: ['dynamic'], remoteTs: ['dynamic'] } });
    expect(made.a.ikeSas[0]!.mobike).toBeUndefined();
  });
});

describe('the initiator roams (§3.5)', () => {
  test('to another address: one exchange, the check that it is there, and the same keys', () => {
    const made = roamers();
    const { net, a, b } = made;
    const keys = keysOf(a);
    a.host.move(net.internet.core, [A2]);
    net.chart(`
      a → b  INFORMATIONAL request { N(UPDATE_SA_ADDRESSES), N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP) }
      b → a  INFORMATIONAL response { N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP) }
      b → a  INFORMATIONAL request { N(COOKIE2) }
      a → b  INFORMATIONAL response { N(COOKIE2) }`);
    net.run(1000);
    expectPath(made, A2, B1);
    expectTrafficBothWays(net, a, b);
    expect(keysOf(a)).toEqual(keys);
    expect(a.heard('moved')).toMatchObject([{ local: { ip: A2 }, remote: { ip: B1 } }]);
    expectOneChild(a, b);
    expectInvariants(net);
  });

  test('under traffic only what was in flight is lost', () => {
    const made = roamers({ link: { delay: 20 } });
    const before = traffic(made, 500);
    expect(before).toEqual({ toA: 0, toB: 0 });
    made.a.host.move(made.net.internet.core, [A2]);
    const during = traffic(made, 2000);
    // towards b nothing; towards a as long as the update and the check take
    expect(during.toB).toBeLessThanOrEqual(1);
    expect(during.toA).toBeLessThanOrEqual(4);
    expect(traffic(made, 500)).toEqual({ toA: 0, toB: 0 });
    expectInvariants(made.net);
  });

  test('the route comes later than the address: what was sent in vain goes out again with it, not a second later', () => {
    const made = roamers();
    const { net, a } = made;
    let route = false;
    net.internet.core.intercept(() => (route ? undefined : []));
    a.host.move(net.internet.core, [A2]);
    net.run(50);
    route = true;
    a.observe({ kind: 'local-addresses', addresses: [A2], sources: { [B1]: A2 } });
    net.run(100);
    expectPath(made, A2, B1);
    expectInvariants(net);
  });

  test('without the check traffic follows at once (§3.7)', () => {
    const made = roamers({ link: { delay: 20 }, connection: { mobikeReturnRoutability: false } });
    made.a.host.move(made.net.internet.core, [A2]);
    expect(traffic(made, 2000).toA).toBeLessThanOrEqual(2);
    expect(requests(made.net, 'b', 'COOKIE2')).toBe(0);
    expectPath(made, A2, B1);
  });

  test('back to where it was: an address that has proven itself is not asked again', () => {
    const made = roamers();
    made.a.host.move(made.net.internet.core, [A2]);
    made.net.run(2000);
    made.a.host.move(made.net.internet.core, [A1]);
    made.net.run(2000);
    expectPath(made, A1, B1);
    expect(requests(made.net, 'b', 'COOKIE2')).toBe(1);
    expectTrafficBothWays(made.net, made.a, made.b);
  });

  test('an exchange is outstanding: it goes on from the new address, then the update (§3.5)', () => {
    const made = roamers({ link: { delay: 100 } });
    const { net, a, b } = made;
    a.rekeyChild();
    net.run(50);
    a.host.move(net.internet.core, [A2]);
    net.run(20_000);
    expectPath(made, A2, B1);
    expectOneChild(a, b).bornIn('a');
    expectTrafficBothWays(net, a, b);
    expect(requests(net, 'a', 'UPDATE_SA_ADDRESSES')).toBe(1);
    expectInvariants(net);
  });

  test('twice, fast: the answer to the first update decides nothing, the second does', () => {
    const made = roamers({ link: { delay: 100 } });
    const { net, a, b } = made;
    a.host.move(net.internet.core, [A2]);
    net.run(150);
    a.host.move(net.internet.core, ['192.0.2.3']);
    net.run(5000);
    expectPath(made, '192.0.2.3', B1);
    expect(requests(net, 'a', 'UPDATE_SA_ADDRESSES')).toBe(2);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('ten times at a walk, with loss', () => {
    const made = roamers({ seed: 7, link: { delay: 30, loss: 0.2, jitter: 20 } });
    const { net, a, b } = made;
    for (let i = 10; i < 20; i++) {
      a.host.move(net.internet.core, [`192.0.2.${i}`]);
      net.run(3000);
    }
    net.run(30_000);
    for (const peer of [a, b]) peer.host.setLink({ loss: 0 });
    net.run(30_000);
    expectPath(made, '192.0.2.19', B1);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('to IPv6, where both have it', () => {
    const made = roamers({ more: { b: ['2001:db8::2'] } });
    made.a.host.move(made.net.internet.core, ['2001:db8::1']);
    made.net.run(3000);
    expectPath(made, '2001:db8::1', '2001:db8::2');
    expectTrafficBothWays(made.net, made.a, made.b);
  });

  test('without an address for a while: the IKE SA is kept, and comes back with the first one', () => {
    const made = roamers({ connection: { liveness: { delay: 10_000 } } });
    const { net, a, b } = made;
    const [spi] = a.ikeSas.map((sa) => sa.spiI);
    a.host.move(net.internet.core, []);
    net.run(40_000);
    a.host.move(net.internet.core, [A2]);
    net.run(500);
    expectPath(made, A2, B1);
    expect(a.ikeSas[0]!.spiI).toEqual(spi);
    expectTrafficBothWays(net, a, b);
  });

  test('without any path for too long: the usual end, and everything is gone', () => {
    const made = roamers({ connection: { liveness: { delay: 10_000 } } });
    made.a.host.move(made.net.internet.core, []);
    made.net.run(80_000);
    expect(made.a.heard('ike-down')[0]!.error?.code).toBe('PEER_SILENT');
    made.net.run(60_000);
    expectNothingLeft(made.a, made.b);
  });
});

describe('NATs (§2.3, §3.8, §3.9)', () => {
  test('roaming into a NAT turns encapsulation on, out of it off again', () => {
    const made = roamers();
    const { net, a, b } = made;
    const nat = net.nat('hotel', { outside: ['203.0.113.1'] });
    made.insideNat(nat, '10.9.0.5');
    net.run(3000);
    expect(b.ikeSas[0]!.remote.ip).toBe('203.0.113.1');
    expect(a.plane.children[0]!.encap && b.plane.children[0]!.encap).toBe(true);
    expect([a.ikeSas[0]!.natOurs, b.ikeSas[0]!.natTheirs]).toEqual([true, true]);
    expectTrafficBothWays(net, a, b);
    a.host.move(net.internet.core, [A2]);
    net.run(3000);
    expectPath(made, A2, B1);
    expect(a.plane.children[0]!.encap || b.plane.children[0]!.encap).toBe(false);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('from one NAT into another', () => {
    const made = roamers({ nat: {} });
    const { net, a, b } = made;
    const nat = net.nat('hotel', { outside: ['203.0.113.1'], ports: 'random' });
    made.insideNat(nat, '10.9.0.5');
    net.run(3000);
    expect(b.ikeSas[0]!.remote.ip).toBe('203.0.113.1');
    expectTrafficBothWays(net, a, b);
  });

  test('D20 the NAT rebinds: a notices at the liveness check and sends UPDATE_SA_ADDRESSES; traffic resumes without new keys', () => {
    const made = roamers({ nat: { ports: 'random' }, connection: { liveness: { delay: 10_000 } } });
    const { net, a, b, nat } = made;
    net.run(30_000);
    const keys = keysOf(a);
    const before = b.ikeSas[0]!.remote;
    const updates = requests(net, 'a', 'UPDATE_SA_ADDRESSES');
    nat!.rebind();
    net.run(25_000);
    expect(requests(net, 'a', 'UPDATE_SA_ADDRESSES')).toBe(updates + 1);
    expect(b.ikeSas[0]!.remote.ip).toBe(before.ip);
    expect(b.ikeSas[0]!.remote.port).not.toBe(before.port);
    expectTrafficBothWays(net, a, b);
    expect(keysOf(a)).toEqual(keys);
    b.checkLiveness();
    net.run(1000);
    expect(b.heard('retransmit')).toEqual([]);
  });

  test('the NAT reboots with another address: the same, and the address has to prove itself', () => {
    const made = roamers({ nat: {}, connection: { liveness: { delay: 10_000 } } });
    const { net, a, b, nat } = made;
    net.run(30_000);
    nat!.reboot(['192.0.2.200']);
    net.run(30_000);
    expect(b.ikeSas[0]!.remote.ip).toBe('192.0.2.200');
    expect(requests(net, 'b', 'COOKIE2')).toBe(1);
    expectTrafficBothWays(net, a, b);
  });

  test('a rebinding under traffic: ESP is followed at once, the IKE SA by the next look at the mapping', () => {
    const made = roamers({ nat: { ports: 'random' }, connection: { liveness: { delay: 10_000 } } });
    const { net, b, nat } = made;
    net.run(30_000);
    const before = b.ikeSas[0]!.remote.port;
    nat!.rebind();
    const lost = traffic(made, 5000);
    expect(lost.toA).toBeLessThanOrEqual(1);
    expect(b.ikeSas[0]!.remote.port).toBe(before);
    traffic(made, 70_000);
    expect(b.ikeSas[0]!.remote.port).not.toBe(before);
  });

  test('b asks before a has looked: its request finds a where the traffic comes from, and moves nothing', () => {
    const made = roamers({ nat: { ports: 'random' }, connection: { liveness: { delay: 10_000 } } });
    const { net, a, b, nat } = made;
    net.run(30_000);
    const before = b.ikeSas[0]!.remote.port;
    nat!.rebind();
    traffic(made, 1000);
    b.checkLiveness();
    traffic(made, 5000);
    expect(b.ikeSas[0]!.remote.port).toBe(before);
    expect(b.heard('retransmit')).toHaveLength(1);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('ESP from where a was comes late, behind the word that a is elsewhere: the traffic does not go back there', () => {
    const made = roamers({ nat: { ports: 'random' } });
    const { net, a, b, nat } = made;
    const held: Packet[] = [];
    const undo = net.internet.core.intercept((packet) => {
      held.push(packet);
      return [];
    });
    a.sendTraffic(utf8('late'));
    net.until('it is under way', () => held.length > 0);
    undo();
    const before = b.ikeSas[0]!.remote;
    made.insideNat(nat!, '10.0.0.6');
    net.run(1000);
    expect(b.ikeSas[0]!.remote).not.toEqual(before);
    net.internet.core.intercept((packet) => [packet, ...held.splice(0)]);
    b.checkLiveness();
    net.run(100);
    expect(b.plane.received.map(({ payload }) => payload)).toContainEqual(utf8('late'));
    expect(b.plane.children[0]!.remote).toEqual(b.ikeSas[0]!.remote);
    expectTrafficBothWays(net, b, a);
  });

  test('ESP goes on coming from where a was: once nothing of before can be under way, the traffic goes back there', () => {
    const made = roamers({ nat: { ports: 'random' } });
    const { net, b, nat } = made;
    const before = b.ikeSas[0]!.remote;
    made.insideNat(nat!, '10.0.0.6');
    net.run(1000);
    const moved = b.ikeSas[0]!.remote;
    expect(moved).not.toEqual(before);
    const { id: child } = b.plane.children[0]!;
    const follows = (): unknown => b.plane.children[0]!.remote;
    b.observe({ kind: 'mapping-changed', child, remote: before });
    b.observe({ kind: 'inbound-traffic', child, elsewhere: true });
    expect(follows()).toEqual(moved);
    net.run(5000);
    expect(follows()).toEqual(moved);
    b.observe({ kind: 'inbound-traffic', child, elsewhere: true });
    expect(follows()).toEqual(before);
    expect(b.ikeSas[0]!.remote).toEqual(moved);
  });

  test('ESP that somebody withheld comes much later from the address that a has left for another: the traffic stays', () => {
    // a says that it is behind a NAT, so that b may follow ESP
    const made = roamers({ a: { endpoint: { forceEncap: true } } });
    const { net, a, b } = made;
    const before = b.ikeSas[0]!.remote;
    a.host.move(net.internet.core, [A2]);
    net.run(10_000);
    const { id: child } = b.plane.children[0]!;
    b.observe({ kind: 'mapping-changed', child, remote: before });
    b.observe({ kind: 'inbound-traffic', child, elsewhere: true });
    net.run(1000);
    expectPath(made, A2, B1);
    expectTrafficBothWays(net, b, a);
  });

  test('an INFORMATIONAL without UPDATE_SA_ADDRESSES moves nothing (§3.8)', () => {
    const made = roamers({ nat: { ports: 'random' } });
    const { net, a, b, nat } = made;
    a.checkLiveness();
    net.run(2000);
    const before = b.ikeSas[0]!.remote;
    nat!.rebind();
    a.rekeyChild();
    net.run(20_000);
    expect(b.ikeSas[0]!.remote).toEqual(before);
    expectOneChild(a, b).bornIn('a');
  });
});

describe('NO_NATS_ALLOWED (§3.9)', () => {
  const forbidden: PairOptions = { connection: { natsAllowed: false } };

  test('without a NAT all is well: port 500, and addresses may change', () => {
    const made = roamers(forbidden);
    const { net, a, b } = made;
    expect(a.ikeSas[0]!.remote.port).toBe(500);
    a.host.move(net.internet.core, [A2]);
    net.exchange('a → b  INFORMATIONAL request { N(UPDATE_SA_ADDRESSES), N(NO_NATS_ALLOWED) }');
    net.run(3000);
    expectPath(made, A2, B1);
    expectTrafficBothWays(net, a, b);
  });

  test('under a NAT IKE_AUTH is refused', () => {
    const made = pair({ nat: {}, connection: { mobike: true, natsAllowed: false } });
    made.a.initiate();
    made.net.run(10_000);
    expect(made.a.established).toEqual([]);
    expect(made.a.heard('failed')[0]!.error.code).toBe('PEER_UNEXPECTED_NAT_DETECTED');
    made.net.run(60_000);
    expectNothingLeft(made.a, made.b);
  });

  test('roaming into a NAT: several times it is tried, then given up; the connection waits for a better place', () => {
    const made = roamers({ ...forbidden, connection: { ...forbidden.connection, liveness: { delay: 10_000 } } });
    const { net, a, b } = made;
    made.insideNat(net.nat('hotel', { outside: ['203.0.113.1'] }), '10.9.0.5');
    net.run(60_000);
    expect(requests(net, 'a', 'UPDATE_SA_ADDRESSES')).toBe(6);
    expect(b.ikeSas[0]!.remote.ip).toBe(A1);
    expect(a.heard('failed')[0]!.error.code).toBe('UNEXPECTED_NAT_DETECTED');
    a.host.move(net.internet.core, [A2]);
    net.run(3000);
    expectPath(made, A2, B1);
    expectTrafficBothWays(net, a, b);
  });

  test('an attacker changes the addresses of one packet: the next try succeeds', () => {
    const made = roamers(forbidden);
    const { net, a } = made;
    let changed = 0;
    const off = net.internet.core.intercept((packet) => {
      if (packet.source.ip !== A2 || changed++ > 0) return undefined;
      return [{ ...packet, source: { ...packet.source, port: 501 } }];
    });
    a.host.bind(501, () => undefined);
    a.host.move(net.internet.core, [A2]);
    net.run(10_000);
    off();
    expectPath(made, A2, B1);
  });
});

describe('several addresses (§3.6, §3.10)', () => {
  test('the path dies, b has another address: the exchange under way finds it', () => {
    const made = roamers({ more: { b: [B2] }, connection: { liveness: { delay: 5000 } } });
    const { net, a, b } = made;
    const keys = keysOf(a);
    const off = net.internet.core.intercept((packet) => ([packet.source.ip, packet.destination.ip].includes(B1) ? [] : undefined));
    net.run(15_000);
    expectPath(made, A1, B2);
    expectTrafficBothWays(net, a, b);
    expect(keysOf(a)).toEqual(keys);
    // and back, when the one that is preferred works again
    off();
    net.run(200_000);
    expectPath(made, A1, B1);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('b loses the address that its traffic waits on while a has to prove itself elsewhere: it goes on from where the IKE SA is (§3.7)', () => {
    const made = roamers({ more: { b: [B2] } });
    const { net, a, b } = made;
    let deaf = B1;
    const off = net.internet.core.intercept(({ source, destination, data }) =>
      [source.ip, destination.ip].includes(deaf) || (destination.ip === A2 && !isAnswer(data)) ? [] : undefined,
    );
    a.checkLiveness();
    net.until('the traffic is on the other address', () => b.plane.children[0]!.local.ip === B2, 60_000);
    // b tells that it still has the first one
    b.host.addAddress('2001:db8::2');
    net.run(1000);
    deaf = 'nobody';
    a.host.move(net.internet.core, [A2]);
    net.until('b is told', () => b.ikeSas[0]!.remote.ip === A2 && b.ikeSas[0]!.local.ip === B1, 60_000);
    expect(b.plane.children.map(({ local, remote }) => [local.ip, remote.ip])).toEqual([[B2, A1]]);
    b.host.removeAddress(B2);
    expect(b.plane.children.map(({ local, remote }) => [local.ip, remote.ip])).toEqual([[B1, A1]]);
    off();
    net.run(60_000);
    expectPath(made, A2, B1);
    expectTrafficBothWays(net, a, b);
  });

  test('a loses its address while the other one of b has to prove itself: traffic goes on to the proven one, from where a is now (§3.7)', () => {
    const made = roamers();
    const { net, a, b } = made;
    let deaf = B1;
    const off = net.internet.core.intercept(({ protocol, source, destination }) =>
      protocol === 'udp' && [source.ip, destination.ip].includes(deaf) ? [] : undefined,
    );
    b.host.addAddress(B2);
    net.until('a hears of it from there alone', () => a.ikeSas[0]!.remote.ip === B2, 20_000);
    deaf = B2;
    a.host.move(net.internet.core, [A2]);
    expect(a.plane.children.map(({ local, remote }) => [local.ip, remote.ip])).toEqual([[A2, B1]]);
    off();
    net.run(200_000);
    expectPath(made, A2, a.ikeSas[0]!.remote.ip);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('a better path is tested in vain: the present one stays, whatever else there is', () => {
    const made = roamers({ more: { b: [B2, '198.51.100.4'] }, connection: { liveness: { delay: 5000 } } });
    const { net, a, b } = made;
    let present: string | undefined;
    let lose = false;
    net.internet.core.intercept((packet) => {
      if (packet.destination.ip === B1) lose = true;
      if (packet.destination.ip === B1 || packet.source.ip === B1) return [];
      if (!lose || packet.destination.ip !== present) return undefined;
      lose = false;
      return [];
    });
    net.run(9000);
    expect(a.heard('moved')).toHaveLength(1);
    // a test of B1 falls back to the path in use, where the first copy is lost: that alone is no reason to ask everywhere
    present = a.ikeSas[0]!.remote.ip;
    net.run(200_000);
    expect(a.sent.filter(({ remote }) => remote.ip === B1).length).toBeGreaterThan(5);
    expect(a.heard('moved')).toHaveLength(1);
    expectPath(made, A1, present);
    expectTrafficBothWays(net, a, b);
  });

  test('the link of a dies silently, it has another: the same', () => {
    const made = roamers({ more: { a: [A2] }, connection: { liveness: { delay: 5000 } } });
    const { net, a, b } = made;
    net.internet.core.intercept((packet) => ([packet.source.ip, packet.destination.ip].includes(A1) ? [] : undefined));
    net.run(15_000);
    expectPath(made, A2, B1);
    expectTrafficBothWays(net, a, b);
  });

  test('both links of the present path die at once', () => {
    const made = roamers({ more: { a: [A2], b: [B2] }, connection: { liveness: { delay: 5000 } } });
    const { net, a, b } = made;
    const dead = [A1, B1];
    net.internet.core.intercept((packet) => (dead.includes(packet.source.ip) || dead.includes(packet.destination.ip) ? [] : undefined));
    net.run(20_000);
    expectPath(made, A2, B2);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('b loses the address in use: it says so from the other, a follows', () => {
    const made = roamers({ more: { b: [B2] } });
    const { net, a, b } = made;
    b.host.removeAddress(B1);
    net.exchange('b → a  INFORMATIONAL request { N(NO_ADDITIONAL_ADDRESSES) }');
    net.run(3000);
    expectPath(made, A1, B2);
    expect(a.ikeSas[0]!.mobike).toEqual({ decides: true, peerAddresses: [], echoes: true });
    expectTrafficBothWays(net, a, b);
  });

  test('b has gone over to its other address with IKE alone, and loses that of the traffic: this leaves it, too (RFC 4555 §3.5)', () => {
    const made = roamers();
    const { net, a, b } = made;
    // what a answers arrives by the other address alone
    const undo = net.internet.core.intercept(({ destination }) => (destination.ip === B1 ? [] : undefined));
    b.host.addAddress(B2);
    net.until('IKE is there', () => b.ikeSas[0]!.local.ip === B2, 60_000);
    undo();
    expect(b.plane.children.map(({ local }) => local.ip)).toEqual([B1]);
    b.host.removeAddress(B1);
    expectTrafficBothWays(net, b, a);
    net.run(3000);
    expectPath(made, A1, B2);
    expectInvariants(net);
  });

  test('b loses its only address, and has another one only later: a is told where it is, though there is no list to change', () => {
    const made = roamers();
    const { net, a, b } = made;
    b.host.removeAddress(B1);
    net.run(3000);
    b.host.addAddress(B2);
    net.exchange('b → a  INFORMATIONAL request { N(NO_ADDITIONAL_ADDRESSES) }');
    net.run(3000);
    expectPath(made, A1, B2);
    expectTrafficBothWays(net, a, b);
    expect(requests(net, 'b', 'NO_ADDITIONAL_ADDRESSES')).toBe(1);
    expectInvariants(net);
  });

  test('b gets another address: a is told, and stays where it is', () => {
    const made = roamers();
    made.b.host.addAddress(B2);
    made.net.exchange('b → a  INFORMATIONAL request { N(ADDITIONAL_IP4_ADDRESS) }');
    made.net.run(60_000);
    expectPath(made, A1, B1);
    expect(made.a.ikeSas[0]!.mobike?.peerAddresses).toEqual([B2]);
  });

  test('both change at once: the update finds b at its other address', () => {
    const made = roamers({ more: { b: [B2] } });
    const { net, a, b } = made;
    b.host.removeAddress(B1);
    a.host.move(net.internet.core, [A2]);
    net.run(20_000);
    expectPath(made, A2, B2);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('a names its addresses in order of preference: the second while the first is gone, and back', () => {
    const made = roamers({ more: { a: [A2] }, a: { connection: { localAddresses: [A1, A2] } } });
    const { net, a, b } = made;
    a.host.removeAddress(A1);
    net.run(3000);
    expectPath(made, A2, B1);
    a.host.addAddress(A1);
    net.run(3000);
    expectPath(made, A1, B1);
    expectTrafficBothWays(net, a, b);
  });

  test('an address outside of the policy is not used', () => {
    const made = roamers({ more: { b: [B2] }, a: { connection: { mobikeAddresses: [B1] } }, connection: { liveness: { delay: 5000 } } });
    const { net } = made;
    net.internet.core.intercept((packet) => ([packet.source.ip, packet.destination.ip].includes(B1) ? [] : undefined));
    net.run(40_000);
    expect(made.a.sent.some(({ remote }) => remote.ip === B2)).toBe(false);
  });
});

describe('an update crosses a rekeying', () => {
  const DELAYS = [0, 40, 90, 130, 180, 230];
  const WHO = ['a', 'b'] as const;

  test.each(WHO.flatMap((by) => DELAYS.map((after) => ({ by, after }))))('of the IKE SA by $by, $after ms before', ({ by, after }) => {
    const made = roamers({ link: { delay: 50 } });
    const { net, a, b } = made;
    made[by].rekeyIke();
    net.run(after);
    a.host.move(net.internet.core, [A2]);
    net.run(20_000);
    expect(a.ikeSas.filter(({ state }) => state === 'established')).toHaveLength(1);
    expectPath(made, A2, B1);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    // inherited: the next SA moves as well
    a.host.move(net.internet.core, [A1]);
    net.run(5000);
    expectPath(made, A1, B1);
    expectInvariants(net);
  });

  test.each(WHO.flatMap((by) => DELAYS.map((after) => ({ by, after }))))('of the IKE SA by $by, $after ms behind', ({ by, after }) => {
    const made = roamers({ link: { delay: 50 } });
    const { net, a, b } = made;
    a.host.move(net.internet.core, [A2]);
    net.run(after);
    made[by].rekeyIke();
    net.run(20_000);
    expectPath(made, A2, B1);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test.each(WHO.flatMap((by) => DELAYS.map((after) => ({ by, after }))))(
    'of the IKE SA by $by, $after ms before b moves',
    ({ by, after }) => {
      const made = roamers({ link: { delay: 50 } });
      const { net, a, b } = made;
      made[by].rekeyIke();
      net.run(after);
      b.host.removeAddress(B1);
      b.host.addAddress(B2);
      net.run(40_000);
      expectPath(made, A1, B2);
      expectOneChild(a, b);
      expectTrafficBothWays(net, a, b);
      expectInvariants(net);
    },
  );

  test.each(WHO.flatMap((by) => DELAYS.map((after) => ({ by, after }))))(
    'of the IKE SA by $by, $after ms behind the move of b',
    ({ by, after }) => {
      const made = roamers({ link: { delay: 50 } });
      const { net, a, b } = made;
      b.host.removeAddress(B1);
      b.host.addAddress(B2);
      net.run(after);
      made[by].rekeyIke();
      net.run(40_000);
      expectPath(made, A1, B2);
      expectOneChild(a, b);
      expectTrafficBothWays(net, a, b);
      expectInvariants(net);
    },
  );

  test.each(WHO.flatMap((by) => DELAYS.map((after) => ({ by, after }))))(
    'of the child by $by, $after ms before, and behind',
    ({ by, after }) => {
      const made = roamers({ link: { delay: 50 } });
      const { net, a, b } = made;
      made[by].rekeyChild();
      net.run(after);
      a.host.move(net.internet.core, [A2]);
      net.run(20_000);
      expectPath(made, A2, B1);
      expectOneChild(a, b).bornIn(by);
      a.host.move(net.internet.core, [A1]);
      net.run(after);
      made[by].rekeyChild();
      net.run(20_000);
      expectPath(made, A1, B1);
      expectOneChild(a, b).bornIn(by);
      expectTrafficBothWays(net, a, b);
      expectInvariants(net);
    },
  );

  test('both ends rekey the IKE SA at once, and a roams', () => {
    const made = roamers({ link: { delay: 50 } });
    const { net, a, b } = made;
    a.rekeyIke();
    b.rekeyIke();
    net.run(60);
    a.host.move(net.internet.core, [A2]);
    net.run(70_000);
    expectPath(made, A2, B1);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('the data plane is slow: a child that was being installed starts on the new path', () => {
    const made = roamers({ a: { answerDelay: 300 }, b: { answerDelay: 300 } });
    const { net, a, b } = made;
    a.rekeyChild();
    net.run(100);
    a.host.move(net.internet.core, [A2]);
    net.run(10_000);
    expectPath(made, A2, B1);
    expectTrafficBothWays(net, a, b);
  });
});

describe('a restart in between', () => {
  test.each(['a', 'b'] as const)('%s: what MOBIKE knows is in the snapshot', (which) => {
    const made = roamers({ more: { b: [B2] } });
    const { net, a, b } = made;
    a.host.move(net.internet.core, [A2]);
    net.run(2000);
    const before = made[which].ikeSas[0]!.mobike;
    made[which].restart('snapshot');
    net.run(3000);
    expect(made[which].ikeSas[0]!.mobike).toEqual(before);
    expectPath(made, A2, B1);
    expectTrafficBothWays(net, a, b);
    a.host.move(net.internet.core, [A1]);
    net.run(3000);
    expectPath(made, A1, B1);
    expectTrafficBothWays(net, a, b);
  });

  test.each([false, true])('the peer has not heard yet where a is, and a knows nothing of that it was elsewhere: %s', (old) => {
    const made = roamers();
    const { net, a, b } = made;
    const before = structuredClone(a.endpoint.snapshot());
    a.host.addAddress(A2);
    a.host.removeAddress(A1);
    a.restart(old ? before : 'snapshot');
    net.run(5000);
    expectPath(made, A2, B1);
    expectTrafficBothWays(net, a, b);
  });

  test('a comes back at another address', () => {
    const made = roamers();
    const { net, a, b } = made;
    const snapshot = structuredClone(a.endpoint.snapshot());
    a.restart('nothing');
    a.host.move(net.internet.core, [A2]);
    a.endpoint.restore(snapshot, net.now);
    a.drain();
    net.run(5000);
    expectPath(made, A2, B1);
    expectTrafficBothWays(net, a, b);
  });
});

test('a responder waits long for the answer to its rekeying: an initiator that has answered answers again (RFC 7296 §2.1, RFC 4555 §3.11)', () => {
  const retransmission = { initial: 500, base: 1.8, giveUp: 60_000, responderGiveUp: 300_000 };
  const { net, a, b } = roamers({ connection: { retransmission } });
  const undo = net.internet.core.intercept(({ source }) => (a.host.addresses.includes(source.ip) ? [] : undefined));
  b.rekeyIke();
  net.run(150_000);
  undo();
  expect(a.heard('ike-rekeyed')).toHaveLength(1);
  net.settle({ quiet: 300_000 });
  expect([a, b].map((peer) => peer.heard('ike-down').map(({ reason }) => reason))).toEqual([['rekeyed'], ['rekeyed']]);
  expectOneChild(a, b);
  expectTrafficBothWays(net, a, b);
});
