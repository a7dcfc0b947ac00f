import type { Millis } from '../../core/ike/effects.ts';

/** Which CHILD_SAs an IKE SA has; an IKE rekey hands them on (RFC 7296 §2.8). */
export class ChildOwners {
  readonly #owner = new Map<number, number>();
  readonly #children = new Map<number, Set<number>>();

  own(child: number, ikeSa: number): void {
    this.forget(child);
    this.#owner.set(child, ikeSa);
    const siblings = this.#children.get(ikeSa) ?? new Set();
    this.#children.set(ikeSa, siblings.add(child));
  }

  forget(child: number): void {
    const ikeSa = this.#owner.get(child);
    if (ikeSa === undefined) return;
    this.#owner.delete(child);
    const siblings = this.#children.get(ikeSa);
    siblings?.delete(child);
    if (siblings?.size === 0) this.#children.delete(ikeSa);
  }

  ownerOf(child: number): number | undefined {
    return this.#owner.get(child);
  }

  /** The latest of what `lastUse` says of the children of an IKE SA. */
  lastSent(ikeSa: number, lastUse: (child: number) => Millis | undefined): Millis | undefined {
    let latest: Millis | undefined;
    for (const child of this.#children.get(ikeSa) ?? []) {
      const used = lastUse(child);
      if (used !== undefined && (latest === undefined || used > latest)) latest = used;
    }
    return latest;
  }
}
