import { describe, expect, test } from 'vitest';
import { AuthenticationFailure, DataPlaneError, utf8 } from '../../../src/core/bytes/index.ts';
import type { Datagram } from '../../../src/core/ike/effects.ts';
import type { Connection } from '../../../src/core/ike/index.ts';
import { parseIdentity, parseIdentityPattern } from '../../../src/core/pki/index.ts';
import { ExchangeType, NotifyType, parseMessage } from '../../../src/core/wire/index.ts';
import { connection, End, established, LIMITS, settle } from './two-ends.ts';

const child = (side: 'left' | 'right') => connection(side).children[0]!;
const standing = (end: End) => end.endpoint.info().filter((sa) => sa.state === 'established');

/** Both ends live until nothing is due any more. */
function runOut(left: End, right: End, from = 0, until = from + 600_000): number {
  let now = from;
  for (let steps = 0; steps < 10_000; steps++) {
    settle(left, right, now);
    const next = [left, right].flatMap((e) => e.endpoint.nextDeadline() ?? []);
    if (next.length === 0 || Math.min(...next) > until) return now;
    now = Math.max(now, Math.min(...next));
    for (const end of [left, right]) end.endpoint.expire(now);
  }
  throw new Error('the two ends never come to rest');
}

/** Delivers what is under way in an order that a seed decides. */
function shuffle(left: End, right: End, seed: number): void {
  const way: { readonly to: End; readonly datagram: Datagram }[] = [];
  for (let draw = seed * 7919 + 1; ; draw = (draw * 1103515245 + 12345) % 2147483648) {
    for (const datagram of left.drain(0)) way.push({ to: right, datagram });
    for (const datagram of right.drain(0)) way.push({ to: left, datagram });
    const [next] = way.splice((draw >> 8) % Math.max(1, way.length), 1);
    if (next === undefined) return;
    const { local, remote, data, encap } = next.datagram;
    next.to.endpoint.receive({ local: remote, remote: local, data: data.slice(), encap }, 0);
  }
}

describe('nothing is left behind', () => {
  test('by hundreds of handshakes that fail in every way', () => {
    const right = new End({ connections: [connection('right', { remoteAddresses: ['%any'], childless: 'never', unique: 'never' })] });
    let now = 0;
    for (let i = 0; i < 240; i++, now += 20_000) {
      const left = new End({
        connections: [connection('left', { unique: 'never', retransmission: { initial: 100, base: 2, giveUp: 2000 } })],
      });
      const way = i % 6;
      if (way === 0) left.psk = utf8('wrong');
      right.answers = (ask) => {
        if (way === 0 && ask.kind === 'verify') return { ok: false, error: new AuthenticationFailure('wrong', { code: 'PSK_MISMATCH' }) };
        if (way === 1 && ask.kind === 'install') return { ok: false, error: new DataPlaneError('no', { code: 'NO_ROOM' }) };
        if (way === 2 && ask.kind === 'authorise') return undefined;
        return right.answer(ask);
      };
      left.endpoint.command({ kind: 'initiate', connection: 'net' }, now);
      let count = 0;
      settle(left, right, now, (d) => (way === 3 && ++count > 2 ? undefined : d));
      if (way === 4) left.endpoint.command({ kind: 'delete-ike', ikeSa: left.endpoint.info()[0]!.id }, now);
      if (way === 5) for (const sa of right.endpoint.info()) right.endpoint.command({ kind: 'forget-ike', ikeSa: sa.id }, now);
      settle(left, right, now);
      right.notices.length = 0;
      right.sent.length = 0;
      right.endpoint.expire(now + 20_000);
      right.drain(now + 20_000);
    }
    right.endpoint.expire(now + 600_000);
    right.drain(now + 600_000);
    expect(right.endpoint.info()).toEqual([]);
    expect(right.children.size).toBe(0);
    expect(right.endpoint.nextDeadline()).toBeUndefined();
  });

  test('an IKE SA whose authentication failed counts among the half-open ones until it is gone', () => {
    const right = new End({ connections: [connection('right', { remoteAddresses: ['%any'] })] });
    right.answers = (ask) =>
      ask.kind === 'verify' ? { ok: false, error: new AuthenticationFailure('wrong', { code: 'PSK_MISMATCH' }) } : right.answer(ask);
    for (let i = 0; i < 30; i++) {
      const left = new End({ connections: [connection('left')] });
      left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
      settle(left, right);
    }
    expect(right.endpoint.info().length).toBeLessThanOrEqual(LIMITS.halfOpenPerAddress);
    right.endpoint.expire(LIMITS.halfOpenLife);
    expect(right.endpoint.info()).toEqual([]);
  });

  test('an initiator whose half-open SA timed out may repeat its request and is served', () => {
    const left = new End({ connections: [connection('left')] });
    const right = new End({ connections: [connection('right')] });
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    settle(left, right, 0, (d, from) => (from === right ? undefined : d));
    right.endpoint.expire(LIMITS.halfOpenLife);
    left.endpoint.expire(12_000);
    settle(left, right, 12_000);
    expect(standing(left)).toHaveLength(1);
  });
});

describe('the end of an IKE SA', () => {
  test('two Deletes that cross are one end: what the operator closed does not come back', () => {
    const reopening = (side: 'left' | 'right'): Partial<Connection> => ({ children: [{ ...child(side), closeAction: 'start' }] });
    const { left, right } = established({ left: reopening('left'), right: reopening('right') });
    for (const end of [left, right]) end.endpoint.command({ kind: 'terminate', connection: 'net' }, 1000);
    runOut(left, right, 1000);
    for (const end of [left, right]) {
      expect(end.endpoint.info()).toEqual([]);
      expect(end.endpoint.nextDeadline()).toBeUndefined();
    }
  });

  test('a hard lifetime that no rekeying prevented: the connection comes back where the policy says so', () => {
    const lifetimes = { rekey: 0, jitter: 0, hard: 60_000, reauth: 0 };
    const { left, right } = established({ left: { lifetimes, children: [{ ...child('left'), dpdAction: 'start' }] } });
    runOut(left, right, 0, 70_000);
    expect(left.has('ike-down')[0]?.error?.code).toBe('LIFETIME_OVER');
    expect(standing(left)).toHaveLength(1);
  });

  test('a Delete that stays unanswered ends the IKE SA all the same, and is no failure', () => {
    const { left } = established();
    left.endpoint.command({ kind: 'delete-ike', ikeSa: left.endpoint.info()[0]!.id }, 0);
    for (let at = left.endpoint.nextDeadline(); at !== undefined; at = left.endpoint.nextDeadline()) {
      left.endpoint.expire(at);
      left.drain(at);
    }
    expect(left.endpoint.info()).toEqual([]);
    expect(left.has('failed')).toEqual([]);
  });

  test('a connection whose child fails each time is tried ever more seldom', () => {
    const left = new End({ connections: [connection('left', { children: [{ ...child('left'), closeAction: 'start' }] })] });
    const right = new End({ connections: [connection('right', { children: [{ ...child('right'), localTs: child('right').remoteTs }] })] });
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    runOut(left, right, 0, 120_000);
    const tries = left.has('ike-down').length;
    expect(tries).toBeGreaterThan(4);
    expect(tries).toBeLessThan(12);
    expect(left.has('ike-down').every((n) => n.error?.code === 'PEER_TS_UNACCEPTABLE')).toBe(true);
  });
});

describe('two IKE SAs between the same identities', () => {
  test.each(['replace', 'keep'] as const)('both ends begin at once (unique: %s): no end is left without', (unique) => {
    for (let order = 0; order < 40; order++) {
      const left = new End({ connections: [connection('left', { unique })] });
      const right = new End({ connections: [connection('right', { unique })] });
      const [first, second] = order & 1 ? [left, right] : [right, left];
      first.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
      second.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
      shuffle(left, right, order);
      runOut(left, right);
      expect([standing(left).length, standing(right).length]).toEqual(unique === 'replace' ? [1, 1] : [2, 2]);
      expect(left.children.size).toBe(right.children.size);
    }
  });

  test.each([
    ['replace', 1],
    ['keep', 1],
    ['never', 2],
  ] as const)('a peer that lost its memory (INITIAL_CONTACT), unique: %s', (unique, count) => {
    const { right } = established({ left: { unique }, right: { unique } });
    const again = new End({ connections: [connection('left', { unique })] });
    again.endpoint.command({ kind: 'initiate', connection: 'net' }, 60_000);
    settle(again, right, 60_000);
    expect(standing(right)).toHaveLength(count);
  });

  test.each([
    ['no peer', '%any', 'right.lab'],
    ['it in another encoding', 'C=CH, CN=Right', 'C=CH, CN=right'],
  ])('INITIAL_CONTACT is not claimed by whoever has another IKE SA, also where the policy names %s', (_, pattern, own) => {
    const policy: Partial<Connection> = { unique: 'keep', remote: [{ auth: 'psk', id: parseIdentityPattern(pattern) }] };
    const { left, right } = established({ left: policy, right: { unique: 'keep', local: [{ auth: 'psk', id: parseIdentity(own) }] } });
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 60_000);
    settle(left, right, 60_000);
    expect(standing(right)).toHaveLength(2);
  });
});

describe('who may say what', () => {
  test('a replayed message does not pass for a sign of life (RFC 7296 §2.4: fresh)', () => {
    const { left, right } = established();
    left.endpoint.command({ kind: 'check-liveness', ikeSa: left.endpoint.info()[0]!.id }, 1000);
    settle(left, right, 1000);
    const last = left.sent.at(-1)!;
    right.endpoint.receive({ local: last.remote, remote: last.local, data: last.data.slice(), encap: last.encap }, 50_000);
    expect(right.drain(50_000)).toHaveLength(1);
    expect(right.endpoint.info()[0]!.lastInbound).toBe(1000);
  });

  test('CREATE_CHILD_SA that crosses our Delete is answered TEMPORARY_FAILURE, not ignored (RFC 7296 §2.25.2)', () => {
    const { left, right } = established();
    right.endpoint.command({ kind: 'create-child', ikeSa: right.endpoint.info()[0]!.id, child: 'net' }, 1000);
    const [request] = right.drain(1000);
    left.endpoint.command({ kind: 'delete-ike', ikeSa: left.endpoint.info()[0]!.id }, 1000);
    left.drain(1000);
    left.endpoint.receive({ local: request!.remote, remote: request!.local, data: request!.data.slice(), encap: request!.encap }, 1000);
    expect(left.drain(1000).map((d) => parseMessage(d.data).header.exchange)).toEqual([ExchangeType.CREATE_CHILD_SA]);
    expect(left.has('exchange').at(-1)!.summary).toBe('TEMPORARY_FAILURE');
  });

  test('a higher major version is answered with the one we speak, by no more octets than came (RFC 7296 §2.5)', () => {
    const end = new End({ connections: [connection('right')] });
    const request = new Uint8Array(64).fill(7, 0, 8);
    request.set([0, 0x30, 34, 0x08, 0, 0, 0, 0, 0, 0, 0, 64], 16);
    const tell = (data: Uint8Array) => {
      end.endpoint.receive({ local: { ip: '192.0.2.2', port: 500 }, remote: { ip: '192.0.2.1', port: 500 }, data, encap: false }, 0);
      return end.drain(0);
    };
    const [answer, ...more] = tell(request).map((d) => parseMessage(d.data));
    expect(more).toEqual([]);
    expect(answer!.header).toMatchObject({ majorVersion: 2, flags: { response: true } });
    expect(answer!.payloads).toMatchObject([{ kind: 'N', notify: NotifyType.INVALID_MAJOR_VERSION }]);
    expect(tell(request.with(19, 0x28))).toEqual([]);
    expect(tell(request.with(17, 0x10))).toEqual([]);
  });

  test('a person who takes long to let a proven peer in is waited for', () => {
    const left = new End({ connections: [connection('left')] });
    const right = new End({ connections: [connection('right')] });
    right.answers = (ask) => (ask.kind === 'authorise' ? undefined : right.answer(ask));
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    settle(left, right);
    right.endpoint.expire(LIMITS.halfOpenLife + 1);
    expect(right.endpoint.info()[0]?.state).toBe('half-open');
  });

  test('an acquire for each packet makes one IKE SA with one child', () => {
    const left = new End({ connections: [connection('left')] });
    const right = new End({ connections: [connection('right')] });
    for (let i = 0; i < 20; i++) left.endpoint.observe({ kind: 'acquire', connection: 'net', child: 'net' }, 0);
    settle(left, right);
    expect([standing(left).length, left.children.size]).toEqual([1, 1]);
    expect(left.sent).toHaveLength(2);
  });

  test.each([
    ['a cookie of no octets', [41, 0, 0, 8, 0, 0, 0x40, 0x06]],
    ['a responder without SPI', undefined],
  ] as const)('%s in an answer to IKE_SA_INIT is passed over, and the true answer still counts', (_what, cookie) => {
    const left = new End({ connections: [connection('left')] });
    const right = new End({ connections: [connection('right')] });
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    let forged = 0;
    settle(left, right, 0, (d, from) => {
      if (from === left || forged++ > 0) return d;
      const data = cookie ? Uint8Array.from([...d.data.subarray(0, 28), 0, ...cookie.slice(1)]) : d.data.slice().fill(0, 8, 16);
      if (cookie) data.fill(0, 8, 16).set([41, 0x20, 34, 0x20, 0, 0, 0, 0, 0, 0, 0, 36], 16);
      left.endpoint.receive({ local: d.remote, remote: d.local, data, encap: false }, 0);
      return d;
    });
    expect(left.has('drop').map((n) => n.cause)).toContain('implausible-init');
    expect(standing(left)).toHaveLength(1);
  });

  test('what a stranger offers does not fill the log', () => {
    const right = new End({ connections: [connection('right')] });
    const offers = connection('left').proposals.flatMap((p) =>
      Array.from({ length: 200 }, () => ({ ...p, transforms: p.transforms.map((t) => (t.type === 1 ? { ...t, keyLength: 256 } : t)) })),
    );
    const left = new End({ connections: [connection('left', { proposals: offers })] });
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    settle(left, right);
    expect(right.has('failed')[0]!.error.message.length).toBeLessThan(2500);
  });
});
