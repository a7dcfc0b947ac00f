import { describe, expect, test } from 'vitest';
import { fromHex, utf8 } from '../../../src/core/bytes/index.ts';
import { isPuzzleSolution, PuzzleSearch, prf } from '../../../src/core/crypto/index.ts';

/** The cookie of RFC 8019 §4.4. The keys printed there are none under HMAC-SHA2-256; these were found by another implementation of it. */
const COOKIE = fromHex('739ae7492d8a810cf5e8dc0f9626c9dda773c5a3');
const EIGHTEEN = ['00cd8a', '0390f7', '088288', '10efbe'];
const SHA2_256 = prf(5)!;
const solves = (keys: readonly string[], difficulty: number, transform = SHA2_256) =>
  isPuzzleSolution(fromHex(keys.join('')), transform, difficulty, COOKIE);

describe('puzzles (RFC 8019 §7.1.3)', () => {
  test('a solution is as good as its weakest key', () => {
    expect([solves(EIGHTEEN, 18), solves(EIGHTEEN, 19)]).toEqual([true, false]);
  });

  test.each<[string, readonly string[]]>([
    ['one key of four is wrong', [...EIGHTEEN.slice(0, 3), '10efbf']],
    ['one key stands in it twice', [...EIGHTEEN.slice(0, 3), EIGHTEEN[0]!]],
    ['there are three', EIGHTEEN.slice(0, 3)],
    ['an octet is missing', [...EIGHTEEN.slice(0, 3), '10ef']],
    ['it is empty', []],
    ['keys are longer than those of the PRF', Array.from({ length: 4 }, (_, i) => `${'00'.repeat(32)}0${i}`)],
  ])('none where %s', (_what, keys) => {
    expect(solves(keys, 18)).toBe(false);
  });

  test.each([
    ['HMAC-SHA2-256', 5, 4],
    ['AES128-XCBC, whose keys have one size', 4, 16],
  ])('a search by %s finds what is one', (_name, id, length) => {
    const transform = prf(id)!;
    const octets = utf8('a cookie');
    const search = new PuzzleSearch(transform, 9, octets);
    expect(search.run(3)).toBeUndefined();
    const solution = search.run(100_000)!;
    expect(solution).toHaveLength(4 * length);
    expect(isPuzzleSolution(solution, transform, 9, octets)).toBe(true);
    expect(isPuzzleSolution(solution, transform, 9, utf8('another'))).toBe(false);
    expect(search.exhausted).toBe(false);
  });
});
