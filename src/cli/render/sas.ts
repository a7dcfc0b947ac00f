import type { ChildSaDocument, IkeSaDocument, SasDocument } from '../../product/control/documents.ts';
import type { Paint } from '../context.ts';
import { flow, padEnd, padStart, plural, table, width, withoutEmpty } from './text.ts';
import { formatAgo, formatBytes, formatCount, formatDuration } from './units.ts';

/** Everything of every SA, a block for each IKE SA. SAs that only wait to be forgotten are left to JSON. */
export function renderSas(documents: readonly SasDocument[], paint: Paint, columns: number): string {
  const several = documents.length > 1;
  let ikeSas = 0;
  let children = 0;
  const lines: string[] = [];
  for (const { name, at, ikeSas: all } of documents) {
    const shown = all.filter((sa) => !FADING.has(sa.state));
    if (several) lines.push(paint.bold(`${name}:`));
    if (several && shown.length === 0) lines.push('  no IKE SA');
    for (const sa of shown) {
      lines.push(...ikeSaLines(sa, Date.parse(at), paint, columns));
      ikeSas++;
      children += childrenOf(sa).length;
    }
  }
  if (ikeSas === 0) return 'No IKE SA stands. To connect: tunnelwright up TARGET\n';
  lines.push(`${plural(ikeSas, 'IKE SA')}, ${plural(children, 'child SA')}`);
  return `${lines.join('\n')}\n`;
}

function ikeSaLines(sa: IkeSaDocument, now: number, paint: Paint, columns: number): string[] {
  const since = (iso: string | null) => (iso === null ? '' : formatDuration(now - Date.parse(iso)));
  const nat = [sa.nat.ours ? 'ours' : '', sa.nat.theirs ? 'theirs' : ''].filter((side) => side !== '').join(' and ');
  const state = sa.state.toUpperCase();
  const head = [
    `${paint.bold(sa.connection ?? '?')}  #${sa.id}  ${sa.state === 'established' ? paint.green(state) : paint.yellow(state)}  ${sa.role}  ${since(sa.establishedAt)}`.trimEnd(),
  ];
  head.push(
    rekey(sa.rekeyAt, now),
    sa.reauthAt === null ? '' : `reauth in ${formatDuration(Date.parse(sa.reauthAt) - now)}`,
    `${sa.local} ⇄ ${sa.remote}${nat === '' ? '' : ` (NAT: ${nat})`}`,
    sa.transport === 'udp' ? '' : `over TCP${sa.transportReason === null ? '' : `: ${sa.transportReason}`}`,
  );
  const features = [
    sa.vendors.length === 0 ? '' : `peer ${sa.vendors.join(', ')}`,
    sa.splitDns === null || sa.splitDns.domains.length === 0
      ? ''
      : `dns ${sa.splitDns.domains.map(({ name, trustAnchors }) => (trustAnchors.length === 0 ? name : `${name} (DNSSEC)`)).join(' ')} by ${sa.splitDns.servers.join(' ')}`,
    ...(sa.encryptedDns?.resolvers ?? []).map(
      ({ name, addresses, alpn }) => `dns over ${alpn.join(', ')} by ${name} at ${addresses.join(' ')}`,
    ),
    sa.fragmentation ? 'fragmentation' : '',
    sa.ppk === null ? '' : `ppk ${sa.ppk}`,
    sa.authMethods === null ? '' : `peer takes ${sa.authMethods.join(', ')}`,
    sa.keepalive === null ? '' : `keepalive ${formatDuration(sa.keepalive.seconds * 1000)}${sa.keepalive.measured ? ' (measured)' : ''}`,
    sa.mobike === null ? '' : `mobike${sa.mobike.peerAddresses.length === 0 ? '' : ` (also at ${sa.mobike.peerAddresses.join(' ')})`}`,
    sa.window === null ? '' : `window ${sa.window.ours}${sa.window.ours === sa.window.theirs ? '' : ` (peer ${sa.window.theirs})`}`,
    sa.counterSync === null
      ? ''
      : `syncs ${sa.counterSync.messageIds ? 'IDs' : ''}${sa.counterSync.messageIds && sa.counterSync.replayCounters ? ' and ' : ''}${sa.counterSync.replayCounters ? 'counters' : ''}`,
    sa.crashTokens.made || sa.crashTokens.held
      ? `crash token${sa.crashTokens.made && sa.crashTokens.held ? 's' : sa.crashTokens.made ? ' made' : ' held'}`
      : '',
    sa.resumed ? 'resumed' : '',
    sa.resumable ? 'resumable' : '',
    sa.redirectable ? 'redirectable' : '',
    sa.redirectedFrom === null ? '' : `redirected from ${sa.redirectedFrom}`,
    sa.dpdSeconds > 0
      ? `dpd ${formatDuration(sa.dpdSeconds * 1000)}${sa.lastInboundAt === null ? '' : ` (last ${formatAgo(now - Date.parse(sa.lastInboundAt))})`}`
      : '',
  ];
  return [
    flow(head, columns, '  '),
    ...ends(sa, columns),
    flow([`  suite ${sa.suite.replaceAll('/', ' / ')}`, features.filter((feature) => feature !== '').join('  ')], columns, '        '),
    ...childrenOf(sa).flatMap((child) => childLines(child, now, paint, columns)),
  ];
}

/** The two ends under one another; addresses stand at the end that was given them. Where they do not fit, SPIs get lines of their own. */
function ends(sa: IkeSaDocument, columns: number): string[] {
  const initiator = sa.role === 'initiator';
  const row = (word: string, id: string | null, auth: string, ours: boolean) => {
    const spi = ours === initiator ? `${sa.spiI}_i` : `${sa.spiR}_r`;
    return [word, id ?? '?', authWord(auth), ours === sa.assignedToUs ? sa.assigned.join(' ') : '', `spi ${spi}`];
  };
  const rows = [row('  we  ', sa.localId, sa.localAuth, true), row('  them', sa.remoteId, sa.remoteAuth, false)];
  const aligned = table(withoutEmpty(rows), { gap: '  ' });
  if (aligned.every((line) => width(line) <= columns)) return aligned;
  return rows.map(([word, id, auth, assigned, spi]) => flow([`${word}  ${id}  ${auth}`, assigned!, spi!], columns, '        '));
}

/** A certificate by whatever signature is a certificate. */
const authWord = (auth: string): string => AUTH_WORDS.get(auth) ?? (AUTH_BY_CERTIFICATE.test(auth) ? 'cert' : auth);
const AUTH_WORDS = new Map([
  ['SHARED_KEY_MIC', 'psk'],
  ['NULL_AUTHENTICATION', 'anonymous'],
]);
const AUTH_BY_CERTIFICATE = /SIGNATURE|ECDSA|RSA/;

function childLines(child: ChildSaDocument, now: number, paint: Paint, columns: number): string[] {
  const state = child.state === 'installed' ? '' : paint.yellow(child.state);
  const mode = child.protocol === 'AH' ? `AH ${child.mode.toUpperCase()}` : child.mode.toUpperCase();
  const head = [
    `  └ ${paint.bold(child.name)}  #${child.id}  ${mode}  ${child.suite.replaceAll('/', '  ')}`,
    state,
    (child.packets ?? []).join(', '),
    `${child.localTs.join(' ') || 'nothing'} ⇄ ${child.remoteTs.join(' ') || 'nothing'}`,
    rekey(child.rekeyAt, now),
  ];
  const amounts = [child.in, child.out].map(
    ({ bytes, packets, lastAt }) =>
      [formatBytes(bytes), `${formatCount(packets)} pkt`, lastAt === null ? 'never' : formatAgo(now - Date.parse(lastAt))] as const,
  );
  const widest = (index: 0 | 1 | 2) => Math.max(...amounts.map((amount) => width(amount[index])));
  const faults = `replay ${formatCount(child.replay)}  bad ${formatCount(child.bad)}`;
  const line = (word: string, spi: string, [bytes, packets, last]: (typeof amounts)[number], after: string) =>
    `      ${word} ${spi}  ${padStart(bytes, widest(0))}  ${padStart(packets, widest(1))}   ${padEnd(last, widest(2))}${after === '' ? '' : `   ${after}`}`.trimEnd();
  return [
    flow(head, columns, '      '),
    line('in ', child.spiIn, amounts[0]!, child.replay + child.bad > 0 ? paint.yellow(faults) : faults),
    line('out', child.spiOut, amounts[1]!, ''),
  ];
}

const rekey = (at: string | null, now: number): string => (at === null ? '' : `rekey in ${formatDuration(Date.parse(at) - now)}`);
const childrenOf = (sa: IkeSaDocument): readonly ChildSaDocument[] => sa.children.filter((child) => !FADING.has(child.state));

/** Kept only to answer copies of what came before. */
const FADING: ReadonlySet<string> = new Set(['lingering', 'dead', 'retired']);
