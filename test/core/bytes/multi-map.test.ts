import { expect, test } from 'vitest';
import { MultiMap } from '../../../src/core/bytes/multi-map.ts';

test('a key has the values that were added and not taken out, each once', () => {
  const map = new MultiMap<string, number>();
  const model = new Map<string, Set<number>>();
  let state = 1;
  for (let i = 0; i < 4000; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const key = 'abc'[(state >>> 8) % 3]!;
    const value = (state >>> 16) % 4;
    const values = model.get(key) ?? new Set();
    model.set(key, values);
    if (((state >>> 24) & 1) === 0) {
      map.add(key, value);
      values.add(value);
    } else {
      map.delete(key, value);
      values.delete(value);
    }
    for (const each of 'abcd') expect([...map.of(each)].sort()).toEqual([...(model.get(each) ?? [])].sort());
  }
});

test('objects are told apart by identity', () => {
  const map = new MultiMap<number, object>();
  const [one, other] = [{}, {}];
  map.add(1, one);
  map.delete(1, other);
  expect([...map.of(1)]).toEqual([one]);
  map.add(1, other);
  map.delete(1, one);
  expect([...map.of(1)][0]).toBe(other);
});
