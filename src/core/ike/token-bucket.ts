import { isIpv6 } from '../bytes/ip-address.ts';
import type { Millis } from './effects.ts';

/** So many at once, then so many each second. */
export class TokenBucket {
  readonly #most: number;
  readonly #perSecond: number;
  #left: number;
  #at: Millis | undefined;

  constructor(most: number, perSecond: number) {
    this.#most = most;
    this.#left = most;
    this.#perSecond = perSecond;
  }

  /** @returns whether one more may pass now */
  take(now: Millis): boolean {
    this.#left = Math.min(this.#most, this.#left + ((now - (this.#at ?? now)) / 1000) * this.#perSecond);
    this.#at = now;
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}

/**
 * A bucket for each source, in a table of fixed size: sources whose addresses hash alike share one, which makes them wait a little in a
 * flood, and nothing grows however many sources there are. Whoever can forge addresses can empty the bucket of one that it names; that it
 * finds two that share one gives it nothing more, so the hash needs no secret.
 */
export class SourceBuckets {
  readonly #most: number;
  readonly #perSecond: number;
  /** Made when somebody first takes: most endpoints never hear of a stranger. */
  #slots: { readonly used: Float64Array; readonly at: Float64Array } | undefined;

  constructor(most: number, perSecond: number) {
    this.#most = most;
    this.#perSecond = perSecond;
  }

  take(source: string, now: Millis): boolean {
    this.#slots ??= { used: new Float64Array(SLOTS), at: new Float64Array(SLOTS) };
    const slots = this.#slots;
    const slot = slotOf(source);
    const used = Math.max(0, slots.used[slot]! - ((now - slots.at[slot]!) / 1000) * this.#perSecond);
    slots.at[slot] = now;
    const may = used + 1 <= this.#most;
    slots.used[slot] = may ? used + 1 : used;
    return may;
  }
}

/** Who counts as one source: an IPv4 address; of IPv6 the /64, since its owner has all of it. */
export function sourceOf(ip: string): string {
  if (!isIpv6(ip)) return ip;
  const [head = '', tail] = ip.split('::');
  const groups = head === '' ? [] : head.split(':');
  const behind = tail === undefined || tail === '' ? 0 : tail.split(':').length + (tail.includes('.') ? 1 : 0);
  while (tail !== undefined && groups.length < 8 - behind) groups.push('0');
  if (groups.length < 4) groups.push(...tail!.split(':'));
  return `${groups.slice(0, 4).join(':')}::/64`;
}

/** FNV-1a. */
function slotOf(source: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < source.length; i++) hash = Math.imul(hash ^ source.charCodeAt(i), 0x01000193);
  return (hash ^ (hash >>> 16)) & (SLOTS - 1);
}

const SLOTS = 16_384;
