/** A registry of IANA as an open table: names for the numbers that are registered, while any other number stays a plain number. */
export type Registry = Readonly<Record<string, number>>;

/** The registered name of `value`, or the number itself in decimal. */
export function nameOf(registry: Registry, value: number): string {
  return registeredName(registry, value) ?? String(value);
}

/** The registered name of `value`, if there is one. Where a value has two names, the first in the table counts. */
export function registeredName(registry: Registry, value: number): string | undefined {
  let names = inverted.get(registry);
  if (names === undefined) {
    names = new Map();
    for (const [name, number] of Object.entries(registry)) if (!names.has(number)) names.set(number, name);
    inverted.set(registry, names);
  }
  return names.get(value);
}

const inverted = new WeakMap<Registry, Map<number, string>>();
