/** Several values for a key. Mostly there is one of them, and of such keys there may be thousands: then it stands for itself, without a Set. */
export class MultiMap<K, V extends number | object> {
  readonly #one = new Map<K, V>();
  readonly #several = new Map<K, Set<V>>();

  of(key: K): Iterable<V> {
    const several = this.#several.get(key);
    if (several !== undefined) return several;
    const one = this.#one.get(key);
    return one === undefined ? NOTHING : [one];
  }

  add(key: K, value: V): void {
    const several = this.#several.get(key);
    if (several !== undefined) return void several.add(value);
    const one = this.#one.get(key);
    if (one === undefined) this.#one.set(key, value);
    else if (one !== value) {
      this.#one.delete(key);
      this.#several.set(key, new Set([one, value]));
    }
  }

  delete(key: K, value: V): void {
    const several = this.#several.get(key);
    if (several === undefined) {
      if (this.#one.get(key) === value) this.#one.delete(key);
    } else if (several.delete(value) && several.size === 0) this.#several.delete(key);
  }
}

const NOTHING: readonly never[] = [];
