import type { Millis } from '../../core/ike/effects.ts';
import type { IpView } from '../../core/packet/index.ts';
import type { Clock } from '../platform/clock.ts';
import type { ChildEntry } from './child-entry.ts';
import type { OutboundTable } from './outbound-table.ts';
import type { PortView } from './selectors.ts';

/**
 * Stateful fragment checking (RFC 4301 §7.3): later fragments show no ports, so an SA for certain ports carries them by what their first one
 * showed, where both ends agreed to that. None reaches back over the ports: it begins eight octets behind them at least. What comes before
 * its first fragment is dropped.
 */
export class LaterFragments {
  /** CHILD_SAs that carry them. */
  carriers = 0;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #table: Pick<OutboundTable<ChildEntry>, 'find'>;
  readonly #sent = new FragmentPorts();
  readonly #received = new FragmentPorts();

  constructor(clock: Pick<Clock, 'now'>, table: Pick<OutboundTable<ChildEntry>, 'find'>) {
    this.#clock = clock;
    this.#table = table;
  }

  /** The SA that a fragment leaves on. @param found by what it shows itself */
  find(packet: IpView, ports: PortView, found: ChildEntry | undefined): ChildEntry | undefined {
    if (this.carriers === 0) return found;
    const now = this.#clock.now();
    if (packet.fragmentOffset === 0) {
      if (found?.laterFragments === true) this.#sent.note(packet, ports, now);
      return found;
    }
    if (!this.#sent.recall(packet, ports, now)) return found;
    const entry = this.#table.find(packet, ports);
    return entry?.laterFragments === true ? entry : found;
  }

  /** An authentic fragment that fits the selectors of its SA. */
  received(entry: ChildEntry, packet: IpView, ports: PortView): void {
    if (entry.laterFragments && packet.fragmentOffset === 0) this.#received.note(packet, ports, this.#clock.now());
  }

  /** Does it fit the selectors as its first fragment did? */
  fits(entry: ChildEntry, packet: IpView, ports: PortView): boolean {
    if (!entry.laterFragments || packet.fragmentOffset === 0) return false;
    return this.#received.recall(packet, ports, this.#clock.now()) && entry.selectors.fitsInbound(packet, ports);
  }
}

/** The ports of packets that come in pieces. Bounded in number and time. */
class FragmentPorts {
  readonly #known = new Map<string, { readonly source: number; readonly destination: number; readonly until: Millis }>();

  /** A first fragment whose SA was found. */
  note(packet: IpView, { source, destination }: PortView, now: Millis): void {
    const key = keyOf(packet);
    this.#known.delete(key);
    if (this.#known.size >= MOST) for (const oldest of this.#known.keys()) if (this.#known.delete(oldest)) break;
    this.#known.set(key, { source, destination, until: now + LIFE });
  }

  /** Puts the ports of its first fragment into `ports`. @returns false where none was seen, or long ago */
  recall(packet: IpView, ports: PortView, now: Millis): boolean {
    const known = this.#known.get(keyOf(packet));
    if (known === undefined || known.until <= now) return false;
    ports.source = known.source;
    ports.destination = known.destination;
    return true;
  }
}

/** RFC 791 §3.2, RFC 8200 §4.5: pieces of one packet have these in common. */
function keyOf({ data, sourceAt, addressLength, protocol, version, identification }: IpView): string {
  let key = `${version} ${identification} ${version === 4 ? protocol : ''} `;
  for (let i = 0; i < 2 * addressLength; i++) key += String.fromCharCode(data[sourceAt + i]!);
  return key;
}

const MOST = 1024;
/** As long as a receiver waits for them (RFC 8200 §4.5). */
const LIFE: Millis = 60_000;
