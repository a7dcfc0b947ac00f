import { compareBytes, formatAddress, formatIp, fromUtf8, parseIp, printable, toHex } from '../../core/bytes/index.ts';
import type { IkeSaInfo, Millis, Notice } from '../../core/ike/effects.ts';
import { formatIdentity } from '../../core/pki/identity.ts';
import { AuthMethod, ConfigAttributeType, ExchangeType, nameOf } from '../../core/wire/iana.ts';
import type { ConfigurationAttribute, Identification, TrafficSelector } from '../../core/wire/payloads/types.ts';
import { formatSelector } from '../../core/wire/text/selector.ts';
import type { PlaneDecision } from '../../host/dataplane/backends/choice.ts';
import type { ChildCounters } from '../../host/dataplane/data-plane.ts';
import type { EngineLoad, IkeSaStatus } from '../../host/engine/engine.ts';
import type { Echo } from '../../host/platform/way.ts';
import type { ProgressLine, TransferDone } from './api.ts';
import type { ChildSaDocument, IkeSaDocument, StatusDocument } from './documents.ts';
import { errorToBody } from './errors.ts';
import type { TransferProgress, Transferred } from './target.ts';

/** Turns times of the monotonic clock into ISO 8601. */
export type ToIso = (at: Millis) => string;

export function isoClock({ monotonic, wall }: { readonly monotonic: Millis; readonly wall: number }): ToIso {
  return (at) => new Date(Math.round(wall + at - monotonic)).toISOString();
}

/** The name stands beside it. */
export const choiceDocument = ({ automatic, why, better }: PlaneDecision): NonNullable<StatusDocument['planeChoice']> => ({
  automatic,
  why,
  better: [...better],
});

export const iso = (wall: number): string => new Date(Math.round(wall)).toISOString();

export function ikeSaDocument(sa: IkeSaStatus | IkeSaInfo, toIso: ToIso, dpdDelay: Millis): IkeSaDocument {
  const time = (at: Millis | undefined) => (at === undefined ? null : toIso(at));
  return {
    id: sa.id,
    connection: sa.connection ?? null,
    state: sa.state,
    role: sa.role,
    spiI: toHex(sa.spiI),
    spiR: toHex(sa.spiR),
    local: formatAddress(sa.local),
    remote: formatAddress(sa.remote),
    localId: identity(sa.localId),
    remoteId: identity(sa.remoteId),
    localAuth: sa.localAuth,
    remoteAuth: printable(sa.remoteAuth),
    nat: { ours: sa.natOurs, theirs: sa.natTheirs },
    transport: sa.transport ?? 'udp',
    transportReason: sa.transportReason || null,
    suite: sa.suite,
    fragmentation: sa.fragmentation,
    ppk: sa.ppk ?? null,
    authMethods: sa.authMethods ? [...sa.authMethods] : null,
    keepalive:
      'keepalive' in sa && sa.keepalive ? { seconds: Math.round(sa.keepalive.interval / 1000), measured: sa.keepalive.measured } : null,
    mobike: sa.mobike ? { decides: sa.mobike.decides, peerAddresses: [...sa.mobike.peerAddresses] } : null,
    window: sa.window ?? null,
    counterSync: sa.counterSync ? { ...sa.counterSync } : null,
    crashTokens: { ...sa.crashTokens },
    resumed: sa.resumed,
    resumable: sa.resumable,
    redirectable: sa.redirectable,
    redirectedFrom: sa.redirectedFrom ?? null,
    dpdSeconds: dpdDelay / 1000,
    establishedAt: time(sa.establishedAt),
    rekeyAt: time(sa.rekeyAt),
    reauthAt: time(sa.reauthAt),
    lastInboundAt: time(sa.lastInbound),
    assigned: [...sa.assigned],
    assignedToUs: sa.assignedToUs,
    splitDns: splitDnsDocument(sa.splitDns),
    encryptedDns: encryptedDnsDocument(sa.encryptedDns),
    vendors: [...(sa.vendors ?? [])],
    children: sa.children.map((child) => childDocument(child, toIso)),
  };
}

/** Who answered, and through whose tunnel: of several that could have carried it, the one that gave out the address, else the first. */
export function pingToDocument({ rtt, from }: Echo, sas: readonly IkeSaStatus[]) {
  const ip = parseIp(from);
  const fits = (ts: TrafficSelector): boolean =>
    'start' in ts && ts.start.length === ip.length && compareBytes(ts.start, ip) <= 0 && compareBytes(ip, ts.end) <= 0;
  const carried = sas.filter(({ children }) => children.some(({ remoteTs }) => remoteTs.some(fits)));
  const sa = carried.find(({ assigned, assignedToUs }) => !assignedToUs && assigned.includes(from)) ?? carried[0];
  return {
    from,
    rttMs: rtt,
    via: sa === undefined ? null : formatAddress(sa.remote),
    transport: sa === undefined ? null : (sa.transport ?? 'udp'),
  };
}

export function loadDocument({ ikeSas, halfOpen, strangers, workers }: EngineLoad): StatusDocument['load'] {
  return {
    ikeSas,
    halfOpen,
    strangers: { ...strangers },
    workers: workers === undefined ? null : { ...workers, waiting: { ...workers.waiting } },
  };
}

function childDocument(child: IkeSaStatus['children'][number] | IkeSaInfo['children'][number], toIso: ToIso): ChildSaDocument {
  const counters: ChildCounters | undefined = 'counters' in child ? child.counters : undefined;
  const direction = (of: ChildCounters['inbound'] | undefined) => ({
    bytes: of?.bytes ?? 0,
    packets: of?.packets ?? 0,
    lastAt: of?.lastUse === undefined ? null : toIso(of.lastUse),
  });
  const drops = { ...counters?.drops };
  return {
    id: child.id,
    name: child.name,
    state: child.state,
    protocol: child.protocol,
    mode: child.mode,
    spiIn: spi(child.inboundSpi),
    spiOut: spi(child.outboundSpi),
    suite: child.suite,
    localTs: child.localTs.map(selector),
    remoteTs: child.remoteTs.map(selector),
    ...(child.packets && { packets: [...child.packets] }),
    establishedAt: toIso(child.establishedAt),
    rekeyAt: child.rekeyAt === undefined ? null : toIso(child.rekeyAt),
    in: direction(counters?.inbound),
    out: direction(counters?.outbound),
    replay: drops.replay ?? 0,
    bad: Object.entries(drops).reduce((sum, [cause, count]) => (NOTHING_WRONG.has(cause) ? sum : sum + count), 0),
    drops,
  };
}

/** Drops that say nothing against who sent the packet, and replays, which are told by themselves. */
const NOTHING_WRONG: ReadonlySet<string> = new Set(['replay', 'dummy', 'too big']);

export type EventLine = { readonly event: string; readonly at: string } & Readonly<Record<string, unknown>>;

/** A notice as one line of JSON. Undefined for those that do not leave the process: keys, and messages unless they were asked for. */
export function noticeLine(notice: Notice, at: number, toIso: ToIso, dpdDelay: Millis, messages = false): EventLine | undefined {
  const { kind, ...rest } = notice;
  const line = (fields: Readonly<Record<string, unknown>>): EventLine => ({ event: kind, at: iso(at), ...safe(fields) });
  switch (notice.kind) {
    case 'message':
      return messages ? { ...line(rest), text: notice.text.split('\n').map(printable).join('\n') } : undefined;
    case 'exchange':
      return line({
        ...rest,
        exchange: nameOf(ExchangeType, notice.exchange),
        remote: formatAddress(notice.remote),
        took: Math.round(notice.took),
      });
    case 'retransmit':
      return line({ ...rest, exchange: nameOf(ExchangeType, notice.exchange) });
    case 'ike-up':
      return line({ ikeSa: notice.ikeSa, connection: notice.info.connection, info: ikeSaDocument(notice.info, toIso, dpdDelay) });
    case 'ike-down':
    case 'failed':
    case 'rekey-tested':
      return line({ ...rest, error: notice.error === undefined ? undefined : errorToBody(notice.error) });
    case 'trying-address':
      return line({
        ...rest,
        silent: formatAddress(notice.silent),
        lost: notice.lost && formatAddress(notice.lost),
        local: formatAddress(notice.local),
        remote: formatAddress(notice.remote),
      });
    case 'trying-tcp':
    case 'stream':
      return line({ ...rest, remote: formatAddress(notice.remote) });
    case 'moved':
      return line({ ...rest, local: formatAddress(notice.local), remote: formatAddress(notice.remote) });
    case 'addresses':
      return line({
        ikeSa: notice.ikeSa,
        addresses: notice.addresses,
        missing: notice.missing.map((family) => `IPv${family}`),
        ...(notice.served === undefined ? {} : { served: notice.served.map((family) => `IPv${family}`) }),
        ...settings(notice.attributes),
        ...heeded(notice.splitDns),
      });
    case 'peer':
      return line({
        ikeSa: notice.ikeSa,
        id: identity(notice.id),
        method: nameOf(AuthMethod, notice.method),
        description: notice.description,
      });
    case 'drop':
      return line({ cause: notice.cause, remote: formatAddress(notice.remote), detail: notice.detail });
    case 'ike-state':
    case 'ike-rekeyed':
    case 'ike-reauthenticated':
    case 'child-state':
    case 'child-up':
    case 'child-rekeyed':
    case 'child-down':
    case 'nat':
    case 'redirected':
    case 'synchronised':
    case 'not-resumed':
    case 'transport-chosen':
      return line(rest);
    // What is not known to be harmless stays inside: keys are notices too.
    default:
      return undefined;
  }
}

export function progressToLine(progress: TransferProgress): ProgressLine {
  return { event: 'progress', ...progress, eta: progress.eta ?? null, retryIn: progress.retryIn ?? null };
}

export const transferredToLine = ({ files, spis, outside }: Transferred): TransferDone => ({
  event: 'transferred',
  files: files.map(({ took, ...file }) => ({ ...file, tookMs: Math.round(took) })),
  spis: spis.map((carried) => ({ ...carried, spi: spi(carried.spi) })),
  outside: outside ?? null,
});

/** What a peer chose may stand in any text; it must not steer the terminal that shows it. */
function safe(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, typeof value === 'string' ? printable(value) : value]));
}

function splitDnsDocument(splitDns: IkeSaInfo['splitDns']): IkeSaDocument['splitDns'] {
  if (splitDns === undefined) return null;
  const { servers, domains, ignored } = splitDns;
  return {
    servers: [...servers],
    domains: domains.map(({ name, trustAnchors }) => ({ name, trustAnchors: [...trustAnchors] })),
    ignored: ignored.map(({ what, why }) => ({ what: printable(what), why: printable(why) })),
  };
}

function encryptedDnsDocument(encryptedDns: IkeSaInfo['encryptedDns']): IkeSaDocument['encryptedDns'] {
  if (encryptedDns === undefined) return null;
  return {
    resolvers: encryptedDns.resolvers.map(({ name, addresses, alpn, port = null, path, keys }) => ({
      name,
      addresses: [...addresses],
      alpn: [...alpn],
      port,
      path: path === undefined ? null : printable(path),
      keys: [...keys],
    })),
    ignored: encryptedDns.ignored.map(printable),
  };
}

/** Of domains that a gateway told, those that count. */
const heeded = (splitDns: IkeSaInfo['splitDns']) =>
  splitDns === undefined
    ? {}
    : {
        domains: splitDns.domains.map(({ name }) => name),
        ignored: splitDns.ignored.map(({ what, why }) => `${printable(what)}: ${printable(why)}`),
      };

/** What CFG_REPLY told besides addresses, by meaning. */
function settings(attributes: readonly ConfigurationAttribute[]) {
  const of = (...types: number[]) => attributes.filter(({ type }) => types.includes(type)).map(({ value }) => value);
  return {
    dns: of(ConfigAttributeType.INTERNAL_IP4_DNS, ConfigAttributeType.INTERNAL_IP6_DNS).filter(isAddress).map(formatIp),
    servers: of(ConfigAttributeType.INTERNAL_IP4_SERVER, ConfigAttributeType.INTERNAL_IP6_SERVER).filter(isAddress).map(formatIp),
    domains: of(ConfigAttributeType.INTERNAL_DNS_DOMAIN).map((value) => printable(fromUtf8(value))),
    routes: [
      ...of(ConfigAttributeType.INTERNAL_IP4_SUBNET)
        .filter((value) => value.length === 8)
        .map(ipv4Subnet),
      ...of(ConfigAttributeType.INTERNAL_IP6_SUBNET)
        .filter((value) => value.length === 17)
        .map((value) => `${formatIp(value.subarray(0, 16))}/${value[16]}`),
    ],
  };
}

/** RFC 7296 §3.15.1: address and netmask. */
function ipv4Subnet(value: Uint8Array): string {
  const bits = [...value.subarray(4)].reduce((sum, octet) => sum + octet.toString(2).replaceAll('0', '').length, 0);
  return `${formatIp(value.subarray(0, 4))}/${bits}`;
}

const isAddress = (value: Uint8Array): boolean => value.length === 4 || value.length === 16;
const identity = (id: Identification | undefined): string | null => (id === undefined ? null : formatIdentity(id));
const selector = (ts: TrafficSelector): string => formatSelector(ts);
const spi = (value: number): string => value.toString(16).padStart(8, '0');
