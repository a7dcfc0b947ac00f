import { type Address, DataPlaneError, sameAddress, toHex } from '../core/bytes/index.ts';
import { PRIMITIVES, type RandomSource } from '../core/crypto/index.ts';
import { InboundSa, OpenedPacket, OutboundSa, type OutboundSnapshot } from '../core/esp/index.ts';
import type { ChildSaChange, ChildSaKeys, ChildSaSpec, Observation, Transport } from '../core/ike/index.ts';

import type { Packet } from './network.ts';

/** What a simulated machine asks of its data plane. */
export interface PeerPlane {
  /** @throws DataPlaneError */
  install(spec: ChildSaSpec): void;
  update(child: number, change: ChildSaChange): void;
  remove(child: number): void;
  /** The process died: everything goes. */
  clear(): void;
  /** When traffic last passed; undefined before the first packet, and for an unknown child. */
  lastUse(child: number): number | undefined;
  /** One ESP packet from the network. */
  receive(packet: Packet): void;
}

/** A CHILD_SA as the simulated data plane holds it. */
export interface PlaneChild {
  readonly id: number;
  readonly spec: ChildSaSpec;
  readonly inbound: InboundSa;
  readonly outbound: OutboundSa;
  readonly ikeSa: number;
  readonly local: Address;
  readonly remote: Address;
  readonly encap: boolean;
  readonly transport: Transport | undefined;
  /** Sends; otherwise it only receives. */
  readonly sending: boolean;
  /** Of those that send for the same traffic it is the one that was told last. */
  readonly told: number;
  /** Virtual time of the last packet, either way. */
  readonly usedAt: number | undefined;
  /** Which of its limits comes next; undefined when both were reached. */
  readonly nextLimit: 'soft' | 'hard' | undefined;
}

/** One key in one place, for the check that none serves twice. */
export interface UsedKey {
  readonly child: number;
  readonly direction: 'inbound' | 'outbound';
  readonly spi: number;
  readonly key: string;
}

/** What came in on an SA, opened. */
export interface PlanePacket {
  readonly child: number;
  readonly payload: Uint8Array;
}

/** ESP in memory, with the real ciphers unless told otherwise: proves that both ends hold the same keys, and remembers every key and SPI that was ever installed. */
export class SimulatedPlane implements PeerPlane {
  /** Every key that was ever installed. */
  readonly history: UsedKey[] = [];
  readonly received: PlanePacket[] = [];
  /** Packets that fit no SA, or whose SA refused them, by cause. */
  readonly drops: Record<string, number> = {};
  readonly #random: RandomSource;
  readonly #now: () => number;
  readonly #createPacketCipher: typeof PRIMITIVES.createPacketCipher;
  readonly #children = new Map<number, Mutable>();
  #told = 0;
  /** What lives before have sent, by SPI: no snapshot here is too old for that. */
  readonly #left = new Map<number, OutboundSnapshot>();
  readonly #opened = new OpenedPacket();
  readonly #observe: (observation: Observation) => void;

  /** @param now of the virtual clock */
  constructor(random: RandomSource, observe: (observation: Observation) => void, now: () => number, { createPacketCipher } = PRIMITIVES) {
    this.#createPacketCipher = createPacketCipher;
    this.#random = random;
    this.#observe = observe;
    this.#now = now;
  }

  get children(): readonly PlaneChild[] {
    return [...this.#children.values()];
  }

  install(spec: ChildSaSpec): void {
    if ([...this.#children.values()].some((child) => child.spec.inbound.spi === spec.inbound.spi)) {
      throw new DataPlaneError(`inbound SPI ${spec.inbound.spi.toString(16)} is in use`, { code: 'SPI_IN_USE', backend: 'simulated' });
    }
    this.#remember(spec);
    const outbound = new OutboundSa({
      spi: spec.outbound.spi,
      cipher: this.#createPacketCipher(spec.outbound),
      esn: spec.esn,
      random: this.#random,
      resume: spec.resumed ? this.#left.get(spec.outbound.spi) : undefined,
    });
    if (spec.resumed) outbound.skipAhead(RESUME_SKIP);
    this.#children.set(spec.id, {
      id: spec.id,
      spec,
      inbound: new InboundSa({
        spi: spec.inbound.spi,
        cipher: this.#createPacketCipher(spec.inbound),
        esn: spec.esn,
        replayWindow: spec.replayWindow,
      }),
      outbound,
      ikeSa: spec.ikeSa,
      local: spec.local,
      remote: spec.remote,
      encap: spec.encap,
      transport: spec.transport,
      sending: spec.outboundActive,
      told: ++this.#told,
      usedAt: undefined,
      nextLimit: 'soft',
    });
    if (spec.outboundActive) this.#stopSending(spec.replaces);
  }

  update(id: number, change: ChildSaChange): void {
    const child = this.#children.get(id);
    if (child === undefined) return;
    if (change.kind === 'activate-outbound') {
      child.sending = true;
      child.told = ++this.#told;
      this.#stopSending(child.spec.replaces);
    } else if (change.kind === 'stop-outbound') this.#stopSending(id);
    else if (change.kind === 'owner') child.ikeSa = change.ikeSa;
    else if (change.kind === 'skip') this.#skip(child, change.direction, change.by);
    else Object.assign(child, { local: change.local, remote: change.remote, encap: change.encap, transport: change.transport });
  }

  remove(id: number): void {
    const child = this.#children.get(id);
    child?.inbound.destroy();
    child?.outbound.destroy();
    this.#children.delete(id);
  }

  clear(): void {
    for (const { outbound } of this.#children.values()) this.#left.set(outbound.spi, outbound.snapshot());
    for (const id of [...this.#children.keys()]) this.remove(id);
  }

  /** The SA that traffic leaves on. */
  sendingChild(name?: string): PlaneChild | undefined {
    const sending = [...this.#children.values()].filter((child) => child.sending && (name === undefined || child.spec.name === name));
    return sending.sort((one, other) => one.told - other.told).at(-1);
  }

  /** @returns the ESP packet. */
  seal(id: number, payload: Uint8Array): Uint8Array {
    const child = this.#children.get(id)!;
    const { outbound } = child;
    child.usedAt = this.#now();
    const packet = new Uint8Array(outbound.sealedLength(payload.length));
    const sealed = packet.subarray(0, outbound.seal(payload, IPV4, packet, 0));
    this.#watchLimit(id);
    return sealed;
  }

  receive({ protocol, source, destination, data: packet }: Packet): void {
    const spi = packet.length < 8 ? 0 : new DataView(packet.buffer, packet.byteOffset).getUint32(0);
    const child = [...this.#children.values()].find((one) => one.spec.inbound.spi === spi);
    const verdict = child?.inbound.open(packet, this.#opened) ?? 'no-sa';
    if (child === undefined || verdict !== 'ok') {
      this.drops[verdict] = (this.drops[verdict] ?? 0) + 1;
      if (child === undefined && packet.length >= SHORTEST_STRAY && protocol !== 'tcp')
        this.#observe({ kind: 'unknown-spi', spi, local: destination, remote: source, encap: protocol === 'udp' });
      return;
    }
    const { start, length } = this.#opened;
    child.usedAt = this.#now();
    this.received.push({ child: child.id, payload: packet.slice(start, start + length) });
    const moved = child.encap ? !sameAddress(child.remote, source) : child.remote.ip !== source.ip;
    const overTcp = protocol === 'tcp';
    const sameTransport = overTcp === (child.transport === 'tcp');
    this.#observe({ kind: 'inbound-traffic', child: child.id, elsewhere: !sameTransport || moved || child.local.ip !== destination.ip });
    this.#watchLimit(child.id);
    if (child.encap && moved && sameTransport)
      this.#observe({ kind: 'mapping-changed', child: child.id, remote: source, ...(overTcp ? { stream: destination } : {}) });
  }

  lastUse(id: number): number | undefined {
    return this.#children.get(id)?.usedAt;
  }

  /** Of what came in nothing is kept from life to life: its numbers are counted from the first. */
  #skip({ inbound, outbound }: PlaneChild, direction: 'outbound' | 'inbound', by: bigint): void {
    if (direction === 'outbound') outbound.skipAhead(by);
    else inbound.closeUpTo(Number(by >> 32n), Number(by & 0xffff_ffffn));
  }

  #watchLimit(id: number): void {
    const limit = this.#reachedLimit(id);
    if (limit !== undefined) this.#observe({ kind: limit === 'soft' ? 'soft-expire' : 'hard-expire', child: id });
  }

  /** The limit that the child reached just now, each told once. */
  #reachedLimit(id: number): 'soft' | 'hard' | undefined {
    const child = this.#children.get(id);
    const limit = child?.nextLimit;
    if (child === undefined || limit === undefined) return undefined;
    const { softBytes, hardBytes, softPackets, hardPackets } = child.spec.limits;
    const [bytes, packets] = limit === 'soft' ? [softBytes, softPackets] : [hardBytes, hardPackets];
    const over = (sa: { bytes: number; packets: number }) => (bytes > 0 && sa.bytes >= bytes) || (packets > 0 && sa.packets >= packets);
    if (!over(child.inbound) && !over(child.outbound)) return undefined;
    child.nextLimit = limit === 'soft' ? 'hard' : undefined;
    return limit;
  }

  #stopSending(id: number | undefined): void {
    const child = id === undefined ? undefined : this.#children.get(id);
    if (child !== undefined) child.sending = false;
  }

  #remember(spec: ChildSaSpec): void {
    const note = (direction: UsedKey['direction'], { spi, encryptionKey, integrityKey }: ChildSaKeys): void => {
      if (spec.resumed) return;
      this.history.push({ child: spec.id, direction, spi, key: `${toHex(encryptionKey)}/${toHex(integrityKey)}` });
    };
    note('inbound', spec.inbound);
    note('outbound', spec.outbound);
  }
}

type Mutable = { -readonly [K in keyof PlaneChild]: PlaneChild[K] };

const IPV4 = 4;
/** More packets than any simulated life sends between two snapshots. */
const RESUME_SKIP = 1_000_000;
/** Octets of ESP that are answered, as in the real data plane. */
const SHORTEST_STRAY = 40;
