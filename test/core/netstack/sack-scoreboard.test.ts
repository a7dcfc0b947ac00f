import { describe, expect, test } from 'vitest';
import { SackScoreboard } from '../../../src/core/netstack/tcp/sack-scoreboard.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';

const SMSS = 1000;

interface Segment {
  start: number;
  readonly end: number;
  sacked: boolean;
  lost: boolean;
  resent: boolean;
}

/** RFC 6675 §4 word for word over a list of segments: the slow and clear twin. Numbers do not wrap here. */
class Twin {
  segments: Segment[] = [];

  acknowledge(una: number): void {
    this.segments = this.segments.filter((segment) => segment.end > una);
    if (this.segments[0] !== undefined) this.segments[0].start = Math.max(this.segments[0].start, una);
  }

  update(blocks: readonly (readonly [number, number])[], una: number, nxt: number): number {
    let fresh = 0;
    for (const [left, right] of blocks) {
      if (right <= left || left < una || right > nxt) continue;
      for (const segment of this.segments) {
        if (segment.start < left || segment.end > right || segment.sacked) continue;
        segment.sacked = true;
        fresh += segment.end - segment.start;
      }
    }
    return fresh;
  }

  isLost(seq: number): boolean {
    const above = this.segments.filter((segment) => segment.sacked && segment.start > seq);
    const octets = above.reduce((sum, segment) => sum + segment.end - segment.start, 0);
    const runs = above.filter((segment) => !above.some((other) => other.end === segment.start)).length;
    return runs >= 3 || octets > 2 * SMSS;
  }

  detectLoss(): void {
    for (const segment of this.segments) if (!segment.sacked && !segment.resent && this.isLost(segment.start)) segment.lost = true;
  }

  get pipe(): number {
    let pipe = 0;
    for (const segment of this.segments) {
      if (segment.sacked) continue;
      if (!segment.lost) pipe += segment.end - segment.start;
      if (segment.resent) pipe += segment.end - segment.start;
    }
    return pipe;
  }

  get nextLost(): number {
    return this.segments.findIndex((segment) => segment.lost && !segment.resent && !segment.sacked);
  }
}

test.each(Array.from({ length: 25 }, (_, seed) => seed))('RFC 6675 §4 against its slow twin, seed %i', (seed) => {
  const random = new SeededRandom(seed, 'scoreboard');
  const board = new SackScoreboard();
  const twin = new Twin();
  const base = random.u32();
  const wire = (seq: number): number => (base + seq) | 0;
  let [una, nxt, now] = [0, 0, 0];
  const edges = new Int32Array(8);
  let blocks: [number, number][] = [];
  for (let step = 0; step < 250; step++) {
    now += random.fraction();
    const choice = random.between(0, 9);
    if (choice < 4) {
      for (let i = random.between(1, 6); i > 0; i--) {
        const length = random.chance(0.8) ? SMSS : random.between(1, SMSS);
        board.sent(wire(nxt), wire(nxt + length), now);
        twin.segments.push({ start: nxt, end: nxt + length, sacked: false, lost: false, resent: false });
        nxt += length;
      }
    } else if (choice < 7 && twin.segments.length > 2) {
      const picked = random.pick(twin.segments);
      const right = random.chance(0.5) ? picked.end : Math.min(nxt, picked.end + random.between(0, 4000));
      const left = Math.max(una, picked.start - (random.chance(0.3) ? random.between(0, 500) : 0));
      blocks = [[left, right] as [number, number], ...blocks.filter(([l, r]) => l >= una && (r < left || l > right))].slice(0, 3);
      for (const [i, [l, r]] of blocks.entries()) edges.set([wire(l), wire(r)], 2 * i);
      board.acknowledgmentBegins();
      expect(board.update(edges, blocks.length, wire(una), wire(nxt), now, 10)).toBe(twin.update(blocks, una, nxt));
      board.detectLoss(SMSS);
      twin.detectLoss();
    } else if (choice === 7 && twin.segments.length > 0) {
      const first = twin.segments[0]!;
      // Never into what was SACKed: a receiver would acknowledge that too.
      una = random.chance(0.8) ? first.end : first.start + Math.floor((first.end - first.start) / 2);
      while (twin.segments.some((segment) => segment.sacked && segment.start === una))
        una = twin.segments.find((segment) => segment.start === una)!.end;
      board.acknowledgmentBegins();
      board.acknowledge(wire(una), now, 10);
      twin.acknowledge(una);
    } else if (choice === 8) {
      const index = board.nextLost();
      expect(index).toBe(twin.nextLost);
      if (index >= 0) {
        board.resent(index, now);
        twin.segments[index]!.resent = true;
      }
    } else if (random.chance(0.1)) {
      board.markAllLost();
      for (const segment of twin.segments) {
        segment.resent = false;
        if (!segment.sacked) segment.lost = true;
      }
    }
    expect({ count: board.count, flight: board.flight, pipe: board.pipe, waiting: board.hasWaiting }).toEqual({
      count: twin.segments.length,
      flight: nxt - una,
      pipe: twin.pipe,
      waiting: twin.nextLost >= 0,
    });
    expect(board.sacked).toBe(twin.segments.reduce((sum, segment) => sum + (segment.sacked ? segment.end - segment.start : 0), 0));
  }
});

/** A board with `count` segments of 1000 octets, sent a millisecond apart from time 0 on. */
function boardOf(count: number): SackScoreboard {
  const board = new SackScoreboard();
  for (let i = 0; i < count; i++) board.sent(1000 * i, 1000 * (i + 1), i);
  return board;
}

function sack(board: SackScoreboard, left: number, right: number, now: number, una = 0): void {
  board.acknowledgmentBegins();
  board.update(Int32Array.of(1000 * left, 1000 * right), 1, 1000 * una, 1_000_000, now, 10);
}

describe('RACK (RFC 8985 §6.2)', () => {
  test('what was sent before something that arrived is lost once the window has passed', () => {
    const board = boardOf(5);
    sack(board, 1, 2, 21);
    // Segment 1 was sent at 1 and took 20; segment 0 left at 0: due at 0 + 20 + 2.5.
    expect(board.detectLate(false, 21, 10, 20)).toBeCloseTo(1.5);
    expect(board.hasWaiting).toBe(false);
    expect(board.detectLate(false, 22.5, 10, 20)).toBe(0);
    expect(board.nextLost()).toBe(0);
  });

  test('in recovery at once, as long as nothing overtook', () => {
    const board = boardOf(5);
    sack(board, 1, 2, 21);
    expect(board.detectLate(true, 21, 10, 20)).toBe(0);
    expect(board.nextLost()).toBe(0);
  });

  test('a retransmission is lost when something sent after it arrives, not before', () => {
    const board = boardOf(5);
    sack(board, 1, 4, 24);
    board.detectLate(true, 24, 10, 20);
    board.resent(board.nextLost(), 25);
    sack(board, 1, 5, 26);
    board.detectLate(true, 26, 10, 20);
    expect(board.hasWaiting).toBe(false);
    board.sent(5000, 6000, 27);
    sack(board, 1, 6, 47);
    board.detectLate(true, 47, 10, 20);
    expect(board.nextLost()).toBe(0);
  });

  test('an arrival out of order is noticed; afterwards the window counts even in recovery', () => {
    const board = boardOf(10);
    sack(board, 2, 3, 22);
    sack(board, 1, 2, 22.5);
    expect(board.reorderingSeen).toBe(true);
    board.acknowledgmentBegins();
    board.acknowledge(3000, 23, 10);
    sack(board, 4, 5, 24, 3);
    expect(board.detectLate(true, 24, 10, 20)).toBeCloseTo(1.5);
    expect(board.hasWaiting).toBe(false);
  });

  test('blocks of one acknowledgment in any order are no reordering', () => {
    const board = boardOf(10);
    board.acknowledgmentBegins();
    board.update(Int32Array.of(8000, 9000, 5000, 6000, 2000, 3000), 3, 0, 10_000, 30, 10);
    expect(board.reorderingSeen).toBe(false);
  });

  test('RFC 8985 §6.2 (4): D-SACK widens the window, sixteen recoveries narrow it again', () => {
    const board = boardOf(3);
    board.acknowledgmentBegins();
    board.update(Int32Array.of(-1000, 0), 1, 0, 3000, 20, 10);
    sack(board, 1, 2, 21);
    // Twice a quarter of the smallest round trip: 0 + 20 + 5.
    expect(board.detectLate(false, 21, 10, 20)).toBeCloseTo(4);
    for (let i = 0; i < 16; i++) board.recovered();
    expect(board.detectLate(false, 21, 10, 20)).toBeCloseTo(1.5);
  });
});

test('RFC 4015: what was held for lost and was not may be found lost later', () => {
  const board = boardOf(8);
  sack(board, 1, 4, 24);
  board.detectLoss(SMSS);
  expect(board.nextLost()).toBe(0);
  board.markNothingLost();
  expect(board.hasWaiting).toBe(false);
  sack(board, 1, 5, 25);
  board.detectLoss(SMSS);
  expect(board.nextLost()).toBe(0);
});

test('whether the oldest segment was sent again', () => {
  const board = boardOf(8);
  sack(board, 1, 4, 24);
  board.detectLoss(SMSS);
  expect(board.oldestWasResent).toBe(false);
  board.resent(board.nextLost(), 25);
  expect(board.oldestWasResent).toBe(true);
  board.acknowledgmentBegins();
  board.acknowledge(4000, 45, 10);
  expect(board.oldestWasResent).toBe(false);
});

describe('resegment', () => {
  test('cuts what is too long, keeps what is known, counts the cut as lost', () => {
    const board = boardOf(4);
    board.sent(4000, 4300, 4);
    sack(board, 1, 2, 20);
    board.resegment(600);
    expect(Array.from({ length: board.count }, (_, i) => [board.startOf(i), board.endOf(i)])).toEqual([
      [0, 600],
      [600, 1000],
      [1000, 1600],
      [1600, 2000],
      [2000, 2600],
      [2600, 3000],
      [3000, 3600],
      [3600, 4000],
      [4000, 4300],
    ]);
    expect([board.flight, board.sacked, board.lost, board.pipe]).toEqual([4300, 1000, 3000, 300]);
  });

  test('works on a ring that has wrapped', () => {
    const board = new SackScoreboard();
    let [start, end] = [0, 0];
    for (let i = 0; i < 100; i++) {
      board.sent(end, end + 1000, i);
      end += 1000;
      if (i < 20) continue;
      start += 1000;
      board.acknowledgmentBegins();
      board.acknowledge(start, i, 1);
    }
    board.resegment(500);
    expect([board.count, board.flight, board.lost, board.startOf(0)]).toEqual([40, 20_000, 20_000, start]);
  });
});

test('a full board says so', () => {
  const board = new SackScoreboard();
  let sent = 0;
  while (board.room > 0) {
    board.sent(sent, sent + 1, 0);
    sent++;
  }
  expect(sent).toBe(32768);
  board.acknowledge(sent, 1, 1);
  expect([board.count, board.flight, board.room]).toEqual([0, 0, 32768]);
});
