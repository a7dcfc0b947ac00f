import { type Address, DataPlaneError, TunnelwrightError } from '../../core/bytes/index.ts';
import type { PacketCipher } from '../../core/crypto/packet-cipher.ts';
import { PRIMITIVES, type Primitives } from '../../core/crypto/primitives.ts';
import type { RandomSource } from '../../core/crypto/random.ts';
import {
  type Deflate,
  InboundAh,
  InboundSa,
  IpcompInbound,
  IpcompOutbound,
  OutboundAh,
  OutboundSa,
  type OuterRules,
  outerRules,
  type ReplayRings,
  TRANSPORT_RULES,
} from '../../core/esp/index.ts';
import type { ChildSaKeys, ChildSaSpec, Millis } from '../../core/ike/effects.ts';
import type { ChildCounters, EspPath, SequenceNumbers } from './data-plane.ts';
import { octetsOf } from './outer-packets.ts';
import { ChildSelectors } from './selectors.ts';
import { TransportMode } from './transport-mode.ts';

/** Authentic packets that are dropped all the same. */
export type EntryDrop =
  /** What came out is not the kind of packet that the SA carries. */
  | 'inner'
  /** Authentic, but outside of what was negotiated (RFC 4301 §5.2). */
  | 'selectors'
  /** The SA has reached its hard limit. */
  | 'expired'
  /** The socket did not take it. */
  | 'send'
  /** Larger than the tunnel takes, and not to be cut: its sender is told. */
  | 'too big'
  /** Congestion was met outside, and the inner packet does not know the mark (RFC 6040 §4.2). */
  | 'ecn'
  /** Compressed, and not as was agreed, or to more than a packet holds. */
  | 'ipcomp';

const NO_DROPS: Readonly<Record<EntryDrop, number>> = {
  inner: 0,
  selectors: 0,
  expired: 0,
  send: 0,
  'too big': 0,
  ecn: 0,
  ipcomp: 0,
};

export const ENTRY_DROPS = Object.keys(NO_DROPS) as readonly EntryDrop[];

/** What all of one data plane share. */
export interface EntryOptions {
  readonly random: RandomSource;
  readonly backend: string;
  /** Makes ciphers in place of `core/crypto`: OpenSSL's own, or a simulation's. */
  readonly createPacketCipher?: Primitives['createPacketCipher'] | undefined;
  /** Of all SAs together. */
  readonly rings?: ReplayRings | undefined;
  /** What compresses; without, no CHILD_SA with IPComp can be installed. */
  readonly deflate?: Deflate | undefined;
}

/** One CHILD_SA as user space keeps it: both ESP SAs, their selectors, the way to the peer, and what was counted. */
export class ChildEntry {
  readonly id: number;
  readonly connection: string;
  /** Undefined in tunnel mode. */
  readonly transport: TransportMode | undefined;
  readonly replaces: number | undefined;
  readonly selectors: ChildSelectors;
  readonly inbound: InboundSa | InboundAh;
  readonly outbound: OutboundSa | OutboundAh;
  readonly outer: OuterRules;
  /** Octets of payload that TCP may put into a segment at most, whatever the tunnel takes; 0 leaves it alone. */
  readonly largestMss: number;
  /** Undefined without compression. */
  readonly ipcomp: { readonly inbound: IpcompInbound; readonly outbound: IpcompOutbound } | undefined;
  /** It may carry fragments whose first one fits its selectors. */
  readonly laterFragments: boolean;
  /** The largest inner packet that leaves in one outer packet. */
  mtu = 0;
  /** Octets to which payloads are padded; 0 leaves them as they are. */
  tfcLength = 0;
  readonly #tfc: number;
  /** Packets without content, each second on average. */
  readonly dummies: number;
  /** What outer packets may have until `until`, because some did not pass (RFC 4301 §8.2.1). */
  #limit: { readonly mtu: number; readonly until: Millis } | undefined;
  #path: EspPath;
  local: Address;
  remote: Address;
  #localOctets: Uint8Array | undefined;
  #remoteOctets: Uint8Array | undefined;
  #drops: Record<EntryDrop, number> | undefined;
  encap: boolean;
  overTcp: boolean;
  /** false: receives only. */
  sends: boolean;
  /** Which of those that send for the same traffic does: the one with the highest number. */
  told = 0;
  /** NaN before the first packet: a field that is always a number is written in place, one that is not takes an object with each packet. */
  lastIn: Millis = Number.NaN;
  lastOut: Millis = Number.NaN;
  /** When `inbound-traffic` was last told. */
  toldTrafficAt: Millis = Number.NEGATIVE_INFINITY;
  /** Newest sequence number: an older packet says nothing about where the peer is now. */
  newest = 0;
  /** Where packets last came from, if not from `remote`. */
  seenAt: Address | undefined;
  #nextLimit: Limit;
  /** Before the SA has passed so many packets, no limit can be reached by it. */
  #inboundLook = 0;
  #outboundLook = 0;
  readonly #limits: ChildSaSpec['limits'];
  /** Where a former life stopped receiving. */
  readonly #resumedAt: SequenceNumbers['inbound'] | undefined;

  /** @throws DataPlaneError `CIPHER_UNSUPPORTED`, `TRANSPORT_SELECTORS`; no key stays behind */
  constructor(spec: ChildSaSpec, path: EspPath, options: EntryOptions, resume?: SequenceNumbers) {
    this.id = spec.id;
    this.connection = spec.connection;
    this.transport = transportOf(spec, options.backend);
    this.ipcomp = ipcompOf(spec, options);
    this.laterFragments = spec.laterFragments ?? false;
    this.#tfc = tfcOf(spec);
    this.dummies = spec.packets?.dummies ?? 0;
    this.replaces = spec.replaces;
    this.selectors = new ChildSelectors(spec.localTs, spec.remoteTs);
    const { inbound, outbound } = spec.protocol === 'AH' ? ahOf(spec, options, resume) : espOf(spec, options, resume);
    this.inbound = inbound;
    this.outbound = outbound;
    // RFC 4303 §3.3.3, RFC 4106 §3.1: neither a sequence number nor an IV may come twice under one key.
    if (spec.resumed === true) {
      this.outbound.skipAhead(SKIPPED_AFTER_RESTART);
      this.outbound.beginEpoch(options.random.childSpi());
    }
    this.#resumedAt = resume?.inbound;
    this.#limits = spec.resumed === true && !spec.esn ? roomForOneMore(spec.limits, this.outbound.sequence) : spec.limits;
    this.outer = this.transport === undefined ? outerRules(spec.packets) : TRANSPORT_RULES;
    this.largestMss = largestMss(spec.packets?.clampMss);
    this.local = LOCAL_ENDS.shared(spec.local);
    this.remote = REMOTE_ENDS.shared(spec.remote);
    this.#path = path;
    this.#measure();
    this.encap = spec.encap;
    this.overTcp = spec.transport === 'tcp';
    this.sends = spec.outboundActive;
    this.#nextLimit = 'soft';
  }

  /** Where packets go from here on. */
  setEnds(local: Address, remote: Address): void {
    this.local = local;
    this.remote = remote;
    this.#localOctets = undefined;
    this.#remoteOctets = undefined;
    this.#measure();
  }

  /** The two addresses as they go into headers. */
  get localOctets(): Uint8Array {
    this.#localOctets ??= octetsOf(this.local.ip);
    return this.#localOctets;
  }

  get remoteOctets(): Uint8Array {
    this.#remoteOctets ??= octetsOf(this.remote.ip);
    return this.#remoteOctets;
  }

  /** To look at. */
  get dropped(): Readonly<Record<EntryDrop, number>> {
    return this.#drops ?? NO_DROPS;
  }

  /** To count in. Made with the first: most children never drop anything. */
  get drops(): Record<EntryDrop, number> {
    this.#drops ??= { ...NO_DROPS };
    return this.#drops;
  }

  /** Octets that stand between the outer header and what is protected. */
  get front(): number {
    const { outbound } = this;
    return outbound.protocol === 'ESP'
      ? outbound.payloadOffset
      : outbound.headerLength((this.transport?.remote ?? this.remoteOctets).length === 4 ? 4 : 6);
  }

  get path(): EspPath {
    return this.#path;
  }

  /** From here on packets go that way; what was known of the former one is forgotten. */
  set path(path: EspPath) {
    this.#path = path;
    this.#limit = undefined;
    this.#measure();
  }

  /** Octets of an outer packet that pass, as far as is known. */
  get pathMtu(): number {
    return Math.min(this.#path.mtu, this.#limit?.mtu ?? Number.POSITIVE_INFINITY);
  }

  /** @param mtu octets of an outer packet */
  limitPath(mtu: number, until: Millis): void {
    this.#limit = { mtu, until };
    this.#measure();
  }

  /** RFC 4301 §8.2.2: what was learnt is not believed for ever. @returns whether larger packets may be tried again */
  agePath(now: Millis): boolean {
    if (this.#limit === undefined || this.#limit.until > now) return false;
    this.#limit = undefined;
    this.#measure();
    return true;
  }

  #measure(): void {
    const room = this.pathMtu - this.#path.overhead;
    const { outbound } = this;
    this.mtu = (outbound.protocol === 'ESP' ? outbound.largestPayload(room) : room - this.front) + (this.transport?.saved ?? 0);
    this.tfcLength = Math.max(0, Math.min(this.#tfc, this.mtu));
  }

  get expired(): boolean {
    return this.#nextLimit === undefined;
  }

  /** RFC 4301 §4.4.2.1: each direction is an SA with a lifetime of its own. @returns the limit that was reached just now, once. */
  reachedLimit(sa: Halves[keyof Halves]): Limit {
    if (sa.packets < (sa === this.inbound ? this.#inboundLook : this.#outboundLook)) return undefined;
    const limits = this.#limits;
    if (this.#nextLimit === 'soft' && reached(sa, limits.softBytes, limits.softPackets)) {
      this.#nextLimit = 'hard';
      return 'soft';
    }
    if (this.#nextLimit !== undefined && reached(sa, limits.hardBytes, limits.hardPackets)) {
      this.#nextLimit = undefined;
      return 'hard';
    }
    const look = sa.packets + this.#harmless(sa);
    if (sa === this.inbound) this.#inboundLook = look;
    else this.#outboundLook = look;
    return undefined;
  }

  /** How many packets more cannot reach a limit, of whatever length: to ask the limits for each costs as much as a look-up. */
  #harmless({ bytes, packets }: Counted): number {
    const { softBytes, hardBytes, softPackets, hardPackets } = this.#limits;
    const isSoft = this.#nextLimit === 'soft';
    const mostBytes = Math.min(isSoft && softBytes > 0 ? softBytes : Number.POSITIVE_INFINITY, hardBytes || Number.POSITIVE_INFINITY);
    const mostPackets = Math.min(
      isSoft && softPackets > 0 ? softPackets : Number.POSITIVE_INFINITY,
      hardPackets || Number.POSITIVE_INFINITY,
    );
    return Math.max(0, Math.min(MOST_UNASKED, mostPackets - packets, Math.floor((mostBytes - bytes) / LARGEST_PAYLOAD)));
  }

  /** Whether so much more to send would reach a limit. */
  nearsLimit(bytes: number, packets: number): boolean {
    const sa = this.outbound;
    if (sa.packets + packets < this.#outboundLook) return false;
    const near = this.#wouldReach(sa, bytes, packets);
    if (!near) this.#outboundLook = sa.packets + this.#harmless(sa);
    return near;
  }

  #wouldReach(sa: Counted, bytes: number, packets: number): boolean {
    const limits = this.#limits;
    const allBytes = sa.bytes + bytes;
    const allPackets = sa.packets + packets;
    return (
      (this.#nextLimit === 'soft' && isReached(allBytes, allPackets, limits.softBytes, limits.softPackets)) ||
      isReached(allBytes, allPackets, limits.hardBytes, limits.hardPackets)
    );
  }

  /** No sequence number is left. @returns false when that was known. */
  exhaust(): boolean {
    const news = this.#nextLimit !== undefined;
    this.#nextLimit = undefined;
    return news;
  }

  counters(): ChildCounters {
    const { inbound, outbound, dropped } = this;
    const { malformed, replay, icv, padding, dummy } = inbound.drops;
    return {
      inbound: { packets: inbound.packets, bytes: inbound.bytes, lastUse: instant(this.lastIn) },
      outbound: { packets: outbound.packets, bytes: outbound.bytes, lastUse: instant(this.lastOut) },
      drops: { malformed, replay, icv, padding, dummy, ...dropped },
    };
  }

  /** RFC 6311 §5.2. @param direction inbound: from where a former life stopped */
  skip(direction: 'outbound' | 'inbound', by: bigint): void {
    if (direction === 'outbound') return this.outbound.skipAhead(by);
    const { sequenceHigh = 0, sequenceLow = 0 } = this.#resumedAt ?? {};
    const floor = (BigInt(sequenceHigh) << 32n) + BigInt(sequenceLow) + by;
    this.inbound.closeUpTo(Number(floor >> 32n), Number(floor & 0xffff_ffffn));
  }

  sequenceNumbers(): SequenceNumbers {
    return { outbound: this.outbound.snapshot(), inbound: this.inbound.snapshot() };
  }

  destroy(): void {
    this.inbound.destroy();
    this.outbound.destroy();
  }
}

/** Without ESN one more restart must not take the last sequence numbers: there is a successor before (RFC 4303 §3.3.3). */
function roomForOneMore(limits: ChildSaSpec['limits'], used: number): ChildSaSpec['limits'] {
  const left = Math.max(1, 2 ** 32 - SKIPPED_AFTER_RESTART - used);
  return { ...limits, softPackets: limits.softPackets === 0 ? left : Math.min(limits.softPackets, left) };
}

/** RFC 4303 §2.7: the payload must carry its own length, and the peer must not have said that it takes no padding (RFC 7296 §1.3.1). */
function tfcOf({ packets, mode, unpadded, protocol }: ChildSaSpec): number {
  const { tfc = 0 } = packets ?? {};
  if (mode === 'transport' || unpadded === true || protocol === 'AH') return 0;
  return tfc === 'mtu' ? Number.POSITIVE_INFINITY : tfc;
}

function ipcompOf({ ipcomp }: ChildSaSpec, { deflate, backend }: EntryOptions): ChildEntry['ipcomp'] {
  if (ipcomp === undefined) return undefined;
  if (deflate !== undefined)
    return { inbound: new IpcompInbound(ipcomp.inboundCpi, deflate), outbound: new IpcompOutbound(ipcomp.outboundCpi, deflate) };
  throw new DataPlaneError('this data plane does not compress packets', {
    code: 'IPCOMP_UNSUPPORTED',
    backend,
    hint: 'Set ipcomp: no for this child.',
  });
}

const largestMss = (clamp: boolean | number = true): number => (clamp === true ? 0xffff : clamp === false ? 0 : clamp);

type Limit = 'soft' | 'hard' | undefined;

/** What limits are held against. */
interface Counted {
  readonly bytes: number;
  readonly packets: number;
}

const instant = (at: Millis): Millis | undefined => (Number.isNaN(at) ? undefined : at);

/** Ends that children have in common: those that are made one after the other then have them once. */
class Ends {
  #newest: Address | undefined;

  shared(end: Address): Address {
    if (this.#newest?.ip !== end.ip || this.#newest.port !== end.port) this.#newest = end;
    return this.#newest;
  }
}

const LOCAL_ENDS = new Ends();
const REMOTE_ENDS = new Ends();

const reached = (sa: Counted, bytes: number, packets: number): boolean => isReached(sa.bytes, sa.packets, bytes, packets);

const isReached = (bytes: number, packets: number, mostBytes: number, mostPackets: number): boolean =>
  (mostBytes > 0 && bytes >= mostBytes) || (mostPackets > 0 && packets >= mostPackets);

function transportOf(spec: ChildSaSpec, backend: string): TransportMode | undefined {
  if (spec.mode === 'tunnel') return undefined;
  const transport = TransportMode.between(spec.localTs, spec.remoteTs);
  if (transport !== undefined) return transport;
  throw new DataPlaneError('transport mode stands between two addresses, but the selectors cover more', {
    code: 'TRANSPORT_SELECTORS',
    backend,
    hint: 'Leave local_ts and remote_ts of this child as `dynamic`, or set mode: tunnel.',
  });
}

type Halves = Pick<ChildEntry, 'inbound' | 'outbound'>;

function espOf(spec: ChildSaSpec, options: EntryOptions, resume: SequenceNumbers | undefined): Halves {
  const { esn, replayWindow } = spec;
  const inboundCipher = cipherOf(spec.inbound, options);
  try {
    const cipher = cipherOf(spec.outbound, options);
    return {
      inbound: new InboundSa({
        spi: spec.inbound.spi,
        cipher: inboundCipher,
        esn,
        replayWindow,
        resume: resume?.inbound,
        rings: options.rings,
      }),
      outbound: new OutboundSa({ spi: spec.outbound.spi, cipher, esn, random: options.random, resume: resume?.outbound }),
    };
  } catch (error) {
    inboundCipher.destroy();
    throw error;
  }
}

function ahOf(spec: ChildSaSpec, { backend }: EntryOptions, resume: SequenceNumbers | undefined): Halves {
  const { esn, replayWindow, inbound, outbound } = spec;
  return refusingCiphers(backend, () => ({
    inbound: new InboundAh({ ...inbound, esn, replayWindow, resume: resume?.inbound }),
    outbound: new OutboundAh({ ...outbound, esn, resume: resume?.outbound }),
  }));
}

function cipherOf(keys: ChildSaKeys, { backend, createPacketCipher = PRIMITIVES.createPacketCipher }: EntryOptions): PacketCipher {
  return refusingCiphers(backend, () => createPacketCipher(keys));
}

function refusingCiphers<T>(backend: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof TunnelwrightError)) throw error;
    throw new DataPlaneError(`this data plane cannot protect with the algorithms that were negotiated: ${error.message}`, {
      code: 'CIPHER_UNSUPPORTED',
      backend,
      cause: error,
      hint: 'Leave the algorithm out of esp_proposals.',
    });
  }
}

/** Octets that an IP packet can have. */
const LARGEST_PAYLOAD = 65_535;
/** Packets: what is looked at so seldom costs nothing. */
const MOST_UNASKED = 2 ** 16;
/** More than a life sends between its last snapshot and its end; less than the 2^32 that a receiver with ESN can follow. */
const SKIPPED_AFTER_RESTART = 2 ** 30;
