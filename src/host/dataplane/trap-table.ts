import type { Millis, PacketSelectors } from '../../core/ike/effects.ts';
import type { IpView } from '../../core/packet/index.ts';
import type { AddressRangeSelector } from '../../core/wire/payloads/types.ts';
import type { Clock } from '../platform/clock.ts';
import type { TrapPolicy } from './data-plane.ts';
import { ChildSelectors, type PortView } from './selectors.ts';

/** Policies without an SA: their first packet asks for one (RFC 4301 §4.4.1), and a few packets wait for it. */
export class TrapTable {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #onAcquire: (trap: TrapPolicy, packet: PacketSelectors) => void;
  #traps: { readonly policy: TrapPolicy; readonly selectors: ChildSelectors; askedAt: Millis }[] = [];
  #held: { readonly packet: Uint8Array; readonly until: Millis }[] = [];

  constructor(clock: Pick<Clock, 'now'>, onAcquire: (trap: TrapPolicy, packet: PacketSelectors) => void) {
    this.#clock = clock;
    this.#onAcquire = onAcquire;
  }

  set(traps: readonly TrapPolicy[]): void {
    // what finds no SA is dropped anyway
    const asking = traps.filter(({ action }) => action !== 'drop');
    this.#traps = asking.map((policy) => ({
      policy,
      selectors: new ChildSelectors(policy.localTs, policy.remoteTs),
      askedAt: Number.NEGATIVE_INFINITY,
    }));
    if (asking.length === 0) this.#held = [];
  }

  /** A packet that found no SA. @returns whether it waits for one now. */
  hit(packet: Uint8Array, view: IpView, ports: PortView): boolean {
    for (const trap of this.#traps) {
      if (!trap.selectors.fitsOutbound(view, ports)) continue;
      const now = this.#clock.now();
      const held = this.#hold(packet, now);
      if (now - trap.askedAt >= ASK_AGAIN) {
        trap.askedAt = now;
        this.#onAcquire(trap.policy, selectorsOf(view, ports));
      }
      return held;
    }
    return false;
  }

  /** The packets that waited, now that an SA may fit them. */
  release(): readonly Uint8Array[] {
    if (this.#held.length === 0) return NONE;
    const now = this.#clock.now();
    const packets = this.#held.filter(({ until }) => until > now).map(({ packet }) => packet);
    this.#held = [];
    return packets;
  }

  #hold(packet: Uint8Array, now: Millis): boolean {
    if (this.#held.length >= MOST_HELD) this.#held = this.#held.filter(({ until }) => until > now);
    if (this.#held.length >= MOST_HELD) return false;
    this.#held.push({ packet: packet.slice(), until: now + HOLD });
    return true;
  }
}

/** RFC 7296 §2.9; a protocol without ports, or a fragment that does not show them, means all of them. */
function selectorsOf({ data, sourceAt, destinationAt, addressLength, protocol, fragmentOffset }: IpView, ports: PortView): PacketSelectors {
  const one = (at: number, port: number): AddressRangeSelector => {
    const start = data.slice(at, at + addressLength);
    const [startPort, endPort] = port < 0 || fragmentOffset > 0 ? [0, 65_535] : [port, port];
    return { type: addressLength === 4 ? TS_IPV4 : TS_IPV6, protocol, startPort, endPort, start, end: start };
  };
  return { local: one(sourceAt, ports.source), remote: one(destinationAt, ports.destination) };
}

const [TS_IPV4, TS_IPV6] = [7, 8] as const;
const NONE: readonly Uint8Array[] = [];
const MOST_HELD = 16;
/** Longer than an IKE SA takes to stand; older packets were sent again meanwhile. */
const HOLD: Millis = 3000;
const ASK_AGAIN: Millis = 10_000;
