import { expect, test } from 'vitest';
import type { ChildSaSpec } from '../../../src/core/ike/effects.ts';
import { IpView } from '../../../src/core/packet/index.ts';
import type { ChildEntry } from '../../../src/host/dataplane/child-entry.ts';
import { OutboundTable } from '../../../src/host/dataplane/outbound-table.ts';
import { ChildSelectors, PortView } from '../../../src/host/dataplane/selectors.ts';
import { forSeeds, type Gen } from '../../support/gen.ts';
import { childPair, espPair } from '../support/esp-pair.ts';
import { packet, selector } from '../support/packets.ts';

test('selectors that are kept as plain numbers take what they take as any others', () => {
  const taken = { yes: 0, no: 0 };
  forSeeds(400, (gen) => {
    const [local, remote] = [gen.many(1, gen.oneIn(4) ? 2 : 1, () => range(gen)), [range(gen)]].map((texts) => texts.map(selector));
    const plain = new ChildSelectors(local!, remote!);
    const compiled = new ChildSelectors(local!, remote!, false);
    expect([plain.remoteHosts, plain.breadth, plain.looksAtPorts]).toEqual([compiled.remoteHosts, compiled.breadth, compiled.looksAtPorts]);
    for (let i = 0; i < 20; i++) {
      const { view, ports } = viewOf(gen);
      const fits = compiled.fitsOutbound(view, ports);
      taken[fits ? 'yes' : 'no']++;
      expect([plain.fitsOutbound(view, ports), plain.fitsInbound(view, ports)]).toEqual([fits, compiled.fitsInbound(view, ports)]);
    }
  });
  expect(Math.min(taken.yes, taken.no)).toBeGreaterThan(200);
});

test('an address that one SA leads to, or several, finds what a search through all would, whatever comes and goes', () => {
  const found = { some: 0, none: 0 };
  forSeeds(100, (gen) => {
    const table = new OutboundTable<Entry>();
    const all: Entry[] = [];
    for (let told = 1; told <= 60; told++) {
      if (all.length > 0 && gen.oneIn(3)) table.remove(all.splice(gen.int(0, all.length - 1), 1)[0]!);
      else {
        const entry = {
          told,
          selectors: new ChildSelectors(
            [selector('0.0.0.0/0')],
            gen.many(1, 2, () => selector(range(gen))),
          ),
        };
        for (let times = gen.int(1, 2); times > 0; times--) table.add(entry);
        all.push(entry);
      }
      const { view, ports } = viewOf(gen);
      const expected = best(all.filter(({ selectors }) => selectors.fitsOutbound(view, ports)));
      found[expected === undefined ? 'none' : 'some']++;
      expect(table.find(view, ports)?.told).toBe(expected?.told);
    }
  });
  expect(Math.min(found.some, found.none)).toBeGreaterThan(200);
});

test('limits are reached with the packet that reaches them, though most packets are not held against them', () => {
  const reached: (string | undefined)[] = [];
  forSeeds(150, (gen) => {
    const limit = (most: number): number => (gen.oneIn(3) ? 0 : gen.int(1, most));
    const limits = { softBytes: limit(4e6), hardBytes: limit(6e6), softPackets: limit(300), hardPackets: limit(500) };
    const entry = espPair().a.plane.install(childPair({ more: { limits } }).a);
    const expected = plainly(limits);
    for (let i = 0; i < 300; i++) {
      const sa = gen.oneIn(2) ? entry.inbound : entry.outbound;
      const [count, length] = [gen.int(1, 5), gen.int(0, 65_535)];
      if (sa === entry.outbound && !entry.expired) {
        const near = entry.nearsLimit(count * length, count);
        expect(near).toBe(expected.near(sa, count * length, count));
        // a burst is not looked at again
        if (!near) pass(sa, count, count * length);
      }
      pass(sa, 1, length);
      const limit = entry.reachedLimit(sa);
      expect(limit).toBe(expected.reached(sa));
      reached.push(limit);
    }
  });
  expect(['soft', 'hard'].map((limit) => reached.filter((one) => one === limit).length > 50)).toEqual([true, true]);
});

test('SPIs from one end of 32 bits to the other, and what is too short to have one', () => {
  const pair = espPair();
  const spis = [0x100, 0x7fffffff, 0x80000000, 0xffffffff];
  spis.forEach((spi, i) => {
    const { a, b } = childPair({ id: i + 1, remoteTs: [`10.0.0.${i}/32`] });
    pair.a.plane.install({ ...a, outbound: { ...a.outbound, spi } });
    pair.b.plane.install({ ...b, inbound: { ...b.inbound, spi } });
    pair.a.plane.send(packet('10.1.0.1', `10.0.0.${i}`));
    expect(pair.b.delivered).toHaveLength(i + 1);
  });
  const short = pair.b.plane.receive(Uint8Array.of(0xff, 0xff, 0xff), '198.51.100.2', 4500);
  expect([short, pair.b.plane.drops()['unknown SPI']]).toEqual([false, 1]);
  for (let i = 1; i <= spis.length; i++) pair.b.plane.remove(i);
  pair.a.plane.send(packet('10.1.0.1', '10.0.0.3'));
  expect([pair.b.delivered.length, pair.b.plane.drops()['unknown SPI']]).toEqual([spis.length, 2]);
});

interface Entry {
  readonly selectors: ChildSelectors;
  readonly told: number;
}

/** RFC 4301 §5.1: single addresses before networks, then narrow before broad, then the one told last. */
function best(entries: readonly Entry[]): Entry | undefined {
  const rank = ({ selectors }: Entry): number => (selectors.remoteHosts === undefined ? 1e9 : 0) + selectors.breadth;
  return [...entries].sort((a, b) => rank(a) - rank(b) || b.told - a.told)[0];
}

type Sa = ChildEntry['inbound' | 'outbound'];

function pass(sa: Sa, packets: number, bytes: number): void {
  sa.packets += packets;
  sa.bytes += bytes;
}

/** What `ChildEntry` says of limits, each packet held against all of them. */
function plainly(limits: ChildSaSpec['limits']): {
  near(sa: Sa, bytes: number, packets: number): boolean;
  reached(sa: Sa): string | undefined;
} {
  let next: 'soft' | 'hard' | undefined = 'soft';
  const isAt = (kind: 'soft' | 'hard', bytes: number, packets: number): boolean => {
    const [mostBytes, mostPackets] = kind === 'soft' ? [limits.softBytes, limits.softPackets] : [limits.hardBytes, limits.hardPackets];
    return (mostBytes > 0 && bytes >= mostBytes) || (mostPackets > 0 && packets >= mostPackets);
  };
  return {
    near: (sa, bytes, packets) =>
      (['soft', 'hard'] as const).some(
        (kind) => (kind === 'hard' || next === 'soft') && isAt(kind, sa.bytes + bytes, sa.packets + packets),
      ),
    reached(sa) {
      const kind = (['soft', 'hard'] as const).find(
        (kind) => (kind === 'soft' ? next === 'soft' : next !== undefined) && isAt(kind, sa.bytes, sa.packets),
      );
      if (kind !== undefined) next = kind === 'soft' ? 'hard' : undefined;
      return kind;
    },
  };
}

/** Few addresses, on either side of the sign and at both ends, so that much fits. */
const ADDRESSES = ['0.0.0.0', '10.0.0.1', '10.0.0.2', '127.255.255.255', '128.0.0.0', '192.168.0.1', '255.255.255.255'];

function range(gen: Gen): string {
  const of = gen.oneIn(3) ? '[17]' : gen.oneIn(6) ? '[17/7]' : '';
  if (gen.oneIn(8)) return `fd00::/${gen.pick(['64', '0', '128'])}${of}`;
  const [first = 0, last = 0] = [gen.int(0, ADDRESSES.length - 1), gen.int(0, ADDRESSES.length - 1)].sort((a, b) => a - b);
  return `${ADDRESSES[first]}-${ADDRESSES[gen.oneIn(3) ? last : first]}${of}`;
}

function viewOf(gen: Gen): { readonly view: IpView; readonly ports: PortView } {
  const protocol = gen.pick([6, 17]);
  const octets = gen.oneIn(8) ? packet('fd00::1', 'fd00::2', { protocol }) : packet(gen.pick(ADDRESSES), gen.pick(ADDRESSES), { protocol });
  const view = new IpView();
  if (!view.parse(octets)) throw new Error('not a packet');
  const ports = new PortView();
  ports.read(view);
  return { view, ports };
}
