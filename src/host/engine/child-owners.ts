import { MultiMap } from '../../core/bytes/multi-map.ts';
import type { Millis } from '../../core/ike/effects.ts';

/** Which CHILD_SAs an IKE SA has; an IKE rekey hands them on (RFC 7296 §2.8). */
export class ChildOwners {
  readonly #owner = new Map<number, number>();
  readonly #children = new MultiMap<number, number>();

  own(child: number, ikeSa: number): void {
    this.forget(child);
    this.#owner.set(child, ikeSa);
    this.#children.add(ikeSa, child);
  }

  forget(child: number): void {
    const ikeSa = this.#owner.get(child);
    if (ikeSa === undefined) return;
    this.#owner.delete(child);
    this.#children.delete(ikeSa, child);
  }

  ownerOf(child: number): number | undefined {
    return this.#owner.get(child);
  }

  /** The latest of what `lastUse` says of the children of an IKE SA. */
  lastSent(ikeSa: number, lastUse: (child: number) => Millis | undefined): Millis | undefined {
    let latest: Millis | undefined;
    for (const child of this.#children.of(ikeSa)) {
      const used = lastUse(child);
      if (used !== undefined && (latest === undefined || used > latest)) latest = used;
    }
    return latest;
  }
}
