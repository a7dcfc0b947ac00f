import { InternalError, toHex } from '../../core/bytes/index.ts';
import type { ChildSaSpec, IkeKeyLog } from '../../core/ike/index.ts';
import { type Fate, PacketCapture } from '../capture.ts';
import type { Packet } from '../network.ts';
import type { InvariantName } from './invariants.ts';
import { CLEAR_MARK, isMarkAt } from './plane.ts';

/**
 * The books of one walk: every key, SPI and IV that was ever used, every packet on every wire. What may never happen is noticed at the
 * instant it does; the first such thing is kept.
 */
export class Ledger extends PacketCapture {
  broken: { readonly invariant: InvariantName; readonly what: string } | undefined;
  /** What an attacker on the path has seen, oldest first. */
  readonly seen: Packet[] = [];
  readonly fates: Partial<Record<Fate, number>> = {};
  /** Packets whose fate is known. */
  settled = 0;
  recorded = 0;
  /** ESP packets that were handed to a socket, by network and address. */
  readonly espDelivered = new Map<string, number>();
  readonly #keep: boolean;
  #hash = 0x811c_9dc5 | 0;
  /** Where each key serves, by its print. */
  readonly #keys = new Map<number, string>();
  readonly #spis = new Set<string>();
  /** SPIs of the IKE SA that each chosen IKE SPI is one half of. */
  readonly #chosen = new Map<string, string>();
  /** IVs of IKE messages, by sender and SPIs; what went out under them. */
  readonly #ivs = new Map<string, Map<number, Map<Iv, number>>>();
  /** Of ESP, by sender and SPI: the newest sequence number in its halves, and every IV. */
  readonly #sealed = new Map<string, { high: number; low: number; readonly ivs: Set<Iv> }>();
  /** Under which key. */
  readonly #sealing = new Map<string, number>();

  /** @param keep every packet stays, for the chart */
  constructor(keep: boolean) {
    super();
    this.#keep = keep;
  }

  /** Of every octet that was sent and the instant at which it was: equal for equal histories. */
  get hash(): number {
    return this.#hash >>> 0;
  }

  break(invariant: InvariantName, what: string): void {
    this.broken ??= { invariant, what };
  }

  /** Every packet on every network. */
  override record(at: number, network: string, packet: Packet): Crossing {
    this.recorded++;
    this.#hash = this.#read(Math.imul(this.#hash ^ at, FNV_PRIME), packet.data);
    if (network === 'internet') this.seen.push(packet);
    if (this.seen.length > MOST_SEEN) this.seen.splice(0, MOST_SEEN / 2);
    return new Crossing(this, network, packet, this.#keep ? super.record(at, network, packet) : undefined);
  }

  /** A copy of a packet came to its end. */
  end(fate: Fate, network: string, packet: Packet): void {
    this.fates[fate] = (this.fates[fate] ?? 0) + 1;
    if (fate !== 'delivered' || !isEsp(packet)) return;
    const place = `${network} ${packet.destination.ip}`;
    this.espDelivered.set(place, (this.espDelivered.get(place) ?? 0) + 1);
  }

  /** RFC 7296 §2.14, §2.18: every IKE SA has keys of its own. @param initiator whether the peer is, so that it chose SPIi */
  ikeKeys(peer: string, { spiI, spiR, SK_ei, SK_er }: IkeKeyLog, initiator: boolean): void {
    const spis = `${toHex(spiI)} ${toHex(spiR)}`;
    this.#key(SK_ei, `IKE ${spis} SK_ei`);
    this.#key(SK_er, `IKE ${spis} SK_er`);
    const chosen = `${peer} ${toHex(initiator ? spiI : spiR)}`;
    const known = this.#chosen.get(chosen);
    // an IKE SA that was restored is the same
    if (known !== undefined && known !== spis) this.break('fresh', `the IKE SPI ${chosen} was chosen twice`);
    this.#chosen.set(chosen, spis);
  }

  /** RFC 4303 §2.1, RFC 7296 §2.17: a CHILD_SA has SPIs and keys of its own. */
  installing(peer: string, { inbound, outbound, resumed }: ChildSaSpec): void {
    for (const { encryptionKey, spi } of [inbound, outbound]) this.#key(encryptionKey, `ESP ${spi.toString(16)}`);
    // §2.1: who came back with an old memory gets the answer to an old request once more, and its SPI with it; the keys are others
    const place = `${peer} ${outbound.spi}`;
    const print = printOf(outbound.encryptionKey);
    if (this.#sealing.get(place) !== print) this.#sealed.delete(place);
    this.#sealing.set(place, print);
    if (!resumed) this.#spi(`${peer} ${inbound.spi}`);
  }

  /**
   * RFC 4303 §3.3.3, RFC 4106 §3.1: neither sequence number nor IV comes twice; across restarts, too.
   * @param highOf with ESN a packet carries the lower half of its sequence number alone (RFC 4303 §2.2.1): the upper half, by SPI
   */
  esp(peer: string, packet: Uint8Array, highOf: (spi: number) => number): void {
    const spi = u32(packet, 0);
    const low = u32(packet, 4);
    const iv = ivAt(packet, 8);
    const place = `${peer} ${spi}`;
    let before = this.#sealed.get(place);
    if (before === undefined) {
      before = { high: 0, low: -1, ivs: new Set() };
      this.#sealed.set(place, before);
    }
    const high = low > before.low ? before.high : highOf(spi);
    if ((low <= before.low && high <= before.high) || before.ivs.has(iv))
      this.break('fresh', `${peer} sealed ESP ${spi.toString(16)} ${high}/${low} after ${before.high}/${before.low}, with IV ${iv}`);
    before.high = high;
    before.low = low;
    before.ivs.add(iv);
  }

  /** RFC 5282 §3.1: under one key an IV goes with one message; a copy of it is the same octets (RFC 7296 §2.1). */
  ike(peer: string, data: Uint8Array): void {
    const first = data[16];
    if (first !== SK && first !== SKF) return;
    const iv = ivAt(data, first === SK ? 32 : 36);
    const used = this.#usedIvs(peer, spisOf(data));
    const print = mix(data.length, data);
    const known = used.get(iv);
    if (known !== undefined && known !== print) this.break('fresh', `${peer} used the IV ${iv} for two IKE messages`);
    used.set(iv, print);
  }

  #key(key: Uint8Array, place: string): void {
    const print = printOf(key);
    const known = this.#keys.get(print);
    if (known === undefined) this.#keys.set(print, place);
    else if (known !== place) this.break('fresh', `one key serves ${known} and ${place}`);
  }

  #spi(spi: string): void {
    if (this.#spis.has(spi)) this.break('fresh', `the SPI ${spi} was chosen twice`);
    this.#spis.add(spi);
  }

  /** Each octet goes into the hash, and is looked at: what policy protects must not be among them. */
  #read(start: number, data: Uint8Array): number {
    let hash = start;
    for (let i = 0; i < data.length; i++) {
      const octet = data[i]!;
      if (octet === MARK_BEGINS && isMarkAt(data, i)) this.break('sealed', 'an inner packet stands on the wire in clear');
      hash = Math.imul(hash ^ octet, FNV_PRIME);
    }
    return hash;
  }

  #usedIvs(peer: string, spis: number): Map<Iv, number> {
    let ours = this.#ivs.get(peer);
    if (ours === undefined) {
      ours = new Map();
      this.#ivs.set(peer, ours);
    }
    let used = ours.get(spis);
    if (used === undefined) {
      used = new Map();
      ours.set(spis, used);
    }
    return used;
  }
}

/** One packet on one network, until it is known what became of its copies. */
class Crossing {
  readonly #ledger: Ledger;
  readonly #network: string;
  readonly #packet: Packet;
  readonly #kept: ReturnType<PacketCapture['record']> | undefined;
  #open = true;

  constructor(ledger: Ledger, network: string, packet: Packet, kept: ReturnType<PacketCapture['record']> | undefined) {
    this.#ledger = ledger;
    this.#network = network;
    this.#packet = packet;
    this.#kept = kept;
  }

  settle(fate: Fate, deliveredAt?: number): void {
    if (this.#open) this.#ledger.settled++;
    this.#open = false;
    this.#ledger.end(fate, this.#network, this.#packet);
    this.#kept?.settle(fate, deliveredAt);
  }
}

/** Of the octets that a key begins with: no two of them begin alike that are not the same. */
const printOf = (key: Uint8Array): number => asManyAsFit(u32(key, 0), u32(key, 4));

/** Of the random octets of both IKE SPIs. */
const spisOf = (message: Uint8Array): number => asManyAsFit(u32(message, 0), u32(message, 8));

/** As many of 64 bits as a number holds. */
const asManyAsFit = (high: number, low: number): number => high * 2 ** 21 + (low >>> 11);

/** An IV of 64 bits: most are counters, which a number holds. */
type Iv = number | bigint;

function ivAt(data: Uint8Array, at: number): Iv {
  const [high, low] = [u32(data, at), u32(data, at + 4)];
  return high < 2 ** 21 ? high * 2 ** 32 + low : (BigInt(high) << 32n) | BigInt(low);
}

function u32(data: Uint8Array, at: number): number {
  if (at + 4 > data.length) throw new InternalError(`there is no word at ${at} of ${data.length} octets`);
  return ((data[at]! << 24) | (data[at + 1]! << 16) | (data[at + 2]! << 8) | data[at + 3]!) >>> 0;
}

/** FNV-1a, signed. */
function mix(start: number, data: Uint8Array): number {
  let hash = start;
  for (let i = 0; i < data.length; i++) hash = Math.imul(hash ^ data[i]!, FNV_PRIME);
  return hash;
}

/** On the NAT port, and not behind a non-ESP marker (RFC 3948 §2.2). */
function isEsp({ data, destination }: Packet): boolean {
  if (destination.port !== 4500 || (data.length === 1 && data[0] === 0xff)) return false;
  return data.length < 4 || (data[0]! | data[1]! | data[2]! | data[3]!) !== 0;
}

const SK = 46;
const SKF = 53;
const MOST_SEEN = 64;
const MARK_BEGINS = CLEAR_MARK[0]!;
const FNV_PRIME = 0x0100_0193;
