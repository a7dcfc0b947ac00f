import { describe, expect, test } from 'vitest';
import { Writer } from '../../src/core/bytes/index.ts';
import { ExchangeType, nameOf, type Payload, typeOf, writePayloads } from '../../src/core/wire/index.ts';
import type { End } from '../core/ike/two-ends.ts';
import { type Filter, LIFE, live, type Trio, toRest, trio } from './support/life.ts';
import { nameOfPayload } from './support/meddler.ts';

/**
 * libreswan CVE-2013-6467, CVE-2015-3204, CVE-2016-3071, CVE-2022-23094, CVE-2023-23009, CVE-2023-38710, CVE-2024-3652: payloads that were
 * counted on and did not come, or came twice. Each payload of each message of a whole life is left out, doubled, emptied, cut and swapped,
 * after decryption and with valid keys, so that the ICV holds and the exchange itself has to notice.
 */
interface Place {
  readonly message: number;
  readonly payload: number;
  readonly title: string;
  readonly kind: Payload['kind'];
  readonly exchange: number;
  readonly response: boolean;
}

const CHANGES: Readonly<Record<string, (payloads: readonly Payload[], at: number) => readonly Payload[]>> = {
  'left out': (payloads, at) => payloads.filter((_, i) => i !== at),
  'comes twice': (payloads, at) => payloads.flatMap((payload, i) => (i === at ? [payload, payload] : [payload])),
  emptied: (payloads, at) => payloads.map((payload, i) => (i === at ? emptied(payload) : payload)),
  'cut by an octet': (payloads, at) => payloads.map((payload, i) => (i === at ? cut(payload) : payload)),
  'first of all': (payloads, at) => [payloads[at]!, ...payloads.filter((_, i) => i !== at)],
};

const places = survey();

describe.each(Object.entries(CHANGES))('every payload of every message, %s', (change, edit) => {
  test.each(places.map((place) => [place.title, place] as const))('%s', (_title, place) => {
    const world = trio();
    const meddling = new Meddling(world, place, edit);
    live(world, meddling.filter, () => meddling.done);
    expect(meddling.done).toBe(true);
    expectSound(world, change !== 'cut by an octet');
    if (!isNeeded(place) || (change !== 'left out' && change !== 'comes twice')) return;
    // What cannot be done without was not there, or nobody knows which of two counts: this exchange makes nothing at the end that heard it.
    const receiver = hearsIt(place, world);
    expect(made(receiver)).toBe(meddling.before.get(receiver));
  });
});

test('the survey sees every exchange of a whole life, both ways', () => {
  const seen = new Set(places.map(({ exchange, response }) => `${nameOf(ExchangeType, exchange)} ${response ? 'response' : 'request'}`));
  expect([...seen].sort()).toEqual(
    ['CREATE_CHILD_SA', 'IKE_AUTH', 'IKE_SA_INIT', 'INFORMATIONAL'].flatMap((name) => [`${name} request`, `${name} response`]),
  );
  expect(places.length).toBeGreaterThan(50);
  expect(LIFE.length).toBeGreaterThan(5);
});

/** Payloads without which, or with two of which, no exchange that defines them can succeed (RFC 7296 §1.2, §1.3). */
const isNeeded = ({ kind, response }: Place): boolean => NEEDED.has(kind) || (kind === 'IDr' && response);
const NEEDED: ReadonlySet<Payload['kind']> = new Set(['SA', 'KE', 'Nonce', 'IDi', 'AUTH', 'TSi', 'TSr']);

function survey(): Place[] {
  const world = trio();
  const found: Place[] = [];
  let message = 0;
  live(world, (datagram) => {
    const opened = world.meddler.open(datagram.data)!;
    const { exchange, flags } = opened.message.header;
    opened.payloads.forEach((payload, i) => {
      const title = `${message}: ${nameOf(ExchangeType, exchange)} ${flags.response ? 'response' : 'request'}, ${nameOfPayload(payload)} (${i})`;
      found.push({ message, payload: i, title, kind: payload.kind, exchange, response: flags.response });
    });
    message++;
    return datagram;
  });
  return found;
}

/** Changes one payload of the n-th message. What follows belongs to the repair and is none of this test's business: it is lost. */
class Meddling {
  /** What each end had made when the message came. */
  readonly before = new Map<End, number>();
  done = false;
  readonly filter: Filter;

  constructor({ left, right, meddler }: Trio, place: Place, edit: (payloads: readonly Payload[], at: number) => readonly Payload[]) {
    let message = 0;
    this.filter = (datagram) => {
      if (this.done) return undefined;
      if (message++ !== place.message) return datagram;
      this.done = true;
      for (const end of [left, right]) this.before.set(end, made(end));
      return meddler.rewrite(datagram, (payloads) => edit(payloads, place.payload));
    };
  }
}

/** Keys that were derived and SAs that came into being, from first to last. */
const made = (end: End): number => MADE.reduce((sum, kind) => sum + end.has(kind).length, 0);

const hearsIt = ({ message }: Place, world: Trio): End => (senders()[message] === 'left' ? world.right : world.left);

let known: ('left' | 'right')[] | undefined;

function senders(): ('left' | 'right')[] {
  if (known) return known;
  const world = trio();
  const list: ('left' | 'right')[] = [];
  live(world, (datagram, from) => {
    list.push(from === world.left ? 'left' : 'right');
    return datagram;
  });
  known = list;
  return list;
}

/** Nobody fell, nobody is left waiting, and where both ends have a child in their data planes its keys are the same ones. */
function expectSound({ left, right }: Trio, sameKeys: boolean): void {
  // an authentic Nonce that is shorter at one end than at the other makes other keys, rightly
  if (sameKeys) expectSameKeys(left, right);
  toRest(left);
  toRest(right);
}

function expectSameKeys(left: End, right: End): void {
  for (const child of left.children.values()) {
    const twin = [...right.children.values()].find(({ inbound }) => inbound.spi === child.outbound.spi);
    if (twin === undefined) continue;
    expect(twin.outbound.spi).toBe(child.inbound.spi);
    expect(twin.inbound.encryptionKey).toEqual(child.outbound.encryptionKey);
    expect(twin.outbound.encryptionKey).toEqual(child.inbound.encryptionKey);
  }
}

/** The octets of a payload, whatever they mean, under its type number. */
function raw(payload: Payload): { readonly kind: 'unknown'; readonly type: number; readonly data: Uint8Array } {
  const writer = new Writer();
  writePayloads(writer, [payload]);
  return { kind: 'unknown', type: typeOf(payload), data: writer.finish().slice(4) };
}

const emptied = (payload: Payload): Payload => ({ ...raw(payload), data: new Uint8Array(0) });
const cut = (payload: Payload): Payload => ({ ...raw(payload), data: raw(payload).data.slice(0, -1) });

const MADE = ['ike-keys', 'ike-up', 'ike-rekeyed', 'child-up'] as const;
