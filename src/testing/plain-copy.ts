import { InternalError } from '../core/bytes/index.ts';

/**
 * What would be left of a value that was written down and read again: a copy of plain data that shares nothing with it. As
 * `structuredClone`, for less, and stricter: data that is not plain throws.
 */
export function plainCopy<T>(value: T): T {
  return copy(value) as T;
}

function copy(value: unknown): unknown {
  if (typeof value === 'function' || typeof value === 'symbol') throw new InternalError(`a ${typeof value} is no plain data`);
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return value.slice();
  if (Array.isArray(value)) return value.map(copy);
  if (Object.getPrototypeOf(value) !== Object.prototype) throw new InternalError(`a ${value.constructor.name} is no plain data`);
  const made: Record<string, unknown> = {};
  for (const key in value) made[key] = copy((value as Record<string, unknown>)[key]);
  return made;
}
