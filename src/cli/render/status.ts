import type { PeerStatus, StatusDocument } from '../../product/control/documents.ts';
import type { Paint } from '../context.ts';
import { planeLine } from './steps.ts';
import { table, truncate, width, withoutEmpty } from './text.ts';
import { formatAge, formatBytesShort, formatCount, formatLatency } from './units.ts';

/** One line for each peer; under load, what is done about it. */
export function renderStatus(documents: readonly StatusDocument[], paint: Paint, columns: number): string {
  const several = documents.length > 1;
  const lines: string[] = [];
  for (const document of documents) {
    const now = Date.parse(document.at);
    if (several) lines.push(paint.bold(`${document.name}:`));
    const indent = several ? '  ' : '';
    if (document.peers.length === 0) lines.push(`${indent}${nobody(document)}`);
    else lines.push(...peerLines(document, now, paint, columns - indent.length).map((line) => indent + line));
    lines.push(...planeLines(document).map((line) => indent + truncate(line, columns - indent.length)));
    lines.push(...loadLines(document.load).map((line) => indent + paint.yellow(truncate(line, columns - indent.length))));
  }
  return `${lines.join('\n')}\n`;
}

/** Quiet where nothing better was wanted. */
function planeLines({ plane, planeChoice }: StatusDocument): string[] {
  return planeChoice === null || planeChoice.better.length === 0 ? [] : [planeLine(plane, planeChoice.better)];
}

/** Quiet as long as nobody floods us. */
function loadLines({ halfOpen, strangers, workers }: StatusDocument['load']): string[] {
  const { cookies, puzzles, refusals, silenced, unknown } = strangers;
  const lines: string[] = [];
  if (cookies + silenced + unknown > 0) {
    const parts = counted([
      [cookies, 'asked for a cookie'],
      [puzzles, 'given a puzzle'],
      [refusals, 'refused'],
      [silenced, 'left unanswered'],
      [unknown, 'not among the known peers'],
      [halfOpen, 'half-open now'],
    ]);
    lines.push(`Strangers: ${parts}`);
  }
  if (workers !== null && workers.refused + workers.crashes > 0) {
    const { trusted, reachable, stranger } = workers.waiting;
    const parts = counted([
      [workers.done, 'done'],
      [trusted + reachable + stranger, 'waiting'],
      [workers.refused, 'put off'],
      [workers.crashes, 'crashed'],
    ]);
    lines.push(`Workers: ${formatCount(workers.workers)}, ${parts}`);
  }
  return lines;
}

const counted = (parts: readonly (readonly [number, string])[]): string =>
  parts.flatMap(([count, what]) => (count > 0 ? [`${formatCount(count)} ${what}`] : [])).join(', ');

function peerLines({ peers, role }: StatusDocument, now: number, paint: Paint, columns: number): string[] {
  const heads = table(
    peers.map((peer) => [nameOf(peer, role), stateOf(peer, now, paint)]),
    { gap: '   ' },
  );
  const room = columns - Math.max(...heads.map(width)) - 3;
  const up = peers.filter((peer) => peer.state === 'up');
  const details = fitting(withoutEmpty(up.map((peer) => detailsOf(peer, role, now))), room);
  let next = 0;
  return peers.map((peer, i) => {
    const head = heads[i]! + ' '.repeat(Math.max(...heads.map(width)) - width(heads[i]!));
    if (peer.state === 'up') return `${head}   ${details[next++]!}`.trimEnd();
    return `${head}   ${truncate(absence(peer, now), room)}`.trimEnd();
  });
}

/** As many columns as the line has room for; the first ones matter most. */
function fitting(rows: readonly (readonly string[])[], room: number): string[] {
  for (let kept = rows[0]?.length ?? 0; kept > 0; kept--) {
    const lines = table(rows.map((row) => row.slice(0, kept)));
    if (kept === 1 || lines.every((line) => width(line) <= room)) return lines;
  }
  return rows.map(() => '');
}

function detailsOf(peer: PeerStatus, role: StatusDocument['role'], now: number): string[] {
  // What goes down to a client is what the gateway sends.
  const [down, up] = role === 'client' ? [peer.bytesIn, peer.bytesOut] : [peer.bytesOut, peer.bytesIn];
  return [
    peer.addresses.join(' '),
    `↓${formatBytesShort(down)} ↑${formatBytesShort(up)}`,
    peer.rttMs === null ? '' : `rtt ${formatLatency(peer.rttMs).replace(' ', '')}`,
    (peer.suite ?? '').replace(/\/.*/, ''),
    peer.transport === 'tcp' ? 'over TCP' : '',
    peer.rekeyAt === null ? '' : `rekey ${formatAge(Date.parse(peer.rekeyAt) - now)}`,
    peer.plane,
  ];
}

function absence(peer: PeerStatus, now: number): string {
  if (peer.state === 'connecting') return '';
  const reason = peer.reason ?? '';
  if (peer.since === null) return reason === '' ? 'not connected yet' : reason;
  return `last seen ${formatAge(now - Date.parse(peer.since))} ago${reason === '' ? '' : `: ${reason}`}`;
}

function stateOf(peer: PeerStatus, now: number, paint: Paint): string {
  if (peer.state === 'up') return paint.green(`up ${peer.since === null ? '' : formatAge(now - Date.parse(peer.since))}`.trimEnd());
  return peer.state === 'connecting' ? paint.yellow('connecting') : paint.red('down');
}

/** A client knows its peers by connection, a gateway by who they are. */
const nameOf = (peer: PeerStatus, role: StatusDocument['role']): string =>
  role === 'client' ? peer.connection : (peer.id ?? peer.connection);

const nobody = ({ role, listen }: StatusDocument): string =>
  role === 'gateway'
    ? `Nobody is connected. Listening on ${listen.join(', ') || 'nothing'}.`
    : 'Nobody is connected. To connect: tunnelwright up TARGET';
