import { describe, expect, test } from 'vitest';
import { utf8 } from '../../../src/core/bytes/index.ts';
import { systemRandom } from '../../../src/core/crypto/index.ts';
import { CHILD_SA_STATES, CHILD_SA_TRANSITIONS } from '../../../src/core/ike/child-sa-state.ts';
import { COLLISIONS, rivalsMet } from '../../../src/core/ike/collisions.ts';
import { messageOctets, Reassembly } from '../../../src/core/ike/fragments.ts';
import { sameIdentity } from '../../../src/core/ike/identity.ts';
import { IKE_SA_STATES, IKE_SA_TRANSITIONS } from '../../../src/core/ike/ike-sa-state.ts';
import { MessageWindow } from '../../../src/core/ike/message-window.ts';
import { CookieJar } from '../../../src/core/ike/tasks/cookie.ts';
import { newTimer, TimerQueue } from '../../../src/core/ike/timers.ts';

describe('timers', () => {
  test('fire in order of time, moved and cleared ones included, and leave nothing behind', () => {
    const queue = new TimerQueue();
    let seed = 7;
    const draw = () => (seed = (seed * 1103515245 + 12345) % 2147483648);
    const timers = Array.from({ length: 500 }, (_, i) => newTimer('retransmit', i));
    for (const timer of timers) queue.arm(timer, draw() % 1000);
    for (const timer of timers) if (draw() % 3 === 0) queue.arm(timer, draw() % 1000);
    for (const timer of timers) if (draw() % 5 === 0) queue.clear(timer);
    const expected = timers
      .filter((t) => t.slot >= 0)
      .map((t) => t.at)
      .sort((a, b) => a - b);
    const fired: number[] = [];
    for (let timer = queue.due(1000); timer; timer = queue.due(1000)) fired.push(timer.at);
    expect(fired).toEqual(expected);
    expect(queue.next()).toBeUndefined();
  });

  test('what is not due stays', () => {
    const queue = new TimerQueue();
    queue.arm(newTimer('retransmit', 1), 100);
    expect(queue.due(99)).toBeUndefined();
    expect(queue.next()).toBe(100);
  });
});

describe('the message window (RFC 7296 §2.1–2.3)', () => {
  const answer = [new Uint8Array([1])];

  test('a request is new once, in progress until it is answered, and a repeat afterwards', () => {
    const window = new MessageWindow();
    expect(window.judge(0)).toBe('new');
    window.begin(0);
    expect(window.judge(0)).toBe('in-progress');
    window.answer(0, answer);
    expect(window.judge(0)).toBe('repeat');
    expect(window.answerTo(0)).toBe(answer);
    expect(window.judge(1)).toBe('new');
  });

  test('what is ahead of the window or behind it is outside', () => {
    const window = new MessageWindow();
    for (const id of [0, 1, 2]) {
      window.begin(id);
      window.answer(id, answer);
    }
    expect(window.judge(0)).toBe('outside');
    expect(window.judge(2)).toBe('repeat');
    expect(window.judge(4)).toBe('outside');
  });

  test('within the window requests come in any order, and the answers to as many as were promised are kept', () => {
    const window = new MessageWindow({ nextRequest: 0, nextExpected: 10, receiveSize: 3 });
    expect([9, 10, 11, 12, 13].map((id) => window.judge(id))).toEqual(['outside', 'new', 'new', 'new', 'outside']);
    expect([12, 10, 11].map((id) => window.begin(id))).toEqual([true, false, false]);
    window.answer(12, answer);
    window.answer(10, answer);
    // 11 is still worked on: the window stands at it
    expect([10, 11, 12, 13, 14].map((id) => window.judge(id))).toEqual(['repeat', 'in-progress', 'repeat', 'new', 'outside']);
    window.answer(11, answer);
    expect(window.nextExpected).toBe(13);
    window.begin(13);
    window.answer(13, answer);
    expect(window.answers.map(([id]) => id).sort()).toEqual([11, 12, 13]);
    expect(window.judge(10)).toBe('outside');
  });

  test('what a former life answered out of order is a repeat, and what it did not is new', () => {
    const answers = [[7, answer]] as const;
    const window = new MessageWindow({ nextRequest: 4, doubtful: 2, nextExpected: 5, receiveSize: 3, answers });
    expect([4, 5, 6, 7, 8].map((id) => window.judge(id))).toEqual(['outside', 'new', 'new', 'repeat', 'outside']);
    expect([3, 4, 5, 6].map((id) => window.isDoubtful(id))).toEqual([false, true, true, false]);
    expect(window.begin(6)).toBe(false);
  });

  test('ours go out in the order in which they were made, when the oldest lets them', () => {
    const window = new MessageWindow();
    window.sendSize = 2;
    const sent: string[] = [];
    const send = (what: string) => () => {
      sent.push(what);
      window.sent({ messageId: window.allocate() } as Parameters<MessageWindow['sent']>[0]);
    };
    send('first')();
    send('second')();
    expect(window.hasRoom).toBe(false);
    window.whenRoom(send('third'));
    const takeBack = window.whenRoom(send('fourth'));
    window.whenRoom(send('fifth'));
    window.answered(1);
    window.release();
    expect(sent).toEqual(['first', 'second']);
    takeBack();
    window.answered(0);
    window.release();
    expect(sent).toEqual(['first', 'second', 'third', 'fifth']);
    expect([window.oldest, window.nextRequest, window.hasRoom]).toEqual([2, 4, false]);
  });
});

describe('fragments (RFC 7383 §2.6)', () => {
  const piece = (fragment: number, total: number, text: string) => ({
    fragment,
    total,
    inner: fragment === 1 ? 33 : 0,
    plaintext: utf8(text),
  });

  test('come together in any order, doubles ignored', () => {
    const set = new Reassembly();
    expect(set.add(1, piece(3, 3, 'c'), 0)).toBeUndefined();
    expect(set.add(1, piece(1, 3, 'a'), 0)).toBeUndefined();
    expect(set.add(1, piece(1, 3, 'X'), 0)).toBeUndefined();
    expect(set.add(1, piece(2, 3, 'b'), 0)).toEqual({ inner: 33, plaintext: utf8('abc') });
  });

  test('a larger total begins anew, a smaller one is of the past', () => {
    const set = new Reassembly();
    set.add(1, piece(1, 2, 'old'), 0);
    expect(set.add(1, piece(1, 3, 'a'), 0)).toBeUndefined();
    expect(set.add(1, piece(2, 2, 'old'), 0)).toBeUndefined();
    set.add(1, piece(2, 3, 'b'), 0);
    expect(set.add(1, piece(3, 3, 'c'), 0)?.plaintext).toEqual(utf8('abc'));
  });

  test('of several messages at once, as many as there may be, the oldest goes for one more', () => {
    const set = new Reassembly();
    for (const id of [1, 2]) set.add(id, piece(1, 2, `${id}`), 0, 2);
    expect(set.octets).toBe(2);
    expect(set.add(2, piece(2, 2, 'b'), 0, 2)?.plaintext).toEqual(utf8('2b'));
    for (const id of [3, 4]) set.add(id, piece(1, 2, `${id}`), 0, 2);
    expect(set.octets).toBe(2);
    expect(set.add(1, piece(2, 2, 'b'), 0, 2)).toBeUndefined();
    expect(set.add(4, piece(2, 2, 'b'), 0, 2)?.plaintext).toEqual(utf8('4b'));
    set.clear();
    expect(set.octets).toBe(0);
  });

  test.each([
    [0, 3],
    [4, 3],
    [1, 0],
    [1, 65535],
  ])('fragment %i of %i is none', (fragment, total) => {
    expect(new Reassembly().add(1, piece(fragment, total, 'x'), 0)).toBeUndefined();
  });

  test('a set that would exceed what an IKE message can be is given up', () => {
    const set = new Reassembly();
    const big = { inner: 33, plaintext: new Uint8Array(40_000) };
    set.add(1, { fragment: 1, total: 3, ...big }, 0);
    set.add(1, { fragment: 2, total: 3, ...big }, 0);
    expect(set.add(1, { fragment: 3, total: 3, ...big }, 0)).toBeUndefined();
  });

  test('half a set of the other minute does not mix with a new one', () => {
    const set = new Reassembly();
    set.add(1, piece(1, 2, 'old'), 0);
    expect(set.add(1, piece(2, 2, 'b'), 60_000)).toBeUndefined();
  });

  test('the room for a message leaves out IP, UDP and the non-ESP marker', () => {
    expect(messageOctets(1280, false, false)).toBe(1252);
    expect(messageOctets(1280, true, true)).toBe(1228);
  });
});

describe('cookies (RFC 7296 §2.6)', () => {
  const from = '192.0.2.1';
  const [spi, Ni] = [new Uint8Array(8).fill(1), new Uint8Array(32).fill(2)];

  test('hold for the same address, SPI and nonce alone', () => {
    const jar = new CookieJar(systemRandom());
    const cookie = jar.bake(from, spi, Ni, 0);
    expect(jar.check(cookie, from, spi, Ni, 0)).toBe(true);
    expect(jar.check(cookie, '192.0.2.2', spi, Ni, 0)).toBe(false);
    expect(jar.check(cookie, from, Ni.subarray(0, 8), Ni, 0)).toBe(false);
    expect(jar.check(cookie, from, spi, spi, 0)).toBe(false);
    for (let i = 0; i < cookie.length; i++) expect(jar.check(cookie.with(i, cookie[i]! ^ 1), from, spi, Ni, 0)).toBe(false);
  });

  test('outlive one change of the secret and not two', () => {
    const jar = new CookieJar(systemRandom());
    const cookie = jar.bake(from, spi, Ni, 0);
    expect(jar.check(cookie, from, spi, Ni, 61_000)).toBe(true);
    expect(jar.check(cookie, from, spi, Ni, 122_000)).toBe(false);
  });
});

describe('tables', () => {
  test('every IKE SA state leads to dead, and dead to nothing', () => {
    for (const state of IKE_SA_STATES) {
      const ends = IKE_SA_TRANSITIONS[state];
      if (state !== 'dead') expect(ends).toContain('dead');
    }
    expect(IKE_SA_TRANSITIONS.dead).toEqual([]);
  });

  test('every CHILD_SA state leads to dead, and dead to nothing', () => {
    for (const state of CHILD_SA_STATES) if (state !== 'dead') expect(CHILD_SA_TRANSITIONS[state]).toContain('dead');
    expect(CHILD_SA_TRANSITIONS.dead).toEqual([]);
  });

  test('RFC 7296 §2.25.1: a child that is rekeyed, deleted or unknown', () => {
    expect(COLLISIONS.rekeyChild).toMatchObject({
      installed: 'proceed',
      rekeying: 'proceed',
      deleting: 'TEMPORARY_FAILURE',
      unknown: 'CHILD_SA_NOT_FOUND',
    });
    expect(COLLISIONS.deleteChild).toMatchObject({
      installed: 'delete-and-answer',
      rekeying: 'delete-and-answer',
      deleting: 'close-outbound',
      unknown: 'answer-without-delete',
    });
    expect(COLLISIONS.rekeyIke.busy).toBe('TEMPORARY_FAILURE');
  });

  test('RFC 7296 §2.25.2: the IKE SA', () => {
    expect(COLLISIONS.rekeyIke).toMatchObject({ established: 'proceed', rekeying: 'proceed', deleting: 'TEMPORARY_FAILURE' });
    expect(COLLISIONS.makeChild.rekeying).toBe('TEMPORARY_FAILURE');
  });

  test('RFC 7296 §2.8.1: the SA with the lowest nonce is redundant', () => {
    const [low, high] = [{ lowestNonce: new Uint8Array([1, 9]) }, { lowestNonce: new Uint8Array([2, 0]) }];
    expect(COLLISIONS.redundant[rivalsMet(low, high)]).toBe('ours');
    expect(COLLISIONS.redundant[rivalsMet(high, low)]).toBe('theirs');
  });
});

test('identities: types do not mix, names ignore the case of ASCII letters and of nothing else, keys do not', () => {
  const fqdn = (text: string) => ({ idType: 2, data: utf8(text) });
  expect(sameIdentity(fqdn('GW'), fqdn('gw'))).toBe(true);
  expect(sameIdentity(fqdn('\u212a'), fqdn('k'))).toBe(false);
  expect(sameIdentity(fqdn('gw'), { idType: 11, data: utf8('gw') })).toBe(false);
  expect(sameIdentity({ idType: 11, data: utf8('GW') }, { idType: 11, data: utf8('gw') })).toBe(false);
});
