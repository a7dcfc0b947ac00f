import { expect, test } from 'vitest';
import { highestRate } from '../bench/planes/rate-search.ts';
import { rowsOf, type Sample, tableOf } from '../bench/planes/report.ts';
import { planesSvg } from '../bench/planes/svg.ts';

test.each([150, 900, 20_000, 68_000, 1_900_000])(
  'the search finds a limit of %i a second to 6 %, from wherever it begins',
  async (limit) => {
    for (const first of [20_000, limit * 0.7]) {
      const found = await highestRate(first, async (rate) => rate <= limit);
      expect(found).toBeLessThanOrEqual(limit);
      expect(found).toBeGreaterThanOrEqual(limit / 1.061);
    }
  },
);

test('the search forgives one hiccup at each rate, and ends where nothing passes', async () => {
  const asked = new Map<number, number>();
  const found = await highestRate(20_000, async (rate) => {
    asked.set(rate, (asked.get(rate) ?? 0) + 1);
    return rate <= 50_000 && asked.get(rate)! > 1;
  });
  expect(found).toBeGreaterThan(47_000);
  expect(await highestRate(20_000, async () => false)).toBe(0);
});

const sample = (changed: Partial<Sample>): Sample => ({
  path: 'strongswan',
  load: 'tcp',
  offloads: 'on',
  direction: 'forward',
  streams: 1,
  gbps: 0.5,
  kpps: 45,
  cpuNsPerPacket: 9000,
  retransmits: 100,
  senderLimits: false,
  ...changed,
});

test('a row is the median of its runs, and says nothing of a daemon or of segments that there are not', () => {
  const runs = [0.5, 0.9, 0.4].map((gbps) => sample({ gbps, cpuNsPerPacket: gbps * 1000, retransmits: gbps * 10 }));
  const plain = sample({ path: 'plain', load: 'udp64', cpuNsPerPacket: null, retransmits: null });
  expect(rowsOf([...runs, plain])).toEqual([
    {
      path: 'strongswan',
      load: 'tcp',
      offloads: 'on',
      direction: 'forward',
      streams: 1,
      gbps: 0.5,
      kpps: 45,
      cpuNsPerPacket: 500,
      retransmits: 5,
    },
    {
      path: 'plain',
      load: 'udp64',
      offloads: 'on',
      direction: 'forward',
      streams: 1,
      gbps: 0.5,
      kpps: 45,
      cpuNsPerPacket: null,
      retransmits: null,
    },
  ]);
  expect(tableOf([...runs, plain]).map(({ subject, unit, value }) => [subject, unit, value])).toEqual([
    ['strongswan', 'Gbit/s', 0.5],
    ['plain', 'kpps', 45],
    ['strongswan', 'ns/packet', 500],
    ['strongswan', 'segments', 5],
  ]);
});

test('the plot keeps everything inside of it, however far the ceiling is', () => {
  const rows = rowsOf([
    sample({}),
    sample({ path: 'plain', gbps: 30 }),
    sample({ path: 'plain', gbps: 0.2, direction: 'reverse' }),
    sample({ load: 'udp64', path: 'plain', kpps: 2 }),
  ]);
  const checks = { replay: 'on', counters: 'on', selectors: 'on' } as const;
  const svg = planesSvg({ commit: 'a<b', node: 'v20', mtu: 1500, checks, rows });
  const width = Number(/viewBox="0 0 (\d+)/.exec(svg)?.[1]);
  const starts = [...svg.matchAll(/<g transform="translate\((\d+) /g)].map((match) => Number(match[1]));
  const reached = [...svg.matchAll(/<text x="([\d.]+)"|H([\d.]+)/g)].map((match) => Number(match[1] ?? match[2]));
  expect(Math.max(...starts) + Math.max(...reached)).toBeLessThan(width - 30);
  expect(svg).not.toMatch(/NaN|Infinity|undefined|a<b/);
  expect(svg.match(/<g /g)).toHaveLength(2);
});
