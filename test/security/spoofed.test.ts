import { describe, expect, test } from 'vitest';
import { ExchangeType, NotifyType, type Payload, writeMessage } from '../../src/core/wire/index.ts';
import { type End, settle } from '../core/ike/two-ends.ts';
import { LEFT, parsed, RIGHT } from './support/hand-made.ts';
import { establishedSas, establishedTrio, type Trio, toRest, trio } from './support/life.ts';

/**
 * libreswan CVE-2019-10155, CVE-2019-12312, CVE-2020-1763: notifies that nobody had authenticated were acted on. Whatever stands in clear, and
 * from whatever address, with the right SPIs and the right Message IDs: no IKE SA that lives ends by it (RFC 7296 §2.21.4, §2.4).
 */
const KNOWN = Object.values(NotifyType);
const OTHERS = [0, 2, 3, 13, 50, 8191, 8192, 16_383, 40_959, 40_960, 65_535];
const EXCHANGES = [ExchangeType.IKE_SA_INIT, ExchangeType.IKE_AUTH, ExchangeType.CREATE_CHILD_SA, ExchangeType.INFORMATIONAL, 43, 44, 200];
const SOURCES = [LEFT, RIGHT, { ip: '203.0.113.66', port: 4500 }];

const notify = (type: number): Payload => ({ kind: 'N', notify: type, protocol: 0, spi: new Uint8Array(0), data: new Uint8Array(0) });
const aboutChild = (type: number, spi: number): Payload => ({
  kind: 'N',
  notify: type,
  protocol: 3,
  spi: Uint8Array.of(spi >>> 24, spi >>> 16, spi >>> 8, spi),
  data: new Uint8Array(4),
});

/** Everything a stranger who has seen the SPIs could say to one end. */
function* lies({ left, right }: Trio, victim: End): Generator<Uint8Array> {
  const { spiI, spiR } = victim.endpoint.info()[0]!;
  const children = [...left.children.values()].flatMap(({ inbound, outbound }) => [inbound.spi, outbound.spi]);
  const payloads = [
    ...[...KNOWN, ...OTHERS].map((type) => [notify(type)]),
    ...children.flatMap((spi) =>
      [NotifyType.INVALID_SPI, NotifyType.CHILD_SA_NOT_FOUND, NotifyType.REKEY_SA].map((type) => [aboutChild(type, spi)]),
    ),
    ...children.map((spi) => [{ kind: 'D', protocol: 3, spis: [Uint8Array.of(spi >>> 24, spi >>> 16, spi >>> 8, spi)] } as const]),
    [{ kind: 'D', protocol: 1, spis: [] } as const],
    [],
  ];
  // whose SA it is: flag I is that of whom the liar poses as
  const initiator = victim === right;
  for (const exchange of EXCHANGES) {
    for (const response of [false, true]) {
      for (const messageId of [0, 1, 2, 3]) {
        const header = {
          spiI,
          spiR,
          majorVersion: 2,
          minorVersion: 0,
          exchange,
          messageId,
          flags: { initiator, response, version: false },
        };
        for (const list of payloads) yield writeMessage(header, list);
      }
    }
  }
}

function tellAll(world: Trio, victim: End, now = 0): number {
  let answers = 0;
  let count = 0;
  for (const data of lies(world, victim)) {
    const remote = SOURCES[count++ % SOURCES.length]!;
    victim.endpoint.receive({ local: victim === world.right ? RIGHT : LEFT, remote, data, encap: false }, now);
    answers += victim.drain(now).length;
    victim.notices.length = 0;
  }
  expect(count).toBeGreaterThan(3000);
  return answers;
}

const living = (end: End) => establishedSas(end).find(({ state }) => state === 'established')!;

/** What lives, without what only waits for its end. */
const shapeOf = (end: End) =>
  establishedSas(end)
    .filter(({ state }) => state === 'established')
    .map(({ children }) => children.filter(({ state }) => state === 'installed').length);

/** The SA is not just listed: both kinds of rekeying work, so both ends still agree on keys and Message IDs. */
function expectAlive(world: Trio, now: number): void {
  const { left, right } = world;
  settle(left, right, now);
  for (const end of [left, right]) {
    expect(shapeOf(end)).toEqual([1]);
    end.endpoint.command({ kind: 'rekey-child', child: living(end).children.find(({ state }) => state === 'installed')!.id }, now);
    settle(left, right, now);
    end.endpoint.command({ kind: 'rekey-ike', ikeSa: living(end).id }, now);
    settle(left, right, now);
    for (const each of [left, right]) expect(shapeOf(each)).toEqual([1]);
  }
}

describe.each(['left', 'right'] as const)('clear messages of every kind, to the %s end', (side) => {
  test('while nothing else happens: at most a question whether the peer lives', () => {
    const world = establishedTrio();
    const probes = tellAll(world, world[side]);
    // copies of what was answered before (RFC 7296 §2.1) do not come, since what is clear is no copy; one liveness check may
    expect(probes).toBeLessThanOrEqual(1);
    expectAlive(world, 0);
  });

  test.each(['rekey-child', 'rekey-ike', 'check-liveness'] as const)('while it waits for the answer to %s', (kind) => {
    const world = establishedTrio();
    const end = world[side];
    const sa = establishedSas(end)[0]!;
    end.endpoint.command(kind === 'rekey-child' ? { kind, child: sa.children[0]!.id } : { kind, ikeSa: sa.id }, 0);
    const [asked] = end.drain(0);
    tellAll(world, end);
    const other = side === 'left' ? world.right : world.left;
    other.endpoint.receive({ local: asked!.remote, remote: asked!.local, data: asked!.data, encap: asked!.encap }, 0);
    expectAlive(world, 0);
  });
});

test('CVE-2019-12312: an initiator that waits for the answer to IKE_AUTH is not talked out of it in clear', () => {
  const world = trio();
  let held: Uint8Array | undefined;
  world.left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
  settle(world.left, world.right, 0, (datagram, from) => {
    if (from !== world.right || parsed([datagram.data])[0]!.header.exchange !== ExchangeType.IKE_AUTH) return datagram;
    held = datagram.data.slice();
    return undefined;
  });
  expect(world.left.endpoint.info().map(({ state }) => state)).toEqual(['authenticating']);
  tellAll(world, world.left);
  world.left.endpoint.receive({ local: LEFT, remote: RIGHT, data: held!, encap: false }, 0);
  expectAlive(world, 0);
});

test('CVE-2020-1763: INFORMATIONAL in clear, for an SA that is not there and for none, before and after anybody is', () => {
  for (const make of [trio, establishedTrio]) {
    const world = make();
    for (const spis of [new Uint8Array(16), new Uint8Array(16).fill(1)]) {
      for (const flags of [0x00, 0x08, 0x20, 0x28]) {
        for (const type of KNOWN) {
          const notified = Uint8Array.of(0, 0, 0, 8, 0, 0, type >> 8, type & 0xff);
          const message = Uint8Array.from([...spis, 41, 0x20, 37, flags, 0, 0, 0, 0, 0, 0, 0, 36, ...notified]);
          world.right.endpoint.receive({ local: RIGHT, remote: LEFT, data: message, encap: false }, 0);
          expect(world.right.drain(0)).toEqual([]);
        }
      }
    }
    expect(world.right.endpoint.info().length).toBe(make === trio ? 0 : 1);
    if (make === trio) toRest(world.right);
  }
});
