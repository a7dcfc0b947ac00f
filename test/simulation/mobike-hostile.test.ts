import { describe, expect, test } from 'vitest';
import { equalBytes, utf8 } from '../../src/core/bytes/index.ts';
import { ExchangeType, NotifyType, type Payload } from '../../src/core/wire/index.ts';
import { expectTrafficBothWays, type Pair } from '../../src/testing/index.ts';
import { Insider } from './insider.ts';
import { A1, A2, B1, B2, expectPath, notify, roamers, VICTIM } from './roamers.ts';

describe('who may move what (§3.7, §5)', () => {
  /** An authentic request of `a`'s, by its keys, that `a` never sent; `b` expects this Message ID next. */
  const update = (made: Pair, payloads: readonly Payload[] = []): Uint8Array =>
    new Insider(made.a).request(ExchangeType.INFORMATIONAL, 2, [notify(NotifyType.UPDATE_SA_ADDRESSES), ...payloads]);

  test('a peer that lies about its address: the victim gets no traffic, and few octets', () => {
    const made = roamers();
    const { net, b } = made;
    const victim: number[] = [];
    const host = net.internet.host('victim', { addresses: [VICTIM] });
    for (const port of [500, 4500]) host.bind(port, (packet) => victim.push(packet.data.length));
    host.onEsp((packet) => victim.push(packet.data.length * 1000));
    b.inject(update(made), { ip: VICTIM, port: 4500 }, true);
    for (let i = 0; i < 200; i++) {
      b.sendTraffic(new Uint8Array(1000));
      net.run(50);
    }
    expect(b.plane.children[0]!.remote.ip).toBe(A1);
    expect(victim.reduce((sum, octets) => sum + octets, 0)).toBeLessThan(2000);
  });

  test('an attacker changes the IP header of an update: traffic stays, and the next look at the addresses corrects the rest', () => {
    const made = roamers({ connection: { liveness: { delay: 10_000 } } });
    const { net, a, b } = made;
    net.internet.host('victim', { addresses: [VICTIM] });
    let changed = 0;
    net.internet.core.intercept((packet) => {
      if (packet.source.ip !== A2 || packet.protocol !== 'udp' || changed++ > 0) return undefined;
      return [{ ...packet, source: { ip: VICTIM, port: 4500 } }];
    });
    a.host.move(net.internet.core, [A2]);
    net.run(2000);
    expect(b.plane.children[0]!.remote.ip).not.toBe(VICTIM);
    net.run(90_000);
    expectPath(made, A2, B1);
    expectTrafficBothWays(net, a, b);
  });

  test('a replayed UPDATE_SA_ADDRESSES moves nothing', () => {
    const made = roamers();
    const { net, a, b } = made;
    a.host.move(net.internet.core, [A2]);
    net.run(2000);
    const sent = a.sent.find(({ local }) => local.ip === A2)!.data;
    a.host.move(net.internet.core, [A1]);
    net.run(2000);
    for (const from of [A2, VICTIM]) b.inject(sent.slice(), { ip: from, port: 4500 }, true);
    net.run(2000);
    expectPath(made, A1, B1);
    // one of the other direction, reflected
    a.inject(sent.slice(), { ip: VICTIM, port: 4500 }, true);
    net.run(2000);
    expectPath(made, A1, B1);
  });

  test.each([
    ['wrong', (cookie: Payload): Payload[] => [{ ...cookie, data: new Uint8Array(16) } as Payload]],
    ['missing', (): Payload[] => []],
  ])('COOKIE2 comes back %s: the IKE SA is closed (§3.7)', (_, answer) => {
    const made = roamers();
    const { net, a, b } = made;
    const insider = new Insider(a);
    const victim = net.internet.host('elsewhere', { addresses: [VICTIM] });
    victim.bind(4500, (packet) => {
      const message = packet.data.subarray(4);
      const flags = message[19]!;
      const payloads = insider.open(message);
      const cookie = payloads.find((payload) => payload.kind === 'N' && payload.notify === NotifyType.COOKIE2);
      if ((flags & 0x20) !== 0 || cookie === undefined) return;
      const messageId = new DataView(message.buffer, message.byteOffset).getUint32(20);
      const response = insider.request(ExchangeType.INFORMATIONAL, messageId, answer(cookie), {
        flags: { initiator: true, response: true, version: false },
      });
      b.inject(response, { ip: VICTIM, port: 4500 }, true);
    });
    b.inject(update(made), { ip: VICTIM, port: 4500 }, true);
    net.run(1000);
    expect(b.ikeSas).toEqual([]);
    expect(b.heard('ike-down')[0]!.error?.code).toBe('COOKIE2_MISMATCH');
    expect(b.plane.children).toEqual([]);
  });

  test('the responder at its new address does not return the cookie of the update: the IKE SA is closed (§3.7)', () => {
    const made = roamers({ more: { b: [B2] } });
    const { net, a, b } = made;
    const insider = new Insider(a, 'responder');
    net.internet.core.intercept((packet) => {
      if (packet.source.ip !== B2 || packet.protocol !== 'udp') return undefined;
      const message = packet.data.subarray(4);
      if ((message[19]! & 0x20) === 0) return undefined;
      const messageId = new DataView(message.buffer, message.byteOffset).getUint32(20);
      const flags = { initiator: false, response: true, version: false };
      return [{ ...packet, data: Uint8Array.of(0, 0, 0, 0, ...insider.request(ExchangeType.INFORMATIONAL, messageId, [], { flags })) }];
    });
    b.host.removeAddress(B1);
    net.run(2000);
    expect(a.heard('ike-down')[0]!.error?.code).toBe('COOKIE2_MISMATCH');
    expect(a.plane.children).toEqual([]);
  });

  test('an update from the end that does not decide is answered, and is not followed', () => {
    const made = roamers();
    const { net, a } = made;
    const request = new Insider(a, 'responder').request(ExchangeType.INFORMATIONAL, 0, [notify(NotifyType.UPDATE_SA_ADDRESSES)]);
    a.inject(request, { ip: VICTIM, port: 4500 }, true);
    net.run(1000);
    expect(a.ikeSas[0]!.remote.ip).toBe(B1);
    expect(a.heard('moved')).toEqual([]);
  });

  test('an address that the policy does not accept is refused, and stays refused', () => {
    const made = roamers({ b: { connection: { mobikeAddresses: ['192.0.2.0/30'] } }, more: { a: [A2] } });
    const { net, a, b } = made;
    a.host.move(net.internet.core, ['203.0.113.9']);
    net.exchange(
      'a → b  INFORMATIONAL request { N(UPDATE_SA_ADDRESSES), N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP), N(NO_ADDITIONAL_ADDRESSES) }',
    );
    net.exchange('b → a  INFORMATIONAL response { N(UNACCEPTABLE_ADDRESSES) }');
    net.run(20_000);
    expect(b.ikeSas[0]!.remote.ip).toBe(A1);
    a.host.move(net.internet.core, [A2]);
    net.run(3000);
    expectPath(made, A2, B1);
    expectTrafficBothWays(net, a, b);
  });

  test.each([
    ['an address of three octets', NotifyType.ADDITIONAL_IP4_ADDRESS, Uint8Array.of(192, 0, 2)],
    ['an IPv6 address of four octets', NotifyType.ADDITIONAL_IP6_ADDRESS, Uint8Array.of(192, 0, 2, 9)],
    ['a multicast address', NotifyType.ADDITIONAL_IP4_ADDRESS, Uint8Array.of(224, 0, 0, 1)],
    ['a loopback address', NotifyType.ADDITIONAL_IP4_ADDRESS, Uint8Array.of(127, 0, 0, 1)],
    ['no address', NotifyType.ADDITIONAL_IP6_ADDRESS, new Uint8Array(16)],
  ])('a list with %s: it is left out', (_, type, data) => {
    const made = roamers();
    const good = notify(NotifyType.ADDITIONAL_IP4_ADDRESS, Uint8Array.of(192, 0, 2, 77));
    const request = new Insider(made.a).request(ExchangeType.INFORMATIONAL, 2, [notify(type, data), good]);
    made.b.inject(request, { ip: A1, port: 4500 }, true);
    made.net.run(1000);
    expect(made.b.ikeSas[0]!.mobike?.peerAddresses).toEqual(['192.0.2.77']);
  });

  test('a list of a hundred addresses is cut, a cookie of a hundred octets is none', () => {
    const made = roamers();
    const list = Array.from({ length: 100 }, (_, i) => notify(NotifyType.ADDITIONAL_IP4_ADDRESS, Uint8Array.of(192, 0, 2, i + 100)));
    const insider = new Insider(made.a);
    const request = insider.request(ExchangeType.INFORMATIONAL, 2, [...list, notify(NotifyType.COOKIE2, new Uint8Array(100))]);
    made.b.inject(request, { ip: A1, port: 4500 }, true);
    made.net.run(1000);
    expect(made.b.ikeSas[0]!.mobike?.peerAddresses).toHaveLength(8);
    expect(insider.open(made.b.sent.at(-1)!.data)).toEqual([]);
  });

  test('what MOBIKE says means nothing where it was not agreed', () => {
    const made = roamers({ connection: { mobike: false } });
    const insider = new Insider(made.a);
    const request = insider.request(ExchangeType.INFORMATIONAL, 2, [
      notify(NotifyType.UPDATE_SA_ADDRESSES),
      notify(NotifyType.COOKIE2, new Uint8Array(16)),
    ]);
    made.b.inject(request, { ip: VICTIM, port: 500 });
    made.net.run(1000);
    expect(made.b.ikeSas[0]!.remote.ip).toBe(A1);
    expect(insider.open(made.b.sent.at(-1)!.data)).toEqual([]);
  });
});

describe('measuring a NAT (nat-echo)', () => {
  const magic = utf8('tunnelwright nat echo');
  const wish = (made: Pair, messageId: number, seconds: number): Uint8Array =>
    new Insider(made.a).request(ExchangeType.INFORMATIONAL, messageId, [
      notify(58_951, Uint8Array.of(...magic, seconds >> 8, seconds & 255)),
    ]);

  test('the answer comes at once, and the same octets again when they are due; nobody moves', () => {
    const made = roamers();
    const { net, a, b } = made;
    a.command({ kind: 'ask-echo', ikeSa: a.ikeSas[0]!.id, local: { ip: A1, port: 50_000 }, seconds: 50 });
    net.run(10_000);
    const first = b.sent.at(-1)!;
    net.run(60_000);
    expect(b.sent.at(-1)).toEqual(first);
    expect(b.sent.filter(({ data }) => equalBytes(data, first.data)).length).toBeGreaterThan(1);
    expectPath(made, A1, B1);
    expect(a.heard('moved')).toEqual([]);
    expectTrafficBothWays(net, a, b);
  });

  test('not to an address that has not shown that it receives, not after hours, and not for whoever did not agree', () => {
    const made = roamers();
    const { net, b } = made;
    const sent = (): number => b.sent.length;
    const before = sent();
    b.inject(wish(made, 2, 20), { ip: VICTIM, port: 4500 }, true);
    net.run(60_000);
    expect(sent()).toBe(before + 1);
    b.inject(wish(made, 3, 30_000), { ip: A1, port: 4500 }, true);
    net.run(1_000);
    expect(b.endpoint.nextDeadline()).toBeUndefined();
    expect(sent()).toBe(before + 2);
    const without = roamers({ connection: { mobike: false } });
    const had = without.b.sent.length;
    without.b.inject(wish(without, 2, 20), { ip: A1, port: 500 });
    without.net.run(60_000);
    expect(without.b.sent.length).toBe(had + 1);
  });

  test('a rekeyed IKE SA goes on knowing of it', () => {
    const made = roamers();
    made.a.rekeyIke();
    made.net.run(5000);
    expect(made.a.ikeSas.find(({ state }) => state === 'established')!.mobike?.echoes).toBe(true);
  });
});
