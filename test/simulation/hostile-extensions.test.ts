import { describe, expect, test } from 'vitest';
import { concat } from '../../src/core/bytes/index.ts';
import { ExchangeType, NotifyType, type Payload } from '../../src/core/wire/index.ts';
import { expectInvariants, type Pair, type Peer, pair, SeededRandom } from '../../src/testing/index.ts';
import { Insider } from './insider.ts';

/** Both ends with everything on that lets a peer move, resume or end an IKE SA by a notify (RFC 5685, 5723, 6290). */
function extended(seed: number | string): Pair {
  const secret = new Uint8Array(32).fill(5);
  const made = pair({
    seed,
    connection: {
      redirect: { follow: true, most: 5, within: 300_000 },
      resumption: true,
      crashDetection: true,
      retransmission: { initial: 1000, base: 1.8, giveUp: 10_000 },
    },
    a: { child: { dpdAction: 'start', closeAction: 'start' }, endpoint: { secret } },
    b: { endpoint: { secret } },
  });
  made.a.initiate();
  made.net.settle();
  return made;
}

const KINDS = [
  NotifyType.REDIRECT,
  NotifyType.REDIRECT_SUPPORTED,
  NotifyType.REDIRECTED_FROM,
  NotifyType.TICKET_LT_OPAQUE,
  NotifyType.TICKET_REQUEST,
  NotifyType.TICKET_ACK,
  NotifyType.TICKET_NACK,
  NotifyType.TICKET_OPAQUE,
  NotifyType.QUICK_CRASH_DETECTION,
  NotifyType.INVALID_SPI,
  NotifyType.INVALID_IKE_SPI,
];

const BODIES: readonly Uint8Array[] = [
  new Uint8Array(0),
  Uint8Array.of(1, 4, 198, 51, 100, 2),
  Uint8Array.of(1, 4, 203, 0, 113, 77),
  concat(Uint8Array.of(2, 16), new Uint8Array(16).fill(0x20)),
  concat(Uint8Array.of(3, 11), new TextEncoder().encode('vpn.example')),
  Uint8Array.of(0, 0, 14, 16, 1, 2, 3, 4),
  Uint8Array.of(255, 255, 255, 255, 9),
  new Uint8Array(16).fill(8),
];

function notifies(random: SeededRandom): readonly Payload[] {
  return Array.from({ length: random.between(1, 5) }, (): Payload => {
    const body = random.pick(BODIES);
    const data = random.chance(0.4) ? body.map((octet) => (random.chance(0.2) ? random.between(0, 255) : octet)) : body;
    const cut = random.chance(0.2) ? data.slice(0, random.between(0, data.length)) : data;
    const spi = random.chance(0.1) ? random.bytes(random.between(0, 20)) : new Uint8Array(0);
    return { kind: 'N', notify: random.pick(KINDS), protocol: random.pick([0, 1, 3]), spi, data: cut };
  });
}

describe('notifies that could move, resume or end an IKE SA', () => {
  test.each([1, 2, 3, 4, 5, 6])(
    'from a peer gone mad, protected: nothing falls, and what it makes us begin is bounded, seed %i',
    (seed) => {
      const random = new SeededRandom(seed, 'mad notifies');
      let redirected = 0;
      for (let life = 0; life < 4; life++) {
        const { net, a, b } = extended(`${seed} ${life}`);
        const ends: readonly [Peer, Insider, string][] = [
          [a, new Insider(a, 'responder'), '198.51.100.2'],
          [b, new Insider(b, 'initiator'), '192.0.2.1'],
        ];
        const next = new Map([
          [a, 0],
          [b, 2],
        ]);
        for (let i = 0; i < 25; i++) {
          const [target, insider, ip] = random.pick(ends);
          const messageId = next.get(target)!;
          // what is no CREATE_CHILD_SA at all ends the IKE SA, and the life with it
          const exchange = random.chance(0.02) ? ExchangeType.CREATE_CHILD_SA : ExchangeType.INFORMATIONAL;
          const before = target.sent.length;
          target.inject(insider.request(exchange, messageId, notifies(random)), { ip, port: 500 });
          if (target.sent.length > before) next.set(target, messageId + 1);
          net.run(random.between(0, 400));
          expect(a.ikeSas.length + b.ikeSas.length).toBeLessThan(20);
        }
        expect(a.heard('redirected').length).toBeLessThanOrEqual(5);
        redirected += a.heard('redirected').length;
        net.run(120_000);
        expect([a.openAsks, b.openAsks]).toEqual([0, 0]);
        expectInvariants(net);
      }
      expect(redirected).toBeGreaterThan(0);
    },
  );

  test.each([1, 2, 3, 4, 5, 6])('from strangers, in the clear: both ends keep what they have, seed %i', (seed) => {
    const { net, a, b } = extended(seed);
    const random = new SeededRandom(seed, 'strange notifies');
    const { spiI, spiR } = a.ikeSas[0]!;
    for (let i = 0; i < 400; i++) {
      const target = random.pick([a, b]);
      const data = clear(random, random.chance(0.7) ? [spiI, spiR] : [random.bytes(8), random.pick([spiI, spiR, new Uint8Array(8)])]);
      target.inject(data, { ip: random.pick(['192.0.2.1', '198.51.100.2', '203.0.113.66']), port: 500 });
      if (i % 40 === 0) net.run(random.between(0, 2000));
    }
    net.settle({ quiet: 60_000 });
    expect([a, b].map((peer) => peer.ikeSas.filter(({ state }) => state === 'established').length)).toEqual([1, 1]);
    expect(a.ikeSas[0]!.spiI).toEqual(spiI);
    expect([a.heard('redirected'), a.heard('ike-down')]).toEqual([[], []]);
    expectInvariants(net);
  });
});

/** A message without protection, in any exchange, with any flags. */
function clear(random: SeededRandom, [spiI, spiR]: readonly [Uint8Array, Uint8Array] | readonly Uint8Array[]): Uint8Array {
  const body = notifies(random).flatMap((payload, i, all) => {
    const { notify, protocol, spi, data } = payload as Extract<Payload, { kind: 'N' }>;
    const length = 8 + spi.length + data.length;
    const next = i + 1 < all.length ? 41 : 0;
    return [Uint8Array.of(next, 0, length >> 8, length & 0xff, protocol, spi.length, notify >> 8, notify & 0xff), spi, data];
  });
  const payloads = concat(...body);
  const exchange = random.pick([34, 35, 36, 37, 37, 38, 43]);
  const head = Uint8Array.of(41, 0x20, exchange, random.pick([0x00, 0x08, 0x20, 0x28]), 0, 0, 0, random.between(0, 4));
  const length = 28 + payloads.length;
  return concat(spiI!, spiR!, head, Uint8Array.of(0, 0, length >> 8, length & 0xff), payloads);
}
