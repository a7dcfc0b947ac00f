import { describe, expect, test } from 'vitest';
import { concat, Writer } from '../../src/core/bytes/index.ts';
import { ExchangeType, type Payload, parseMessage, typeOf, writePayloads } from '../../src/core/wire/index.ts';
import {
  establishedPair,
  expectInvariants,
  expectOneChild,
  expectTrafficBothWays,
  type Net,
  type Peer,
  pair,
  SeededRandom,
} from '../../src/testing/index.ts';
import { Insider } from './insider.ts';

/**
 * What strangers and insane peers send. An exception anywhere fails the test with the chart and the seed (Net guards every step);
 * a hang fails it by the bound on steps and effects.
 */
const SEEDS = Array.from({ length: 8 }, (_, i) => i + 1);

/** Real messages of a whole life, both directions. */
function recording(): readonly Uint8Array[] {
  const { net, a, b } = establishedPair({ seed: 'recording' });
  a.rekeyChild();
  net.settle();
  b.rekeyIke();
  net.settle({ quiet: 60_000 });
  a.deleteIke();
  net.settle({ quiet: 60_000 });
  return [...a.sent, ...b.sent].map((datagram) => datagram.data.slice());
}

/** One of the ways in which octets go wrong. */
function mutate(data: Uint8Array, random: SeededRandom, others: readonly Uint8Array[]): Uint8Array {
  const copy = data.slice();
  const at = random.between(0, Math.max(0, copy.length - 1));
  switch (random.between(0, 8)) {
    case 0:
      copy[at]! ^= 1 << random.between(0, 7);
      return copy;
    case 1:
      copy[at] = random.pick([0, 1, 0x7f, 0x80, 0xff]);
      return copy;
    case 2:
      return copy.subarray(0, at);
    case 3:
      return concat(copy, random.bytes(random.between(1, 64)));
    case 4: {
      const other = random.pick(others);
      return concat(copy.subarray(0, at), other.subarray(random.between(0, other.length)));
    }
    case 5:
      copy.fill(random.between(0, 255), at, at + random.between(1, 16));
      return copy;
    case 6:
      // Exchange type, flags and Message ID, where the state machine looks.
      copy[random.pick([16, 17, 18, 19, 23])] = random.between(0, 255);
      return copy;
    case 7: {
      const length = random.pick([0, 27, 28, copy.length - 1, copy.length + 1, 0xffff]);
      if (copy.length >= 28) new DataView(copy.buffer).setUint32(24, length);
      return copy;
    }
    default: {
      // A payload length inside.
      if (copy.length > 34) new DataView(copy.buffer).setUint16(30, random.pick([0, 3, 4, 5, 0xffff, copy.length]));
      return copy;
    }
  }
}

const addresses = ['192.0.2.1', '198.51.100.2', '203.0.113.66'] as const;

function shower(net: Net, targets: readonly Peer[], random: SeededRandom, corpus: readonly Uint8Array[], count: number): void {
  for (let i = 0; i < count; i++) {
    const data = random.chance(0.15) ? random.bytes(random.between(0, 300)) : mutate(random.pick(corpus), random, corpus);
    random.pick(targets).inject(data, { ip: random.pick(addresses), port: random.pick([500, 4500, 60_000]) }, random.chance(0.3));
    if (i % 50 === 0) net.run(random.between(0, 20));
  }
}

describe('strangers', () => {
  const corpus = recording();

  test.each(SEEDS)('mutated messages of another life and plain noise, to established ends: nothing falls, seed %i', (seed) => {
    const { net, a, b } = establishedPair({ seed });
    const random = new SeededRandom(seed, 'hostile');
    // Messages of this very life too: right SPIs, right Message IDs.
    shower(net, [a, b], random, [...corpus, ...a.sent.map((d) => d.data), ...b.sent.map((d) => d.data)], 600);
    net.settle({ quiet: 120_000 });
    expectOneChild(a, b);
    expect([a.ikeSas.length, b.ikeSas.length]).toEqual([1, 1]);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test.each(SEEDS)('while they are busy: rekeys, deletes and crossings under fire, seed %i', (seed) => {
    const { net, a, b } = establishedPair({ seed, link: { delay: 20, jitter: 20 } });
    const random = new SeededRandom(seed, 'hostile');
    for (let round = 0; round < 4; round++) {
      const peer = random.pick([a, b]);
      const usable = peer.children.find((child) => child.state === 'installed');
      const sa = peer.established.find((one) => one.state === 'established');
      if (random.chance(0.5) && usable) peer.rekeyChild(usable.id);
      else if (sa) peer.rekeyIke(sa.id);
      for (let i = 0; i < 5; i++) {
        shower(net, [a, b], random, [...corpus, ...a.sent.slice(-6).map((d) => d.data), ...b.sent.slice(-6).map((d) => d.data)], 30);
        net.run(random.between(0, 30));
      }
    }
    net.settle({ quiet: 120_000 });
    expectOneChild(a, b);
    expect([a.established.length, b.established.length]).toEqual([1, 1]);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test.each(SEEDS)('while they establish, seed %i', (seed) => {
    const { net, a, b } = pair({
      seed,
      link: { delay: 20 },
      b: { limits: { cookieThreshold: seed % 2 === 0 ? 0 : 1000, halfOpenPerAddress: 50 } },
    });
    const random = new SeededRandom(seed, 'hostile');
    a.initiate();
    for (let i = 0; i < 20; i++) {
      shower(net, [a, b], random, corpus, 25);
      net.run(7);
    }
    net.settle({ quiet: 120_000 });
    // Forged refusals of IKE_SA_INIT may end an attempt; what stands must be whole.
    expect(a.established.length).toBe(b.established.length);
    if (a.established.length === 1) expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('a flood of first requests: memory stays bounded, and those who are established do not notice', () => {
    const { net, a, b } = establishedPair();
    const random = new SeededRandom('flood');
    const first = a.sent[0]!.data;
    for (let i = 0; i < 3000; i++) {
      const data = first.slice();
      data.set(random.bytes(8), 0);
      b.inject(data, { ip: `203.0.${random.between(0, 255)}.${random.between(1, 254)}`, port: random.between(1024, 65_535) });
      if (i % 300 === 0) net.run(1);
    }
    expect(b.ikeSas.length).toBeLessThanOrEqual(33);
    expect(b.openAsks).toBeLessThanOrEqual(40);
    expectTrafficBothWays(net, a, b);
    b.rekeyChild();
    net.settle({ quiet: 120_000 });
    expectOneChild(a, b);
    expect(b.ikeSas).toHaveLength(1);
  });
});

describe('an authenticated peer gone mad', () => {
  /** Bodies of real payloads, by type, to start from. */
  const bodies = new Map<number, Uint8Array[]>();
  {
    const { net, a, b } = establishedPair({ seed: 'bodies' });
    const insider = new Insider(a);
    a.rekeyChild();
    net.settle();
    for (const { data } of [...a.sent, ...b.sent]) {
      const message = parseMessage(data);
      const payloads = message.payloads.at(-1)?.kind === 'SK' ? insider.open(data) : message.payloads;
      for (const payload of payloads) {
        const writer = new Writer();
        writePayloads(writer, [payload]);
        const type = typeOf(payload);
        bodies.set(type, [...(bodies.get(type) ?? []), writer.finish().slice(4)]);
      }
    }
  }

  const TYPES = [...bodies.keys(), 36, 37, 38, 47, 48, 49, 54];

  function madPayloads(random: SeededRandom): readonly Payload[] {
    const count = random.between(0, 8);
    return Array.from({ length: count }, () => {
      const type = random.pick(TYPES);
      const real = bodies.get(type);
      const body = real === undefined ? random.bytes(random.between(0, 40)) : random.pick(real);
      const data = random.chance(0.5) ? body : mutate(body, random, real ?? [body]);
      return { kind: 'unknown', type, data: data.slice(0, 2000), critical: random.chance(0.1) } as const;
    });
  }

  test.each(Array.from({ length: 10 }, (_, i) => i + 1))(
    'authentic nonsense in every exchange: no exception, no hang, invariants hold, seed %i',
    (seed) => {
      const random = new SeededRandom(seed, 'mad');
      let life = establishedPair({ seed });
      let insider = new Insider(life.a);
      let messageId = 2;
      for (let i = 0; i < 60; i++) {
        const { net, a, b } = life;
        const exchange = random.pick([
          ExchangeType.CREATE_CHILD_SA,
          ExchangeType.INFORMATIONAL,
          ExchangeType.IKE_AUTH,
          ExchangeType.CREATE_CHILD_SA,
          43,
          44,
        ]);
        const before = b.sent.length;
        b.inject(insider.request(exchange, messageId, madPayloads(random)), { ip: '192.0.2.1', port: 500 });
        net.run(random.between(0, 50));
        if (b.sent.length > before) messageId++;
        expect(b.plane.children.length).toBeLessThan(100);
        if (b.established.length === 1 && a.ikeSas.length === 1 && b.ikeSas[0]!.state === 'established') continue;
        net.settle({ quiet: 60_000 });
        expectInvariants(net);
        life = establishedPair({ seed: `${seed} ${i}` });
        insider = new Insider(life.a);
        messageId = 2;
      }
      life.net.run(200_000);
      expectInvariants(life.net);
    },
  );

  test.each(Array.from({ length: 8 }, (_, i) => i + 1))('authentic nonsense as answer to what we asked, seed %i', (seed) => {
    const random = new SeededRandom(seed, 'mad answers');
    for (let i = 0; i < 12; i++) {
      const { net, a } = establishedPair({ seed: `${seed} ${i}` });
      const insider = new Insider(a, 'responder');
      net.internet.core.intercept((packet) => (packet.source.ip === '198.51.100.2' ? [] : undefined));
      const action = random.pick(['rekeyChild', 'rekeyIke', 'deleteChild', 'deleteIke', 'checkLiveness'] as const);
      a[action]();
      const { exchange } = parseMessage(a.sent.at(-1)!.data).header;
      const flags = { initiator: false, response: true, version: false };
      a.inject(insider.request(exchange, 2, madPayloads(random), { flags }), { ip: '198.51.100.2', port: 500 });
      net.run(200_000);
      expect(a.openAsks).toBe(0);
      expectInvariants(net);
    }
  });
});
