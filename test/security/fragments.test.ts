import { describe, expect, test } from 'vitest';
import { ExchangeType, type IkeHeader } from '../../src/core/wire/index.ts';
import { connection, End, LIMITS, settle } from '../core/ike/two-ends.ts';
import { parsed, tell } from './support/hand-made.ts';
import { heldOctets, leftBehind } from './support/heap.ts';
import { establishedSas, establishedTrio, sober, type Trio, toRest, trio } from './support/life.ts';
import { Meddler } from './support/meddler.ts';

/**
 * Cisco CVE-2016-1287: arithmetic with fragment numbers and lengths that wrote beyond a buffer. Every game with Fragment Number, Total
 * Fragments and lengths (RFC 7383 §2.5, §2.6), under valid keys, with a ceiling on what an endpoint keeps of it.
 */
const FRAGMENTS = { left: { fragmentation: 'yes' }, right: { fragmentation: 'yes' } } as const;

const world = (): Trio => establishedTrio(FRAGMENTS);

function header({ left }: Trio, messageId = 2, exchange: number = ExchangeType.INFORMATIONAL): IkeHeader {
  const { spiI, spiR } = establishedSas(left)[0]!;
  return { spiI, spiR, majorVersion: 2, minorVersion: 0, exchange, messageId, flags: { initiator: true, response: false, version: false } };
}

/** One fragment of a request of left's. */
const piece = (trio: Trio, number: number, total: number, inside: Uint8Array = new Uint8Array(0), first = 0, messageId = 2): Uint8Array =>
  trio.meddler.sealRaw(header(trio, messageId), first, inside, { number, total });

const standing = ({ right }: Trio): readonly string[] => establishedSas(right).map(({ state }) => state);

describe('CVE-2016-1287: numbers', () => {
  test.each([
    [0, 0],
    [0, 1],
    [1, 0],
    [2, 1],
    [3, 2],
    [65_535, 1],
    [65_535, 65_534],
    [0, 65_535],
  ])('fragment %i of %i does not exist: dropped, nothing is kept', (number, total) => {
    const trio = world();
    expect(tell(trio.right, piece(trio, number, total))).toEqual([]);
    expect(standing(trio)).toEqual(['established']);
    expectAnswers(trio);
  });

  test.each([
    [1, 65_535],
    [65_535, 65_535],
    [256, 256],
  ])('fragment %i of %i: more than anybody needs is not waited for', (number, total) => {
    let trio = world();
    const left = leftBehind(() => {
      trio = world();
      const pieces = Array.from({ length: 2000 }, (_, i) => piece(trio, Math.max(1, number - i), total, new Uint8Array(1200)));
      for (let i = 0; i < 20; i++) tell(trio.right, piece(trio, 1, 2));
      forget(trio.right);
      return () => {
        for (const data of pieces) tell(trio.right, data);
        forget(trio.right);
      };
    }, MEBIBYTE);
    // kept, they would be 2.3 MiB; the rest of the process breathes by some hundred KiB
    expect(left).toBeLessThan(MEBIBYTE);
    expectAnswers(trio);
  });

  test('an empty fragment, and one alone that holds an empty chain: an empty request', () => {
    const trio = world();
    expect(tell(trio.right, piece(trio, 1, 1))).toHaveLength(1);
    expect(standing(trio)).toEqual(['established']);
  });

  test('the total changes with every fragment, up and down: never a message of mixed ones', () => {
    const trio = world();
    // together they would be a Delete of the IKE SA
    const { first, octets } = Meddler.chain([{ type: DELETE, body: Uint8Array.of(1, 0, 0, 0) }]);
    const halves = [octets.subarray(0, 4), octets.subarray(4)] as const;
    for (const [totalA, totalB] of [
      [2, 3],
      [3, 4],
      [2, 255],
    ] as const) {
      expect(tell(trio.right, piece(trio, 1, totalA, halves[0], first))).toEqual([]);
      expect(tell(trio.right, piece(trio, 2, totalB, halves[1]))).toEqual([]);
      expect(standing(trio)).toEqual(['established']);
    }
    expectAnswers(trio);
  });

  test('fragments of two messages are not mixed', () => {
    const trio = world();
    const { first, octets } = Meddler.chain([{ type: DELETE, body: Uint8Array.of(1, 0, 0, 0) }]);
    expect(tell(trio.right, piece(trio, 1, 2, octets.subarray(0, 4), first, 2))).toEqual([]);
    expect(tell(trio.right, piece(trio, 2, 2, octets.subarray(4), 0, 3))).toEqual([]);
    expect(standing(trio)).toEqual(['established']);
    expectAnswers(trio);
  });

  test('the first content counts: a second fragment of the same number changes nothing', () => {
    const trio = world();
    const { first, octets } = Meddler.chain([{ type: DELETE, body: Uint8Array.of(1, 0, 0, 0) }]);
    expect(tell(trio.right, piece(trio, 1, 2, new Uint8Array(0), 0))).toEqual([]);
    expect(tell(trio.right, piece(trio, 1, 2, octets, first))).toEqual([]);
    expect(tell(trio.right, piece(trio, 2, 2))).toHaveLength(1);
    expect(standing(trio)).toEqual(['established']);
  });

  test('Payload Length and Length that lie by one and by much: dropped by the parser or by the ICV', () => {
    const trio = world();
    const good = piece(trio, 1, 1, new Uint8Array(8));
    for (const at of [24, 30]) {
      for (const by of [-0x8000, -1000, -8, -1, 1, 8, 1000, 0x7fff]) {
        const bad = good.slice();
        const view = new DataView(bad.buffer);
        if (at === 24) view.setUint32(24, (view.getUint32(24) + by) >>> 0);
        else view.setUint16(30, (view.getUint16(30) + by) & 0xffff);
        expect(tell(trio.right, bad)).toEqual([]);
      }
    }
    for (let length = 28; length < good.length; length++) expect(tell(trio.right, good.slice(0, length))).toEqual([]);
    expect(standing(trio)).toEqual(['established']);
    expectAnswers(trio);
  });

  test('an Encrypted payload inside fragments is not taken for one that cannot be judged', () => {
    const trio = world();
    const { first, octets } = Meddler.chain([
      { type: DELETE, body: Uint8Array.of(3, 4, 0, 0) },
      { type: 46, body: new Uint8Array(40) },
    ]);
    const [answer] = tell(trio.right, piece(trio, 1, 1, octets, first));
    expect(trio.meddler.open(answer!)!.payloads).toMatchObject([{ kind: 'N', notify: 7 }]);
  });
});

describe('CVE-2016-1287: memory', () => {
  test.each([100, 1000, 60_000])(
    'an authenticated peer that never finishes, with pieces of %i octets: no more than a message is kept',
    (octets) => {
      let trio = world();
      const left = leftBehind(() => {
        trio = world();
        for (let i = 0; i < 20; i++) tell(trio.right, piece(trio, 1, 2));
        forget(trio.right);
        return () => {
          for (let number = 1; number < 255; number++) {
            tell(trio.right, piece(trio, number, 255, new Uint8Array(octets)));
            forget(trio.right);
          }
        };
      }, MEBIBYTE / 2);
      expect(left).toBeLessThan(MEBIBYTE / 2);
      expect(standing(trio)).toEqual(['established']);
    },
  );

  test('strangers that never finish their IKE_AUTH: no more than the limits of half-open IKE SAs times a message, and nothing after their time', () => {
    const peaks: number[] = [];
    let right: End;
    const left = leftBehind(() => {
      right = sober(
        new End({
          connections: [connection('right', { ...FRAGMENTS.right, remoteAddresses: ['%any'] })],
          limits: { ...LIMITS, cookieThreshold: 1000, halfOpen: 64 },
          logKeys: true,
        }),
      );
      const before = heldOctets();
      return () => {
        for (let stranger = 0; stranger < 200; stranger++) neverFinish(right, stranger);
        expect(right.endpoint.info()).toHaveLength(64);
        peaks.push(heldOctets() - before);
        toRest(right);
        right.notices.length = 0;
        expect(right.endpoint.info()).toEqual([]);
      };
    }, MEBIBYTE);
    expect(Math.min(...peaks)).toBeLessThan(64 * 65_536 + 2 * MEBIBYTE);
    expect(left).toBeLessThan(MEBIBYTE);
  });

  test('fragments that nobody sealed are not kept at all', () => {
    let trio = world();
    const left = leftBehind(() => {
      trio = world();
      const good = piece(trio, 1, 200, new Uint8Array(1000));
      return () => {
        for (let i = 0; i < 3000; i++) {
          tell(
            trio.right,
            good
              .with(40, i & 0xff)
              .with(41, i >> 8)
              .with(35, 1 + (i % 200)),
          );
          trio.right.notices.length = 0;
        }
      };
    }, MEBIBYTE);
    expect(left).toBeLessThan(MEBIBYTE);
    expectAnswers(trio);
  });
});

/** A stranger with an address and a key of its own, who sends all fragments of its IKE_AUTH but the last. */
function neverFinish(right: End, stranger: number): void {
  const address = { ip: `198.51.100.${stranger}`, port: 500 };
  const { left } = trio({ seed: `stranger ${stranger}`, ...FRAGMENTS });
  const meddler = new Meddler(left, right);
  left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
  const [init] = left.drain(0);
  const [answer] = tell(right, init!.data, 0, address);
  if (answer !== undefined) {
    const { spiI, spiR } = parsed([answer])[0]!.header;
    const auth: IkeHeader = {
      spiI,
      spiR,
      majorVersion: 2,
      minorVersion: 0,
      exchange: ExchangeType.IKE_AUTH,
      messageId: 1,
      flags: INITIATOR,
    };
    for (let number = 1; number < 60; number++)
      tell(right, meddler.sealRaw(auth, 0, new Uint8Array(1000), { number, total: 60 }), 0, address);
  }
  forget(right);
}

/** What the test itself keeps of an end. */
function forget(end: End): void {
  end.notices.splice(0, end.notices.length, ...end.has('ike-keys'));
  end.sent.length = 0;
}

/** The IKE SA goes on as if nothing had been. */
function expectAnswers({ left, right }: Trio): void {
  const sa = establishedSas(left)[0]!;
  left.endpoint.command({ kind: 'rekey-child', child: sa.children[0]!.id }, 0);
  settle(left, right);
  expect(left.has('child-rekeyed')).toHaveLength(1);
  expect(right.has('child-rekeyed')).toHaveLength(1);
}

const DELETE = 42;
const MEBIBYTE = 1 << 20;
const INITIATOR = { initiator: true, response: false, version: false };
