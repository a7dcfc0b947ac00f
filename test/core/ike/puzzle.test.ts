import { describe, expect, test } from 'vitest';
import { concat, fromHex } from '../../../src/core/bytes/index.ts';
import { isPuzzleSolution, PuzzleSearch, prf, systemRandom } from '../../../src/core/crypto/index.ts';
import type { Datagram } from '../../../src/core/ike/effects.ts';
import type { Connection } from '../../../src/core/ike/index.ts';
import { CookieJar, puzzleOf } from '../../../src/core/ike/tasks/cookie.ts';
import { judgeRequest, type Puzzle, puzzleForAuth, puzzleIn, puzzleNotify } from '../../../src/core/ike/tasks/puzzle.ts';
import {
  ExchangeType,
  type IkeHeader,
  NotifyType,
  type Payload,
  PayloadType,
  parseMessage,
  writeMessage,
} from '../../../src/core/wire/index.ts';
import { ikeProposal } from '../../../src/testing/policies.ts';
import { connection, End, LIMITS, settle } from './two-ends.ts';

const PUZZLE = { prf: 5, difficulty: 9 };
const BUSY = { ...LIMITS, cookieThreshold: 0, halfOpen: 100, puzzles: { threshold: 10, difficulty: 9 } };
const COOKIE = fromHex('00112233445566778899aabbccddeeff');
const notify = (type: number, data: Uint8Array): Payload => ({ kind: 'N', protocol: 0, spi: new Uint8Array(0), notify: type, data });
const SA: Payload = { kind: 'SA', proposals: [ikeProposal('aes128gcm16-prfsha384-prfsha256-x25519')] };
const request = (...more: readonly Payload[]): Payload[] => [notify(NotifyType.COOKIE, COOKIE), ...more, SA];
const solved = (difficulty: number): Payload => ({ kind: 'PS', data: new PuzzleSearch(prf(5)!, difficulty, COOKIE).run(1_000_000)! });

describe('what becomes of a request with a cookie (RFC 8019 §7.1.4, §7.1.5)', () => {
  test('as long as there are few, everything comes in', () => {
    expect(judgeRequest(BUSY, 9, request(), undefined, 0.99)).toBe('accept');
    expect(judgeRequest({ ...BUSY, puzzles: undefined }, 99, request(), undefined, 0.99)).toBe('accept');
  });

  test('where there are many, a puzzle in a PRF that the initiator offers', () => {
    expect(judgeRequest(BUSY, 10, request(), undefined, 0)).toEqual({ demand: PUZZLE });
    // a solution of what was never set counts for nothing
    expect(judgeRequest(BUSY, 10, request(solved(9)), undefined, 0)).toEqual({ demand: PUZZLE });
    const odd: Payload = { kind: 'SA', proposals: [ikeProposal('aes128gcm16-prfaesxcbc-x25519')] };
    expect(judgeRequest(BUSY, 10, [notify(NotifyType.COOKIE, COOKIE), odd], undefined, 0)).toEqual({ demand: { prf: 4, difficulty: 9 } });
    // NO_PROPOSAL_CHOSEN comes of it
    expect(judgeRequest(BUSY, 10, [notify(NotifyType.COOKIE, COOKIE)], undefined, 0)).toBe('accept');
  });

  test('who solved it comes in, however full it is', () => {
    expect(judgeRequest(BUSY, 99, request(solved(9)), PUZZLE, 0.99)).toBe('solved');
  });

  test.each<[string, readonly Payload[]]>([
    ['brings no solution', []],
    ['brings an empty one', [{ kind: 'PS', data: new Uint8Array(0) }]],
    ['brings four times nothing', [{ kind: 'PS', data: new Uint8Array(16) }]],
    ['brings 60,000 octets', [{ kind: 'PS', data: new Uint8Array(60_000) }]],
  ])('who %s has a chance, which gets smaller', (_what, more) => {
    const come = (size: number, chance: number) => judgeRequest(BUSY, size, request(...more), PUZZLE, chance);
    expect([come(10, 0.2), come(10, 0.24), come(50, 0.12), come(50, 0.13), come(100, 0)]).toEqual([
      'accept',
      'reject',
      'accept',
      'reject',
      'reject',
    ]);
  });

  test('who solved an easier one than its cookie says has not solved it', () => {
    const easy = solved(9);
    const hard = { prf: 5, difficulty: 30 };
    expect(judgeRequest(BUSY, 50, request(easy), hard, 0.99)).toBe('reject');
  });
});

describe('cookies that are handed out with a puzzle (RFC 8019 §7.1.1.3)', () => {
  const [spi, Ni] = [new Uint8Array(8).fill(1), new Uint8Array(32).fill(2)];
  const jar = new CookieJar(systemRandom());

  test('say which, and to nobody else', () => {
    const cookie = jar.bake('192.0.2.1', spi, Ni, 0, PUZZLE);
    expect([jar.check(cookie, '192.0.2.1', spi, Ni, 1), puzzleOf(cookie)]).toEqual([true, PUZZLE]);
    expect(jar.check(cookie, '192.0.2.2', spi, Ni, 1)).toBe(false);
    expect(puzzleOf(jar.bake('192.0.2.1', spi, Ni, 0))).toBeUndefined();
  });

  test('cannot be made easier, nor out of one without', () => {
    const cookie = jar.bake('192.0.2.1', spi, Ni, 0, PUZZLE);
    for (const at of [1, 2, 3]) expect(jar.check(cookie.with(at, cookie[at]! ^ 1), '192.0.2.1', spi, Ni, 0)).toBe(false);
    const info = Uint8Array.of(0, 5, 0);
    for (const moved of [concat(Ni, info), concat(info, Ni)]) {
      const plain = jar.bake('192.0.2.1', spi, moved, 0);
      expect(jar.check(concat(plain.subarray(0, 1), info, plain.subarray(1)), '192.0.2.1', spi, Ni, 0)).toBe(false);
    }
  });
});

describe('two ends', () => {
  function meet(
    puzzles: number | undefined,
    difficulty: number,
    more: { inAuth?: number | undefined } = {},
    changes: Partial<Connection> = {},
  ) {
    const left = new End({ connections: [connection('left', { ...changes, puzzles })] });
    const right = new End({
      connections: [connection('right', changes)],
      limits: { ...BUSY, puzzles: { threshold: 0, difficulty, ...more } },
    });
    const asked: number[] = [];
    left.answers = (ask) => {
      if (ask.kind !== 'solve-puzzle') return left.answer(ask);
      asked.push(ask.difficulty);
      return { ok: true, solution: new PuzzleSearch(prf(ask.prf)!, ask.difficulty, ask.octets).run(1_000_000)! };
    };
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    return { left, right, asked };
  }
  const kinds = ({ sent }: End) =>
    sent.map(({ data }) => parseMessage(data).payloads.map((p) => (p.kind === 'N' ? `N${p.notify}` : p.kind)));

  test('the initiator solves what it is set, and is let in', () => {
    const { left, right, asked } = meet(12, 9);
    settle(left, right);
    expect(asked).toEqual([9]);
    expect(
      kinds(left)
        .slice(0, 3)
        .map((list) => list.slice(0, 2)),
    ).toEqual([
      ['SA', 'KE'],
      [`N${NotifyType.COOKIE}`, 'SA'],
      [`N${NotifyType.COOKIE}`, 'PS'],
    ]);
    expect(kinds(right).slice(0, 2)).toEqual([[`N${NotifyType.COOKIE}`], [`N${NotifyType.COOKIE}`, `N${NotifyType.PUZZLE}`]]);
    expect(left.endpoint.info()).toMatchObject([{ state: 'established' }]);
    expect(right.endpoint.load().strangers).toMatchObject({ cookies: 1, puzzles: 1 });
  });

  test.each([
    ['harder than it is willing to', 9, 10],
    ['while it solves none', undefined, 9],
  ])('a puzzle that is %s is answered by the cookie alone', (_what, most, difficulty) => {
    const { left, right, asked } = meet(most, difficulty);
    settle(left, right);
    expect(asked).toEqual([]);
    expect(kinds(left)[2]!.slice(0, 2)).toEqual([`N${NotifyType.COOKIE}`, 'SA']);
  });

  test('a puzzle without a cookie is no answer: the true one is waited for (§7.1.2)', () => {
    const { left, right } = meet(12, 9);
    const [first] = left.drain(0);
    const { header } = parseMessage(first!.data);
    const flags = { initiator: false, response: true, version: false };
    const data = writeMessage({ ...header, flags }, [puzzleNotify(PUZZLE)]);
    left.endpoint.receive({ local: first!.local, remote: first!.remote, data, encap: false }, 0);
    left.drain(0);
    expect(left.has('drop').map(({ cause }) => cause)).toEqual(['implausible-init']);
    right.endpoint.receive({ local: first!.remote, remote: first!.local, data: first!.data, encap: false }, 0);
    settle(left, right);
    expect(left.endpoint.info()).toMatchObject([{ state: 'established' }]);
  });

  describe('of which the responder is sent what no keys open, and sets a puzzle in IKE_AUTH as well (§7.2)', () => {
    /** A message whose one payload is that SK payload. */
    const sealed = (header: IkeHeader, sk: Uint8Array): Uint8Array => {
      const data = concat(writeMessage(header, []), sk).with(16, PayloadType.SK);
      new DataView(data.buffer).setUint32(24, data.length);
      return data;
    };
    /** Nobody with the keys made it. */
    const junk = (to: Datagram, exchange: number = ExchangeType.IKE_AUTH): Datagram => {
      const flags = { initiator: true, response: false, version: false };
      const data = sealed(
        { ...parseMessage(to.data).header, exchange, messageId: 1, flags },
        concat(fromHex('23000064'), new Uint8Array(96)),
      );
      return { ...to, local: to.remote, remote: to.local, data };
    };
    const drops = ({ notices }: End) => notices.flatMap((n) => (n.kind === 'drop' ? [n.cause] : []));

    /** A second initiator, after the IKE SA of the first one was tried with something forged. */
    function attacked(inAuth: number | undefined, forged: boolean, changes: Partial<Connection> = {}) {
      const { left: first, right } = meet(12, 9, { inAuth }, changes);
      // its IKE_AUTH does not arrive
      settle(first, right, 0, (d) => (d.data[18] === ExchangeType.IKE_AUTH ? undefined : d));
      const response = right.sent.at(-1)!;
      if (forged) right.endpoint.receive(junk(response), 0);
      right.drain(0);
      const { left, asked } = meet(12, 9, { inAuth }, changes);
      const held: Datagram[] = [];
      const hold = (d: Datagram, from: End) => {
        if (from !== left || d.data[18] !== ExchangeType.IKE_AUTH) return d;
        held.push(d);
        return undefined;
      };
      settle(left, right, 0, hold);
      const send = (d: Datagram) => right.endpoint.receive({ ...d, local: d.remote, remote: d.local, data: d.data.slice() }, 0);
      const standing = () => {
        settle(left, right);
        return right.endpoint.info().filter(({ state }) => state === 'established').length;
      };
      return { left, right, asked, held, send, standing, answer: right.sent.at(-1)! };
    }

    test.each([
      ['as long as nothing is forged', 10, false],
      ['where it is not configured', undefined, true],
    ])('%s there is none', (_what, inAuth, forged) => {
      const { asked, held, send, standing } = attacked(inAuth, forged);
      expect(asked).toEqual([9]);
      for (const each of held) send(each);
      expect(standing()).toBe(1);
    });

    test.each(['accept', 'force'] as const)('it is solved, fragmentation: %s', (fragmentation) => {
      const { right, asked, held, send, standing } = attacked(10, true, { fragmentation, fragmentSize: 576 });
      expect(asked).toEqual([9, 10]);
      expect(kinds(right).at(-1)).toContain(`N${NotifyType.PUZZLE}`);
      expect(held.map(({ data }) => parseMessage(data).payloads[0]!.kind)).toEqual(['PS', ...held.slice(1).map(() => 'SKF')]);
      for (const each of held) send(each);
      expect(standing()).toBe(1);
      expect(drops(right).filter((cause) => cause !== 'bad-icv')).toEqual([]);
    });

    test('nothing is opened without the solution, whatever else it is; then IKE_AUTH comes in', () => {
      const { right, held, send, standing, answer } = attacked(10, true);
      const before = drops(right).length;
      const [auth] = held;
      const { header, payloads } = parseMessage(auth!.data);
      const ps = payloads[0]?.kind === 'PS' ? payloads[0].data.length : 0;
      send({ ...auth!, data: sealed(header, auth!.data.slice(28 + 4 + ps)) });
      send({ ...auth!, data: auth!.data.with(33, auth!.data[33]! ^ 1) });
      for (const exchange of [ExchangeType.INFORMATIONAL, ExchangeType.IKE_INTERMEDIATE]) right.endpoint.receive(junk(answer, exchange), 0);
      right.drain(0);
      expect(drops(right).slice(before)).toEqual(Array.from({ length: 4 }, () => 'puzzle-unsolved'));
      send(auth!);
      expect(standing()).toBe(1);
    });

    test('who has not solved the first one is set no second one (§7.2.1)', () => {
      const limits = { ...BUSY, puzzles: { threshold: 90, difficulty: 9, inAuth: 10 } };
      expect(puzzleForAuth(limits, 50, 100, request())).toEqual({ prf: 5, difficulty: 10 });
      expect([puzzleForAuth(limits, 24, 100, request()), puzzleForAuth(limits, 0, 0, request())]).toEqual([undefined, undefined]);
      const { left, right } = meet(undefined, 9, { inAuth: 10 });
      settle(left, right);
      expect(kinds(right).slice(2).flat()).not.toContain(`N${NotifyType.PUZZLE}`);
    });
  });

  describe('of which the responder sets a puzzle in its regular response as well (§7.2)', () => {
    /** What a responder of another make would say, taken for its own by both: AUTH covers it. */
    function meetIn(puzzles: number | undefined, puzzle: Payload) {
      const left = new End({ connections: [connection('left', { puzzles })] });
      left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
      const [first] = left.drain(0);
      const right = new End({ connections: [connection('right')] });
      right.endpoint.receive({ local: first!.remote, remote: first!.local, data: first!.data, encap: false }, 0);
      const [answer] = right.drain(0);
      const { header, payloads } = parseMessage(answer!.data);
      const asked: Uint8Array[] = [];
      left.answers = (ask) => {
        if (ask.kind !== 'solve-puzzle') return left.answer(ask);
        asked.push(ask.octets);
        return { ok: true, solution: new PuzzleSearch(prf(ask.prf)!, ask.difficulty, ask.octets).run(1_000_000)! };
      };
      left.endpoint.receive(
        { local: first!.local, remote: first!.remote, data: writeMessage(header, [...payloads, puzzle]), encap: false },
        0,
      );
      const [auth] = left.drain(0);
      const Nr = payloads.find((p) => p.kind === 'Nonce')!.data;
      return { left, asked, auth: auth && parseMessage(auth.data), octets: concat(Nr, header.spiR) };
    }

    test('its solution goes before what is sealed, and is of Nr and SPIr', () => {
      const { asked, auth, octets } = meetIn(12, puzzleNotify(PUZZLE));
      expect(asked).toEqual([octets]);
      expect(auth?.payloads.map(({ kind }) => kind)).toEqual(['PS', 'SK']);
      const [solution] = auth!.payloads;
      expect(solution?.kind === 'PS' && isPuzzleSolution(solution.data, prf(5)!, 9, octets)).toBe(true);
    });

    test.each<[string, number | undefined, Puzzle]>([
      ['too hard', 12, { prf: 5, difficulty: 13 }],
      ['in a PRF that is not known', 12, { prf: 999, difficulty: 9 }],
      ['while none is to be solved', undefined, PUZZLE],
    ])('one that is %s ends it, with a word why', (_what, most, puzzle) => {
      const { left, auth } = meetIn(most, puzzleNotify(puzzle));
      expect(auth).toBeUndefined();
      expect(left.has('failed').map(({ error }) => error.code)).toEqual(['PUZZLE_TOO_HARD']);
    });
  });

  test.each(['', '00', '0005', '00050900'])('PUZZLE is three octets, not %j', (hex) => {
    expect(puzzleIn([notify(NotifyType.PUZZLE, fromHex(hex))])).toBeUndefined();
  });
});
