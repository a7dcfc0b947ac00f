import { getI32, sameOctets } from '../../packet/index.ts';
import type { Tcb } from './tcb.ts';

/** Two ends as they stand in a packet: addresses of `length` octets at offsets into `data`. */
export interface FlowKey {
  data: Uint8Array;
  length: 4 | 16;
  localAt: number;
  localPort: number;
  remoteAt: number;
  remotePort: number;
}

/** All connections, found by what stands in a packet: no key is made for looking. */
export class FlowTable {
  readonly #buckets = new Map<number, Tcb>();
  readonly #seed: number;
  /** The last one found: packets come in bunches. */
  #recent: Tcb | undefined;
  size = 0;

  /** @param seed secret, so that nobody can aim many connections at one bucket. */
  constructor(seed: number) {
    this.#seed = seed;
  }

  find(key: FlowKey): Tcb | undefined {
    if (this.#recent !== undefined && matches(this.#recent, key)) return this.#recent;
    let tcb = this.#buckets.get(this.#hash(key.data, key.localAt, key.localPort, key.data, key.remoteAt, key.remotePort, key.length));
    while (tcb !== undefined && !matches(tcb, key)) tcb = tcb.flowNext;
    if (tcb !== undefined) this.#recent = tcb;
    return tcb;
  }

  add(tcb: Tcb): void {
    tcb.flowHash = this.#hash(tcb.localIp, 0, tcb.local.port, tcb.remoteIp, 0, tcb.remote.port, tcb.localIp.length);
    tcb.flowNext = this.#buckets.get(tcb.flowHash);
    this.#buckets.set(tcb.flowHash, tcb);
    this.size++;
  }

  remove(tcb: Tcb): void {
    if (this.#recent === tcb) this.#recent = undefined;
    const first = this.#buckets.get(tcb.flowHash);
    if (first === undefined) return;
    if (first === tcb) {
      if (tcb.flowNext === undefined) this.#buckets.delete(tcb.flowHash);
      else this.#buckets.set(tcb.flowHash, tcb.flowNext);
    } else {
      let before = first;
      while (before.flowNext !== undefined && before.flowNext !== tcb) before = before.flowNext;
      if (before.flowNext === undefined) return;
      before.flowNext = tcb.flowNext;
    }
    tcb.flowNext = undefined;
    this.size--;
  }

  /** Every connection, as a list: it may be changed while one walks. */
  all(): Tcb[] {
    const list: Tcb[] = [];
    for (const first of this.#buckets.values())
      for (let tcb: Tcb | undefined = first; tcb !== undefined; tcb = tcb.flowNext) list.push(tcb);
    return list;
  }

  #hash(
    local: Uint8Array,
    localAt: number,
    localPort: number,
    remote: Uint8Array,
    remoteAt: number,
    remotePort: number,
    length: number,
  ): number {
    let hash = mix(this.#seed, (localPort << 16) | remotePort);
    for (let i = 0; i < length; i += 4) hash = mix(mix(hash, getI32(remote, remoteAt + i)), getI32(local, localAt + i));
    return hash;
  }
}

function matches(tcb: Tcb, key: FlowKey): boolean {
  return (
    tcb.remote.port === key.remotePort &&
    tcb.local.port === key.localPort &&
    tcb.localIp.length === key.length &&
    sameOctets(tcb.remoteIp, 0, key.data, key.remoteAt, key.length) &&
    sameOctets(tcb.localIp, 0, key.data, key.localAt, key.length)
  );
}

/** A round of MurmurHash3's mixing (Appleby, public domain). */
function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = (k << 15) | (k >>> 17);
  let h = hash ^ Math.imul(k, 0x1b873593);
  h = (h << 13) | (h >>> 19);
  return (Math.imul(h, 5) + 0xe6546b64) | 0;
}
