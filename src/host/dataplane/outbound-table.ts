import type { IpView } from '../../core/packet/index.ts';
import { type ChildSelectors, hashAddress, type PortView } from './selectors.ts';

export interface OutboundEntry {
  readonly selectors: ChildSelectors;
  /** Of equal selectors those with the highest number come first. */
  readonly told: number;
}

/**
 * Finds the SA for a packet that is to leave (RFC 4301 §5.1): the narrowest selectors that fit, of equal ones that which was told last to send. Thousands of
 * clients with one address each are found by that address; only networks are searched one by one.
 */
export class OutboundTable<Entry extends OutboundEntry> {
  /** Addresses that one SA leads to, as most do. */
  readonly #alone = new Map<number, Entry>();
  /** Those that several lead to. */
  readonly #byHost = new Map<number, Entry[]>();
  /** Narrow before broad, told later before told earlier. */
  readonly #networks: Entry[] = [];

  /** An entry that is there already stays where it is. */
  add(entry: Entry): void {
    const hosts = entry.selectors.remoteHosts;
    if (hosts === undefined) insert(this.#networks, entry);
    else for (const host of hosts) this.#addTo(host, entry);
  }

  remove(entry: Entry): void {
    const hosts = entry.selectors.remoteHosts;
    if (hosts === undefined) withdraw(this.#networks, entry);
    else for (const host of hosts) this.#removeFrom(host, entry);
  }

  find(packet: IpView, ports: PortView): Entry | undefined {
    if (this.#alone.size > 0 || this.#byHost.size > 0) {
      const host = hashAddress(packet.data, packet.destinationAt, packet.addressLength);
      const alone = this.#alone.get(host);
      if (alone?.selectors.fitsOutbound(packet, ports)) return alone;
      const entries = alone === undefined && this.#byHost.size > 0 ? this.#byHost.get(host) : undefined;
      const found = entries && first(entries, packet, ports);
      if (found !== undefined) return found;
    }
    return first(this.#networks, packet, ports);
  }

  #addTo(host: number, entry: Entry): void {
    const alone = this.#alone.get(host);
    const entries = this.#byHost.get(host);
    if (entries !== undefined) insert(entries, entry);
    else if (alone === undefined) this.#alone.set(host, entry);
    else if (alone !== entry) {
      const both = [alone];
      insert(both, entry);
      this.#alone.delete(host);
      this.#byHost.set(host, both);
    }
  }

  #removeFrom(host: number, entry: Entry): void {
    if (this.#alone.get(host) === entry) this.#alone.delete(host);
    const entries = this.#byHost.get(host);
    if (entries === undefined) return;
    withdraw(entries, entry);
    if (entries.length > 1) return;
    this.#byHost.delete(host);
    this.#alone.set(host, entries[0]!);
  }
}

function first<Entry extends OutboundEntry>(entries: readonly Entry[], packet: IpView, ports: PortView): Entry | undefined {
  for (let i = 0; i < entries.length; i++) if (entries[i]!.selectors.fitsOutbound(packet, ports)) return entries[i];
  return undefined;
}

function insert<Entry extends OutboundEntry>(entries: Entry[], entry: Entry): void {
  if (entries.includes(entry)) return;
  const { selectors, told } = entry;
  const { breadth } = selectors;
  const at = entries.findIndex((other) => other.selectors.breadth > breadth || (other.selectors.breadth === breadth && other.told <= told));
  entries.splice(at < 0 ? entries.length : at, 0, entry);
}

function withdraw<Entry>(entries: Entry[], entry: Entry): void {
  const at = entries.indexOf(entry);
  if (at >= 0) entries.splice(at, 1);
}
