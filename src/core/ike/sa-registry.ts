import { concat, toHex } from '../bytes/bytes.ts';
import { withLast, without } from '../bytes/lists.ts';
import { MultiMap } from '../bytes/multi-map.ts';
import { type Identification, isAddressRange, type TrafficSelector } from '../wire/index.ts';
import type { ChildSa } from './child-sa.ts';
import { canonicalOctets } from './identity.ts';
import type { IkeSa } from './ike-sa.ts';

/** Which SAs there are, found by what messages, peers and policies call them. */
export class SaRegistry {
  readonly ikeSas = new Map<number, IkeSa>();
  readonly #bySpi = new Map<string, IkeSa>();
  readonly #byPeer = new MultiMap<string, IkeSa>();
  readonly #children = new Map<number, ChildSa>();
  readonly #childSpis = new Set<number>();
  readonly #childrenByPlace = new MultiMap<string, ChildSa>();

  add(sa: IkeSa): void {
    this.ikeSas.set(sa.id, sa);
    this.#bySpi.set(toHex(sa.ownSpi), sa);
  }

  remove(sa: IkeSa): void {
    this.ikeSas.delete(sa.id);
    this.#bySpi.delete(toHex(sa.ownSpi));
    if (sa.remoteId !== undefined) this.#byPeer.delete(peerKey(sa.remoteId), sa);
  }

  /** @param spi of ours, in hexadecimal */
  bySpi(spi: string): IkeSa | undefined {
    return this.#bySpi.get(spi);
  }

  noteProven(sa: IkeSa): void {
    if (sa.remoteId !== undefined) this.#byPeer.add(peerKey(sa.remoteId), sa);
  }

  provenAs(id: Identification): Iterable<IkeSa> {
    return this.#byPeer.of(peerKey(id));
  }

  addChild(sa: IkeSa, child: ChildSa): void {
    sa.children = withLast(sa.children, child);
    this.#children.set(child.id, child);
    this.#childSpis.add(child.inboundSpi);
    this.#childrenByPlace.add(placeOf(child.remoteTs), child);
  }

  removeChild(child: ChildSa): void {
    const sa = this.ikeSas.get(child.ikeSa);
    if (sa) sa.children = without(sa.children, child);
    this.#children.delete(child.id);
    this.#childSpis.delete(child.inboundSpi);
    this.#childrenByPlace.delete(placeOf(child.remoteTs), child);
  }

  child(id: number): ChildSa | undefined {
    return this.#children.get(id);
  }

  hasInboundSpi(spi: number): boolean {
    return this.#childSpis.has(spi);
  }

  childrenTowards(remoteTs: readonly TrafficSelector[]): Iterable<ChildSa> {
    return this.#childrenByPlace.of(placeOf(remoteTs));
  }
}

/** Where the traffic of a child goes, well enough told to find one among thousands. */
const placeOf = ([first]: readonly TrafficSelector[]): string => (first !== undefined && isAddressRange(first) ? toHex(first.start) : '');

/** In one piece, as `toHex` gives it. */
const peerKey = (id: Identification): string => toHex(concat(Uint8Array.of(id.idType), canonicalOctets(id)));
