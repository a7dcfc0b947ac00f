import type { PathName } from './contestant.ts';
import { type Load, loadTitle, type OnOff, type PlaneRow, type Report } from './report.ts';

/** A panel for each load, in it the paths as bars, once with and once without the offloads of the link. */
export function planesSvg(report: Report): string {
  const panels = panelsOf(report.rows);
  const height = Math.max(0, ...panels.map(heightOf));
  const lines = Math.ceil(panels.length / COLUMNS);
  const total = HEAD + lines * (height + GAP) + FOOT;
  const body = panels.map((panel, i) => {
    const [x, y] = [MARGIN + (i % COLUMNS) * (PANEL + GAP), HEAD + Math.floor(i / COLUMNS) * (height + GAP)];
    return `<g transform="translate(${x} ${y})">${drawn(panel, height)}</g>`;
  });
  const about = `commit ${report.commit} · Node ${report.node} · link MTU ${report.mtu} · ${checksShown(report.checks)}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${total}" width="${WIDTH}" height="${total}" font-family="${FONT}" font-size="13">
<title>Throughput of data planes</title>
<rect width="100%" height="100%" fill="${PAPER}"/>
${text(MARGIN, 40, 'What passes through the tunnel', `font-size="22" font-weight="600" fill="${INK}"`)}
${text(MARGIN, 64, about, `fill="${FAINT}"`)}
${body.join('\n')}
${text(MARGIN, total - 40, 'Bars: medians, the mean of both directions; the thin line spans from the one direction to the other. Plain: no tunnel at all,', SMALL)}
${text(MARGIN, total - 22, 'torn off where it leaves the scale. UDP: the highest rate at which 99 of 100 datagrams arrive. Both ends share one machine.', SMALL)}
</svg>
`;
}

/** `replay window, counters and selectors on`. */
function checksShown(checks: Report['checks']): string {
  const [on, off] = (['on', 'off'] as const).map((state) => CHECKS.filter(([name]) => checks[name] === state).map(([, title]) => title));
  return [on!.length === 0 ? '' : `${listed(on!)} on`, off!.length === 0 ? '' : `${listed(off!)} off`]
    .filter((part) => part !== '')
    .join(', ');
}

const listed = (words: readonly string[]): string =>
  [words.slice(0, -1).join(', '), words.at(-1)].filter((part) => part !== '').join(' and ');

interface Panel {
  readonly title: string;
  readonly unit: string;
  readonly groups: readonly { readonly offloads: OnOff; readonly bars: readonly Bar[] }[];
}

interface Bar {
  readonly path: PathName;
  readonly value: number;
  /** Least and most of the directions. */
  readonly span: readonly [number, number];
}

function panelsOf(rows: readonly PlaneRow[]): readonly Panel[] {
  const keys = [...new Set(rows.map(({ load, streams }) => `${load} ${streams}`))];
  return keys.map((key) => {
    const [load, streams] = [key.split(' ')[0] as Load, Number(key.split(' ')[1])];
    const here = rows.filter((row) => row.load === load && row.streams === streams);
    const groups = (['on', 'off'] as const).map((offloads) => ({
      offloads,
      bars: barsOf(here.filter((row) => row.offloads === offloads)),
    }));
    return {
      title: loadTitle(load, streams),
      unit: load === 'tcp' ? 'Gbit/s' : 'thousand packets/s',
      groups: groups.filter(({ bars }) => bars.length > 0),
    };
  });
}

function barsOf(rows: readonly PlaneRow[]): readonly Bar[] {
  return ORDER.flatMap((path) => {
    const values = rows.filter((row) => row.path === path).map(({ load, gbps, kpps }) => (load === 'tcp' ? gbps : kpps));
    if (values.length === 0) return [];
    const value = values.reduce((sum, each) => sum + each, 0) / values.length;
    return [{ path, value, span: [Math.min(...values), Math.max(...values)] }];
  });
}

function drawn({ title, unit, groups }: Panel, height: number): string {
  const tunnels = groups.flatMap(({ bars }) => bars.filter(({ path }) => path !== 'plain'));
  const scaled = tunnels.length > 0 ? tunnels : groups.flatMap(({ bars }) => bars);
  const most = Math.max(...scaled.map(({ span }) => span[1]), Number.MIN_VALUE);
  const ticks = ticksTo(most);
  const scale = BARS / (ticks.at(-1)! * 1.02);
  const parts = [
    `<rect width="${PANEL}" height="${height}" rx="10" fill="#fff" stroke="${RULE}"/>`,
    text(PAD, 30, title, `font-size="16" font-weight="600" fill="${INK}"`),
    text(PANEL - PAD, 30, unit, `text-anchor="end" fill="${FAINT}"`),
  ];
  const bottom = heightOf({ title, unit, groups }) - PAD - 14;
  for (const tick of ticks) {
    const x = LABELS + tick * scale;
    parts.push(
      `<path d="M${x} 46V${bottom}" stroke="${RULE}"/>`,
      text(x, bottom + 16, String(Number(tick.toPrecision(3))), `text-anchor="middle" ${SMALL}`),
    );
  }
  let y = 46;
  for (const { offloads, bars } of groups) {
    parts.push(text(PAD, y + 16, `offloads of the link ${offloads}`, `${SMALL} ${OVER_LINES}`));
    y += GROUP;
    for (const bar of bars) {
      parts.push(drawnBar(bar, y, scale));
      y += BAR + BETWEEN;
    }
  }
  return parts.join('');
}

function drawnBar({ path, value, span: [least, most] }: Bar, y: number, scale: number): string {
  const torn = value * scale > BARS;
  const end = LABELS + Math.min(value * scale, BARS);
  const middle = y + BAR / 2;
  const own = path === 'tunnelwright';
  const edge = torn ? `l-6 ${BAR / 4}l6 ${BAR / 4}l-6 ${BAR / 4}l6 ${BAR / 4}` : `v${BAR}`;
  const parts = [
    text(LABELS - 8, middle + 4.5, NAMES[path], `text-anchor="end" fill="${INK}"${own ? ' font-weight="600"' : ''}`),
    `<path d="M${LABELS} ${y}H${round(end)}${edge}H${LABELS}Z" fill="${COLOURS[path]}"/>`,
  ];
  const [from, to] = [least, most].map((each) => LABELS + Math.min(each * scale, BARS)) as [number, number];
  if (!torn && to - from > 2)
    parts.push(`<path d="M${round(from)} ${middle}H${round(to)}" stroke="${INK}" stroke-width="1.5" opacity=".65"/>`);
  const after = torn ? end : Math.max(end, to);
  parts.push(text(after + 7, middle + 4.5, shown(value), `fill="${INK}"${own ? ' font-weight="600"' : ''}`));
  return parts.join('');
}

/** Round steps from 0 to the first that is not below the most. */
function ticksTo(most: number): readonly number[] {
  const rough = most / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((each) => each >= rough)!;
  return Array.from({ length: Math.ceil(most / step - 1e-9) + 1 }, (_, i) => i * step);
}

const heightOf = ({ groups }: Panel): number =>
  46 + groups.reduce((sum, { bars }) => sum + GROUP + bars.length * (BAR + BETWEEN), 0) + PAD + 14;

const text = (x: number, y: number, content: string, attributes: string): string =>
  `<text x="${round(x)}" y="${round(y)}" ${attributes}>${content.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`)}</text>`;

const round = (value: number): number => Math.round(value * 10) / 10;
const shown = (value: number): string => value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);

const CHECKS = [
  ['replay', 'replay window'],
  ['counters', 'counters'],
  ['selectors', 'selectors'],
] as const;
const ORDER: readonly PathName[] = ['tunnelwright', 'strongswan', 'wireguard-go', 'plain'];
const NAMES: Readonly<Record<PathName, string>> = {
  tunnelwright: 'Tunnelwright',
  strongswan: 'strongSwan',
  'wireguard-go': 'wireguard-go',
  plain: 'no tunnel',
};
const COLOURS: Readonly<Record<PathName, string>> = {
  tunnelwright: '#0d7d74',
  strongswan: '#8ea6c8',
  'wireguard-go': '#c9a08c',
  plain: '#d9dbe0',
};
const [INK, FAINT, RULE, PAPER] = ['#1f2933', '#6b7785', '#e6e8ec', '#f7f8fa'];
const FONT = 'system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif';
const SMALL = `font-size="12" fill="${FAINT}"`;
/** Letters with a seam of their own ground. */
const OVER_LINES = 'paint-order="stroke" stroke="#fff" stroke-width="5"';
const COLUMNS = 2;
const [MARGIN, GAP, PANEL, PAD, HEAD, FOOT] = [32, 20, 470, 18, 88, 52];
const WIDTH = MARGIN * 2 + COLUMNS * PANEL + (COLUMNS - 1) * GAP;
const LABELS = 116;
/** Room for the number behind the longest. */
const BARS = PANEL - LABELS - PAD - 46;
const [BAR, BETWEEN, GROUP] = [17, 6, 28];
