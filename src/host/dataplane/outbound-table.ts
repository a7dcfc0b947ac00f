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
  readonly #byHost = new Map<number, Entry[]>();
  /** Narrow before broad, told later before told earlier. */
  readonly #networks: Entry[] = [];

  /** An entry that is there already stays where it is. */
  add(entry: Entry): void {
    const hosts = entry.selectors.remoteHosts;
    if (hosts === undefined) insert(this.#networks, entry);
    else
      for (const host of hosts) {
        const entries = this.#byHost.get(host);
        if (entries === undefined) this.#byHost.set(host, [entry]);
        else insert(entries, entry);
      }
  }

  remove(entry: Entry): void {
    const hosts = entry.selectors.remoteHosts;
    if (hosts === undefined) withdraw(this.#networks, entry);
    else
      for (const host of hosts) {
        const entries = this.#byHost.get(host);
        if (entries === undefined) continue;
        withdraw(entries, entry);
        if (entries.length === 0) this.#byHost.delete(host);
      }
  }

  find(packet: IpView, ports: PortView): Entry | undefined {
    if (this.#byHost.size > 0) {
      const entries = this.#byHost.get(hashAddress(packet.data, packet.destinationAt, packet.addressLength));
      if (entries !== undefined) {
        const found = first(entries, packet, ports);
        if (found !== undefined) return found;
      }
    }
    return first(this.#networks, packet, ports);
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
