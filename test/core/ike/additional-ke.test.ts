import { describe, expect, test } from 'vitest';
import { chooseDistinct, withFallbacks, withoutAdditional } from '../../../src/core/ike/additional-ke.ts';
import { acceptIke, offer, selectChild, selectIke, suiteText, withoutKe } from '../../../src/core/ike/proposals.ts';
import type { Proposal } from '../../../src/core/wire/index.ts';
import { espProposal, ikeProposal } from '../../../src/testing/index.ts';
import { expectAtOnce } from '../../support/at-once.ts';

const ike = (...words: string[]): Proposal[] => words.map((w, i) => ({ ...ikeProposal(`aes256gcm16-prfsha384-${w}`), number: i + 1 }));
const suite = (ours: readonly Proposal[], theirs: readonly Proposal[]): string | undefined => {
  const selected = selectIke(ours, theirs);
  return selected && suiteText(selected.suite).replace('aes256gcm16/prfsha384/', '');
};
const sent = (ours: readonly Proposal[], theirs: readonly Proposal[]) =>
  selectIke(ours, theirs)
    ?.proposal.transforms.filter((t) => t.type >= 4)
    .map(({ type, id }) => [type, id]);

describe('a method for each list, none twice but NONE (RFC 9370 §2.2.1)', () => {
  test.each<[number[][], number[] | undefined]>([
    [[], []],
    [[[31]], [31]],
    [[[]], undefined],
    [[[31], [31]], undefined],
    [
      [[31, 19], [31]],
      [19, 31],
    ],
    [
      [
        [31, 19],
        [31, 19],
      ],
      [31, 19],
    ],
    [
      [
        [31, 19, 20],
        [31, 19],
        [31, 19],
      ],
      [20, 31, 19],
    ],
    [
      [
        [31, 19],
        [31, 19],
        [31, 19],
      ],
      undefined,
    ],
    [
      [[31], [31, 0]],
      [31, 0],
    ],
    [
      [[31], [0, 36], [0, 36]],
      [31, 0, 0],
    ],
    [
      [[31], [36, 0], [36, 0], [36]],
      [31, 0, 0, 36],
    ],
    [
      [[31], [36, 37], [37, 0], [36]],
      [31, 37, 0, 36],
    ],
  ])('%j', (lists, chosen) => {
    expect(chooseDistinct(lists)).toEqual(chosen);
  });

  test('is the one that trying all of them in order of preference finds first, or none where that finds none', () => {
    let seed = 1;
    const draw = (below: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed % below;
    };
    for (let round = 0; round < 2000; round++) {
      const lists = Array.from({ length: 1 + draw(5) }, () => [...new Set(Array.from({ length: draw(5) }, () => draw(5)))]);
      expect(chooseDistinct(lists), JSON.stringify(lists)).toEqual(firstOfAll(lists, []));
    }
  });

  test('costs little where a stranger makes it hard: seven methods for eight lists', () => {
    const methods = [19, 20, 21, 31, 32, 35, 36];
    expectAtOnce(() => {
      for (let i = 0; i < 255; i++) expect(chooseDistinct(Array.from({ length: 8 }, () => methods))).toBeUndefined();
    }, 1000);
  });
});

describe('selection with additional key exchanges', () => {
  test.each<[ours: string, theirs: string, expected: string | undefined]>([
    ['x25519-ke1_mlkem768', 'x25519-ke1_mlkem768', 'x25519/ke1_mlkem768'],
    ['x25519-ke1_mlkem768-ke1_mlkem1024', 'x25519-ke1_mlkem512-ke1_mlkem1024', 'x25519/ke1_mlkem1024'],
    ['x25519-ke1_mlkem768', 'x25519', undefined],
    ['x25519', 'x25519-ke1_mlkem768', undefined],
    ['x25519-ke1_mlkem768-ke1_none', 'x25519', 'x25519'],
    ['x25519', 'x25519-ke1_mlkem768-ke1_none', 'x25519'],
    ['x25519-ke1_none-ke1_mlkem768', 'x25519-ke1_mlkem768-ke1_none', 'x25519'],
    ['x25519-ke1_mlkem768', 'x25519-ke1_mlkem768-ke1_none', 'x25519/ke1_mlkem768'],
    ['x25519-ke1_mlkem768', 'x25519-ke2_mlkem768', undefined],
    ['x25519-ke2_mlkem768', 'x25519-ke2_mlkem768', 'x25519/ke2_mlkem768'],
    ['x25519-ke1_x25519', 'x25519-ke1_x25519', undefined],
    ['x25519-ecp256-ke1_x25519', 'x25519-ecp256-ke1_x25519', 'ecp256/ke1_x25519'],
    ['x25519-ke1_mlkem768-ke2_mlkem768-ke2_mlkem512', 'x25519-ke1_mlkem768-ke2_mlkem768-ke2_mlkem512', 'x25519/ke1_mlkem768/ke2_mlkem512'],
  ])('we have %s, the offer is %s', (ours, theirs, expected) => {
    expect(suite(ike(ours), ike(theirs))).toBe(expected);
  });

  test('NONE is said where it was offered by name', () => {
    expect(sent(ike('x25519'), ike('x25519-ke1_mlkem768-ke1_none'))).toEqual([
      [4, 31],
      [6, 0],
    ]);
    expect(sent(ike('x25519-ke1_mlkem768-ke1_none'), ike('x25519'))).toEqual([[4, 31]]);
  });

  test('the initiator takes an answer that says NONE, one that leaves it out, and none that repeats a method or was not offered', () => {
    const offered = offer(ike('x25519-ecp256-ke1_mlkem768-ke1_ecp256-ke1_none-ke2_mlkem512'), new Uint8Array(0));
    const answered = (words: string) => acceptIke(offered, ike(words))?.suite.additional;
    expect(answered('x25519-ke1_none-ke2_mlkem512')).toEqual([{ type: 7, method: 35 }]);
    expect(answered('x25519-ke2_mlkem512')).toEqual([{ type: 7, method: 35 }]);
    expect(answered('x25519-ke1_ecp256-ke2_mlkem512')).toEqual([
      { type: 6, method: 19 },
      { type: 7, method: 35 },
    ]);
    expect(answered('ecp256-ke1_ecp256-ke2_mlkem512')).toBeUndefined();
    expect(answered('x25519-ke1_mlkem768')).toBeUndefined();
    expect(answered('x25519-ke2_mlkem512-ke3_mlkem1024')).toBeUndefined();
  });

  test('in IKE_AUTH they mean nothing, in an offer or in a policy', () => {
    const [own] = withoutKe([espProposal('aes128gcm16-x25519-ke1_mlkem768')]);
    expect(own!.transforms.map((t) => t.type)).toEqual([1, 5]);
    const theirs = { ...espProposal('aes128gcm16-x25519-ke1_mlkem768'), spi: Uint8Array.of(1, 2, 3, 4) };
    expect(selectChild([own!], [theirs], false)?.suite.additional).toBeUndefined();
  });

  test('a child: additional key exchanges need a first one', () => {
    const own = [espProposal('aes128gcm16-ke1_mlkem768')];
    expect(selectChild(own, [{ ...own[0]!, spi: Uint8Array.of(1, 2, 3, 4) }], true)).toBeUndefined();
  });
});

describe('beside them, for those who do not know them', () => {
  const words = (proposals: readonly Proposal[]) =>
    proposals.map((p) => p.transforms.filter((t) => t.type >= 4).map(({ type, id }) => `${type}:${id}`));

  test('a proposal without transform types 6 to 12 goes behind one in which each of them may be NONE', () => {
    expect(words(withFallbacks(ike('x25519-ke1_mlkem768-ke1_none', 'ecp256')))).toEqual([['4:31', '6:36', '6:0'], ['4:31'], ['4:19']]);
    expect(words(withFallbacks(ike('x25519-ke1_mlkem768-ke1_none-ke2_ecp384')))).toEqual([['4:31', '6:36', '6:0', '7:20']]);
    expect(words(withFallbacks(ike('x25519')))).toEqual([['4:31']]);
  });

  test('numbers do not run out', () => {
    const many = withFallbacks(Array.from({ length: 255 }, () => ike('x25519-ke1_mlkem768-ke1_none')[0]!));
    expect(many).toHaveLength(255);
  });

  test('what insists on one is nothing to who cannot make it', () => {
    expect(words(withoutAdditional(ike('x25519-ke1_mlkem768', 'x25519-ke1_mlkem768-ke1_none', 'ecp256')))).toEqual([['4:31'], ['4:19']]);
  });
});

/** All choices in order of preference, the slow way. */
function firstOfAll(lists: readonly (readonly number[])[], chosen: readonly number[]): number[] | undefined {
  const list = lists[chosen.length];
  if (list === undefined) return [...chosen];
  for (const method of list) {
    const found = method !== 0 && chosen.includes(method) ? undefined : firstOfAll(lists, [...chosen, method]);
    if (found) return found;
  }
  return undefined;
}
