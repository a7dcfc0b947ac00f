import { describe, expect, test } from 'vitest';
import { readCapture } from '../../src/core/packet/index.ts';
import { ExchangeType, parseMessage } from '../../src/core/wire/index.ts';
import {
  capturePcapng,
  establishedPair,
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  lowestIs,
  otherExchange,
  pair,
  parseArrow,
} from '../../src/testing/index.ts';
import { Insider } from '../simulation/insider.ts';

/** The harness itself: a scenario that does not go as it says must fail, and say why. */
describe('arrow lines', () => {
  test('are read', () => {
    expect(parseArrow('  a → b  CREATE_CHILD_SA request 3 { N(REKEY_SA), SA, Ni, KE?, ... }')).toEqual({
      from: 'a',
      to: 'b',
      exchange: 'CREATE_CHILD_SA',
      kind: 'request',
      messageId: 3,
      payloads: ['N(REKEY_SA)', 'SA', 'Ni', 'KE?', '...'],
    });
    expect(parseArrow('gw -> c1 INFORMATIONAL { }')).toMatchObject({
      from: 'gw',
      to: 'c1',
      kind: undefined,
      messageId: undefined,
      payloads: [],
    });
    for (const nonsense of ['a b IKE_AUTH { }', 'a → b IKE_AUTH', 'a → b { SA }', ''])
      expect(() => parseArrow(nonsense)).toThrow(/not an arrow/);
  });

  const SA_INIT = 'a → b  IKE_SA_INIT request 0 { SA, KE, Ni, ... }';
  test.each([
    ['b → a  IKE_SA_INIT { SA, KE, Ni, ... }', /it goes from a to b/],
    ['a → b  IKE_AUTH { ... }', /it is IKE_SA_INIT/],
    ['a → b  IKE_SA_INIT response { ... }', /it is a request/],
    ['a → b  IKE_SA_INIT request 1 { ... }', /its Message ID is 0/],
    ['a → b  IKE_SA_INIT { SA, KE, Ni }', /it has N\(NAT_DETECTION_SOURCE_IP\).* besides/],
    ['a → b  IKE_SA_INIT { SA, KE, Ni, N(COOKIE), ... }', /N\(COOKIE\) is missing/],
    ['a → b  IKE_SA_INIT { SA, SA, KE, Ni, ... }', /SA is missing/],
  ])('%s does not pass for the real message', (line, why) => {
    const { a, net } = pair();
    a.initiate();
    expect(() => net.exchange(line)).toThrow(why);
    net.exchange(SA_INIT);
  });

  test('order counts when asked for', () => {
    const { a, net } = pair();
    a.initiate();
    expect(() => net.exchange('a → b  IKE_SA_INIT { KE, SA, Ni, ... }', { order: 'exact' })).toThrow(/missing/);
    net.exchange('a → b  IKE_SA_INIT { KE, Ni, SA, N(COOKIE)?, ... }');
    net.exchange('b → a  IKE_SA_INIT { SA, KE, ... }', { order: 'exact' });
  });

  test('silence is no message', () => {
    const { net } = establishedPair();
    expect(() => net.exchange('a → b  INFORMATIONAL { }')).toThrow(/nothing was sent/);
  });

  test('a failure shows the chart of what happened and the seed', () => {
    const { net, a } = establishedPair({ seed: 'a seed to find', link: { delay: 10 } });
    a.rekeyChild();
    expect(() => net.exchange('a → b  INFORMATIONAL { D }')).toThrow(
      /seed a seed to find[\s\S]*0\.000 {2}a → b {2}IKE_SA_INIT request 0[\s\S]*a → b {2}CREATE_CHILD_SA request 2[\s\S]*a: established/,
    );
  });
});

describe('expectations fail when they should', () => {
  test('expectOneChild: two, none, and two that are not the same', () => {
    const { net, a, b } = establishedPair();
    expectOneChild(a, b);
    a.createChild('net');
    net.settle();
    expect(() => expectOneChild(a, b)).toThrow(/2 CHILD_SAs/);
    const fresh = pair();
    expect(() => expectOneChild(fresh.a, fresh.b)).toThrow(/0 CHILD_SAs/);
    const other = establishedPair({ seed: 2 });
    expect(() => expectOneChild(a.children.length === 1 ? a : other.a, establishedPair().b)).toThrow(/not the same CHILD_SA/);
  });

  test('bornIn: the other exchange, and no rekey at all', () => {
    const { net, a, b } = establishedPair();
    expect(() => expectOneChild(a, b).bornIn('a')).toThrow(/not born in a rekey/);
    a.rekeyChild();
    net.settle();
    expect(() => expectOneChild(a, b).bornIn('b')).toThrow(/born in the exchange of a/);
  });

  test('expectTrafficBothWays: no SA, a cut path, a key that differs', () => {
    const apart = pair();
    expect(() => expectTrafficBothWays(apart.net, apart.a, apart.b)).toThrow(/no SA to send on/);
    const { net, a, b } = establishedPair();
    a.host.setLink({ cut: true });
    expect(() => expectTrafficBothWays(net, a, b)).toThrow(/did not reach b/);
    a.host.setLink({ cut: false });
    expectTrafficBothWays(net, a, b);
    const { spec } = b.plane.children[0]!;
    b.plane.remove(spec.id);
    b.plane.install({ ...spec, inbound: { ...spec.inbound, encryptionKey: new Uint8Array(20).fill(1) } });
    expect(() => expectTrafficBothWays(net, a, b)).toThrow(/did not reach b; drops \{"icv":1\}/);
  });

  test('expectNothingLeft', () => {
    const { a, b } = establishedPair();
    expect(() => expectNothingLeft(a, b)).toThrow(/a still has 1 IKE SAs, 1 CHILD_SAs/);
  });

  test('expectInvariants: a key that serves twice, an SPI chosen twice, an IV and a sequence number used twice, an orphan in the data plane', () => {
    const spoil = (change: (made: ReturnType<typeof establishedPair>) => void): (() => void) => {
      const made = establishedPair();
      expectInvariants(made.net);
      change(made);
      return () => expectInvariants(made.net);
    };
    const again = ({ a }: ReturnType<typeof establishedPair>, inbound: number, outbound: number): void => {
      const { spec } = a.plane.children[0]!;
      a.plane.remove(spec.id);
      a.plane.install({ ...spec, id: 99, inbound: { ...spec.inbound, spi: inbound }, outbound: { ...spec.outbound, spi: outbound } });
    };
    expect(spoil((made) => again(made, 4711, 4712))).toThrow(/one key serves the SPIs/);
    expect(spoil((made) => again(made, made.a.plane.children[0]!.spec.inbound.spi, 4712))).toThrow(/chose the SPI [0-9a-f]{8} twice/);
    expect(spoil((made) => again(made, 4711, 4712))).toThrow(/of which its core knows nothing/);
    const sameIv = spoil(({ a }) => {
      const message = a.sent.at(-1)!;
      const data = message.data.slice();
      data[data.length - 1]! ^= 1;
      a.sent.push({ ...message, data });
    });
    expect(sameIv).toThrow(/a used an IV twice/);
    const sameSequence = spoil(({ a }) => {
      a.sendTraffic(Uint8Array.of(1));
      a.espSent.push(a.espSent[0]!);
    });
    expect(sameSequence).toThrow(/a used an ESP sequence number twice/);
    const counted = spoil(({ net, a, b }) => {
      expectTrafficBothWays(net, a, b, { packets: 2 });
      b.plane.children[0]!.inbound.packets += 7;
    });
    expect(counted).toThrow(/b opened 9 packets on [0-9a-f]{8}, of which only 2 were sealed/);
  });

  test('settle reports a world that never rests', () => {
    const { net, a } = pair({ a: { connection: { liveness: { delay: 10_000 } } } });
    a.initiate();
    expect(() => net.settle({ within: 100_000 })).toThrow(/does not come to rest/);
  });

  test('an exception of an endpoint comes out with the chart', () => {
    const { net, a } = establishedPair();
    net.internet.clock.after(5, () => {
      throw new RangeError('out of luck');
    });
    a.checkLiveness();
    expect(() => net.run(100)).toThrow(/an exception came out: RangeError: out of luck[\s\S]*INFORMATIONAL request/);
  });
});

describe('faults', () => {
  test('a fault strikes as often as it says', () => {
    const { net, a, b } = establishedPair();
    a.fault({ ask: 'install', outcome: 'fail', times: 2 });
    for (const expected of [1, 1, 2]) {
      a.createChild('net');
      net.settle({ quiet: 60_000 });
      expect(a.plane.children).toHaveLength(expected);
      expect(b.plane.children).toHaveLength(expected);
    }
  });

  test('late means late', () => {
    const { net, a, b } = pair({ b: { answerDelay: 30 } });
    b.fault({ ask: 'verify', outcome: 'late', delay: 400 });
    a.initiate();
    net.until('b is up', () => b.plane.children.length === 1);
    // verify 430, then authorise, authenticate and install 30 each at most.
    expect(net.now).toBeGreaterThanOrEqual(430);
    expect(net.now).toBeLessThanOrEqual(600);
  });
});

test('scripted nonces land where the scenario needs them', () => {
  for (const which of ['a.Ni', 'a.Nr', 'b.Ni', 'b.Nr'] as const) {
    const { net, a, b } = establishedPair({ nonces: lowestIs(which), link: { delay: 10 } });
    const insider = new Insider(a);
    a.rekeyChild();
    b.rekeyChild();
    net.settle();
    const named = [a, b].flatMap((peer) =>
      peer.sent.flatMap(({ data }) => {
        const { exchange, flags } = parseMessage(data).header;
        if (exchange !== ExchangeType.CREATE_CHILD_SA) return [];
        const nonce = insider.open(data).find((payload) => payload.kind === 'Nonce')!.data;
        if (nonce.some((octet) => octet !== 0)) return [];
        const began = flags.response ? (peer === a ? 'b' : 'a') : peer.name;
        return [`${began}.${flags.response ? 'Nr' : 'Ni'}`];
      }),
    );
    expect(named).toEqual([which]);
    expect(otherExchange(which)).toBe(which.startsWith('a') ? 'b' : 'a');
  }
});

test('the capture can be written as pcapng and read back', () => {
  const { net } = establishedPair({ nat: {}, link: { delay: 10 } });
  const packets = [...readCapture(capturePcapng(net.internet.capture, 'internet'))];
  const sent = net.internet.capture.packets.filter((entry) => entry.network === 'internet');
  expect(packets).toHaveLength(sent.length);
  expect(packets.map((packet) => packet.data[9])).toEqual(sent.map(() => 17));
  const v6 = establishedPair({ ipv6: true });
  expect([...readCapture(capturePcapng(v6.net.internet.capture))].every((packet) => packet.data[0]! >>> 4 === 6)).toBe(true);
});
