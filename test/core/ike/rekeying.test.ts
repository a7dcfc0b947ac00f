import { describe, expect, test } from 'vitest';
import { DataPlaneError } from '../../../src/core/bytes/index.ts';
import type { Datagram } from '../../../src/core/ike/effects.ts';
import type { Connection } from '../../../src/core/ike/index.ts';
import { ProtocolId, TransformType } from '../../../src/core/wire/index.ts';
import { connection, End, ESP_PROPOSAL, established, settle } from './two-ends.ts';

const child = (side: 'left' | 'right') => connection(side).children[0]!;
const childId = (end: End) => end.endpoint.info().flatMap((sa) => sa.children.filter((c) => c.state === 'installed'))[0]!.id;
const saId = (end: End) => end.endpoint.info().find((sa) => sa.state === 'established')!.id;
const usable = (end: End) => end.endpoint.info().flatMap((sa) => sa.children.filter((c) => c.state === 'installed'));

/** Delivers, and lets every timer of the next `span` milliseconds fire. */
function live(left: End, right: End, from: number, span: number): void {
  for (let now = from; now <= from + span; now += 500) {
    for (const end of [left, right]) end.endpoint.expire(now);
    settle(left, right, now);
  }
}

describe('jobs that wait while the IKE SA is rekeyed', () => {
  test('a child asked for meanwhile is made under the new IKE SA, with its keys', () => {
    const { left, right } = established();
    left.endpoint.command({ kind: 'rekey-ike', ikeSa: saId(left) }, 1000);
    left.endpoint.command({ kind: 'create-child', ikeSa: saIdOf(left, 'rekeying'), child: 'net' }, 1000);
    live(left, right, 1000, 40_000);
    expect(usable(left)).toHaveLength(2);
    expect(left.has('failed')).toEqual([]);
    const keysOf = (end: End, side: 'inbound' | 'outbound') =>
      [...end.children.values()].map((c) => `${c[side].spi} ${c[side].encryptionKey.join()}`).sort();
    expect(keysOf(left, 'inbound')).toEqual(keysOf(right, 'outbound'));
    expect(left.endpoint.info()).toHaveLength(1);
  });

  test('a Delete asked for meanwhile deletes the new IKE SA, not only the old one', () => {
    const { left, right } = established();
    left.endpoint.command({ kind: 'rekey-ike', ikeSa: saId(left) }, 1000);
    left.endpoint.command({ kind: 'delete-ike', ikeSa: saIdOf(left, 'rekeying') }, 1000);
    live(left, right, 1000, 60_000);
    expect([left.endpoint.info(), right.endpoint.info()]).toEqual([[], []]);
  });

  test('a child under way keeps the peer from rekeying the IKE SA: TEMPORARY_FAILURE, then again (RFC 7296 §2.25.1)', () => {
    const { left, right } = established();
    left.endpoint.command({ kind: 'create-child', ikeSa: saId(left), child: 'net' }, 1000);
    right.endpoint.command({ kind: 'rekey-ike', ikeSa: saId(right) }, 1000);
    live(left, right, 1000, 60_000);
    expect(left.has('exchange').some((n) => !n.initiator && n.summary === 'TEMPORARY_FAILURE')).toBe(true);
    expect([left, right].flatMap((e) => e.has('failed'))).toEqual([]);
    expect([left, right].map((e) => e.has('ike-rekeyed').length)).toEqual([1, 1]);
    expect([usable(left).length, usable(right).length]).toEqual([2, 2]);
  });
});

describe('leases over a rekeying', () => {
  const withLease = () =>
    established({
      left: { virtualIps: ['0.0.0.0'], children: [{ ...child('left'), localTs: ['dynamic'] }] },
      right: { pools: ['pool'], children: [{ ...child('right'), remoteTs: ['dynamic'] }] },
    });

  test('both ends rekey the IKE SA at once: the lease goes back once, at the very end', () => {
    for (let round = 0; round < 8; round++) {
      const { left, right } = withLease();
      const released = countReleases(right);
      for (const end of [left, right]) end.endpoint.command({ kind: 'rekey-ike', ikeSa: saId(end) }, 1000);
      live(left, right, 1000, 100_000);
      expect([left.endpoint.info().length, right.endpoint.info().length, released()]).toEqual([1, 1, 0]);
      left.endpoint.command({ kind: 'delete-ike', ikeSa: saId(left) }, 200_000);
      live(left, right, 200_000, 60_000);
      expect([right.endpoint.info().length, released()]).toEqual([0, 1]);
    }
  });

  test('a redundant IKE SA that the peer deletes brings no connection back', () => {
    const reopening = (side: 'left' | 'right'): Partial<Connection> => ({ children: [{ ...child(side), closeAction: 'start' }] });
    for (let round = 0; round < 8; round++) {
      const { left, right } = established({ left: reopening('left'), right: reopening('right') });
      for (const end of [left, right]) end.endpoint.command({ kind: 'rekey-ike', ikeSa: saId(end) }, 1000);
      live(left, right, 1000, 100_000);
      expect([left.endpoint.info().length, right.endpoint.info().length]).toEqual([1, 1]);
      expect([...left.has('ike-down'), ...right.has('ike-down')].filter((n) => n.error)).toEqual([]);
    }
  });

  test('a lease without a child goes back as well', () => {
    const left = new End({
      connections: [connection('left', { virtualIps: ['0.0.0.0'], children: [{ ...child('left'), localTs: ['dynamic'] }] })],
    });
    const right = new End({ connections: [connection('right', { pools: ['pool'] })] });
    const released = countReleases(right);
    right.answers = (ask) =>
      ask.kind === 'install' ? { ok: false, error: new DataPlaneError('no', { code: 'NO_ROOM' }) } : right.answer(ask);
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    live(left, right, 0, 60_000);
    expect([right.endpoint.info().length, released()]).toEqual([0, 1]);
  });
});

describe('what the peer thinks of a rekeying', () => {
  test('CHILD_SA_NOT_FOUND: the child is made from scratch (RFC 7296 §2.25)', () => {
    const { left, right } = established();
    // the peer forgets the child without a word: its Delete is lost on the way, and answered by nobody
    right.endpoint.command({ kind: 'delete-child', child: childId(right) }, 1000);
    const [lost] = right.drain(1000);
    left.endpoint.command({ kind: 'rekey-child', child: childId(left) }, 1000);
    left.drain(1000);
    expect(lost).toBeDefined();
    for (const end of [left, right]) end.endpoint.expire(2000);
    live(left, right, 2000, 60_000);
    expect(left.has('failed')).toEqual([]);
    expect(usable(left).length).toBe(usable(right).length);
  });

  test('a successor that its maker could not install leaves the old child in service on both ends', () => {
    const { left, right } = established();
    left.answers = (ask) =>
      ask.kind === 'install' ? { ok: false, error: new DataPlaneError('no', { code: 'NO_ROOM' }) } : left.answer(ask);
    left.endpoint.command({ kind: 'rekey-child', child: childId(left) }, 1000);
    live(left, right, 1000, 200_000);
    expect([usable(left).length, usable(right).length]).toEqual([1, 1]);
    left.answers = (ask) => left.answer(ask);
    left.endpoint.command({ kind: 'rekey-child', child: childId(left) }, 300_000);
    live(left, right, 300_000, 30_000);
    expect([left.has('child-rekeyed').length, usable(right).length]).toEqual([1, 1]);
  });

  test('a peer that ignored our narrowing (Windows) is asked for what it believes in; what stands is still narrowed', () => {
    const [wide, elsewhere] = [range([10, 0, 0, 0], [10, 255, 255, 255]), range([172, 16, 0, 0], [172, 16, 0, 255])];
    const policy = { ...child('left'), localTs: [wide], remoteTs: [wide] };
    const { left, right } = established({ left: { children: [policy] } });
    // the first request meets selectors that have nothing to do with it, here and on the child itself, the second one the wide ones
    Object.assign([...left.children.values()][0]!, { localTs: [elsewhere] });
    let reads = 0;
    Object.defineProperty(policy, 'localTs', { get: () => [reads++ < 2 ? elsewhere : wide] });
    right.endpoint.command({ kind: 'rekey-child', child: childId(right) }, 1000);
    settle(left, right, 1000);
    expect(right.has('exchange').map((n) => n.summary)).toContain('TS_UNACCEPTABLE');
    expect(right.has('failed')).toEqual([]);
    expect(right.has('child-rekeyed')).toHaveLength(1);
    const [now] = usable(right);
    expect([now!.localTs, now!.remoteTs]).toEqual([child('right').localTs, child('right').remoteTs]);
  });

  test.each([
    ['require', 'prefer', true],
    ['prefer', 'prefer', true],
    ['prefer', 'off', false],
    ['off', 'prefer', false],
    ['off', 'off', false],
  ] as const)('PFS %s meets %s', (ours, theirs, withKe) => {
    const { left, right } = established({
      left: { children: [{ ...child('left'), pfs: ours }] },
      right: { children: [{ ...child('right'), pfs: theirs }] },
    });
    left.endpoint.command({ kind: 'rekey-child', child: childId(left) }, 1000);
    settle(left, right, 1000);
    expect(left.has('failed')).toEqual([]);
    expect(usable(left)[0]!.suite.includes('pfs')).toBe(withKe);
  });

  test.each([
    ['require', 'off'],
    ['off', 'require'],
  ] as const)('PFS %s against %s is refused, and the child lives on', (ours, theirs) => {
    const { left, right } = established({
      left: { children: [{ ...child('left'), pfs: ours }] },
      right: { children: [{ ...child('right'), pfs: theirs }] },
    });
    left.endpoint.command({ kind: 'rekey-child', child: childId(left) }, 1000);
    settle(left, right, 1000);
    expect(left.has('failed')[0]?.error.code).toBe('PFS_REFUSED');
    expect(right.has('failed')[0]?.error.code).toBe(ours === 'off' ? 'PFS_MISSING' : 'PFS_DEMANDED');
    expect([usable(left).length, usable(right).length]).toEqual([1, 1]);
  });

  test('the method whose public value came is taken where it will do: no second round trip', () => {
    const methods = (...ids: number[]) => ({
      ...ESP_PROPOSAL,
      transforms: [
        ...ESP_PROPOSAL.transforms.filter((t) => t.type !== TransformType.KE),
        ...ids.map((id) => ({ type: TransformType.KE, id })),
      ],
    });
    const { left, right } = established({
      left: { children: [{ ...child('left'), proposals: [methods(31, 19)] }] },
      right: { children: [{ ...child('right'), proposals: [methods(19, 31)] }] },
    });
    const before = left.sent.length;
    left.endpoint.command({ kind: 'create-child', ikeSa: saId(left), child: 'net' }, 1000);
    settle(left, right, 1000);
    expect(left.sent.length - before).toBe(1);
    expect(usable(left)).toHaveLength(2);
  });

  test('of several policies the one that takes the selectors as they are comes first', () => {
    const narrowFirst: Partial<Connection> = {
      children: [
        { ...child('right'), name: 'one host', localTs: [host(10, 2, 0, 7)] },
        { ...child('right'), name: 'all of it' },
      ],
    };
    const { left, right } = established({ right: narrowFirst });
    expect(usable(right).map((c) => c.name)).toEqual(['all of it']);
    expect(usable(left)[0]!.remoteTs).toEqual(child('left').remoteTs);
  });

  test('TEMPORARY_FAILURE without end closes the IKE SA after some minutes, not before (RFC 7296 §2.25)', () => {
    const { left, right } = established();
    right.answers = (ask) =>
      ask.kind === 'install' ? { ok: false, error: new DataPlaneError('no', { code: 'NO_ROOM' }) } : right.answer(ask);
    left.endpoint.command({ kind: 'create-child', ikeSa: saId(left), child: 'net' }, 1000);
    live(left, right, 1000, 120_000);
    expect(left.has('failed')).toEqual([]);
    expect(usable(left)).toHaveLength(1);
    live(left, right, 121_000, 480_000);
    expect(left.has('ike-down')[0]?.error?.code).toBe('PEER_TEMPORARY_FAILURE');
  });
});

describe('the peer closes a child', () => {
  test.each([
    ['start', 1],
    ['none', 0],
  ] as const)('closeAction %s', (closeAction, count) => {
    const { left, right } = established({ left: { children: [{ ...child('left'), closeAction }] } });
    right.endpoint.command({ kind: 'delete-child', child: childId(right) }, 1000);
    settle(left, right, 1000);
    expect([usable(left).length, usable(right).length]).toEqual([count, count]);
  });
});

test('a restored SA does not begin its lifetime anew', () => {
  const lifetimes = { rekey: 0, jitter: 0, hard: 100_000, reauth: 0 };
  const { left, right } = established({ left: { lifetimes } });
  left.endpoint.expire(90_000);
  const again = new End({ connections: [connection('left', { lifetimes })] });
  again.endpoint.restore(left.endpoint.snapshot(), 5_000);
  live(again, right, 5_000, 9_000);
  expect(again.endpoint.info()[0]!.state).toBe('established');
  live(again, right, 14_000, 2_000);
  expect(again.endpoint.info()).toEqual([]);
});

test.each([
  ['ESP', ESP_PROPOSAL],
  ['AH', { ...ESP_PROPOSAL, protocol: ProtocolId.AH, transforms: [{ type: TransformType.INTEG, id: 12 }] }],
])('a restart while a CHILD_SA of %s is being made: what the peer has made by then goes', (_what, proposal) => {
  const proposals = [proposal];
  const changes = (side: 'left' | 'right') => ({ children: [{ ...child(side), proposals }] });
  const { left, right } = established({ left: changes('left'), right: changes('right') });
  left.endpoint.command({ kind: 'create-child', ikeSa: saId(left), child: 'net' }, 1000);
  settle(left, right, 1000, (datagram, from) => (from === left ? datagram : undefined));
  expect(right.children.size).toBe(2);
  const again = new End({ connections: [connection('left', changes('left'))] });
  again.endpoint.restore(left.endpoint.snapshot(), 2000);
  live(again, right, 2000, 10_000);
  expect([again.children.size, right.children.size]).toEqual([1, 1]);
});

test('addresses of a family that nobody asked for are not taken (RFC 7296 §3.15)', () => {
  const left = new End({
    connections: [connection('left', { virtualIps: ['0.0.0.0'], children: [{ ...child('left'), localTs: ['dynamic'] }] })],
  });
  const right = new End({
    connections: [connection('right', { pools: ['pool'], children: [{ ...child('right'), remoteTs: ['dynamic'] }] })],
  });
  const v6 = Uint8Array.of(0xfd, ...new Array<number>(14).fill(0), 1, 64);
  right.answers = (ask) =>
    ask.kind === 'lease'
      ? {
          ok: true,
          attributes: [
            { type: 1, value: new Uint8Array([10, 66, 0, 5]) },
            { type: 8, value: v6 },
          ],
          addresses: ['10.66.0.5'],
        }
      : right.answer(ask);
  left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
  settle(left, right);
  expect(left.endpoint.info()[0]!.assigned).toEqual(['10.66.0.5']);
});

test('an address comes also with an IKE SA that begins without a child (RFC 6023)', () => {
  const left: Partial<Connection> = { childless: 'force', virtualIps: ['0.0.0.0'], children: [{ ...child('left'), localTs: ['dynamic'] }] };
  const ends = established({ left, right: { pools: ['pool'], children: [{ ...child('right'), remoteTs: ['dynamic'] }] } });
  expect(ends.left.endpoint.info()[0]!.assigned).toEqual(['10.66.0.5']);
  expect(usable(ends.left)[0]!.localTs).toEqual([host(10, 66, 0, 5)]);
});

test('a message that cannot be sent fails its exchange and does not leave the endpoint as an exception', () => {
  const left = new End({ connections: [connection('left')] });
  const right = new End({ connections: [connection('right', { fragmentation: 'no' })] });
  const huge = { encoding: 4, data: new Uint8Array(65_000) };
  left.answers = (ask) => {
    const answer = left.answer(ask);
    return ask.kind === 'authenticate' && answer.ok ? ({ ...answer, certificates: [huge, huge] } as typeof answer) : answer;
  };
  left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
  settle(left, right);
  expect(left.has('ike-down')[0]?.error?.code).toBe('PAYLOAD_TOO_LONG');
});

test('fragments of a request that was answered do not disturb those of the next one (RFC 7383 §2.6)', () => {
  const many = { fragmentSize: 576, children: [{ ...child('left'), proposals: manyProposals() }] };
  const { left, right } = established({ left: many, right: { children: [{ ...child('right'), proposals: manyProposals() }] } });
  const ask = (now: number) => {
    left.endpoint.command({ kind: 'create-child', ikeSa: saId(left), child: 'net' }, now);
    return left.drain(now);
  };
  const tell = (d: Datagram | undefined, now: number) =>
    right.endpoint.receive({ local: d!.remote, remote: d!.local, data: d!.data.slice(), encap: d!.encap }, now);
  const first = ask(1000);
  expect(first.length).toBeGreaterThan(1);
  for (const d of first) tell(d, 1000);
  settle(left, right, 1000);
  const [head, ...rest] = ask(2000);
  tell(head, 2000);
  tell(first[1], 2000);
  for (const d of rest) tell(d, 2000);
  settle(left, right, 2000);
  expect(usable(left)).toHaveLength(3);
});

const saIdOf = (end: End, state: string) => end.endpoint.info().find((sa) => sa.state === state)!.id;

const range = (start: readonly number[], end: readonly number[]) => ({
  type: 7 as const,
  protocol: 0,
  startPort: 0,
  endPort: 65535,
  start: Uint8Array.from(start),
  end: Uint8Array.from(end),
});

const host = (...octets: number[]) => range(octets, octets);

/** So many that a request that offers them takes several datagrams. */
const manyProposals = () =>
  Array.from({ length: 24 }, (_, i) => ({
    ...ESP_PROPOSAL,
    transforms: [
      ...ESP_PROPOSAL.transforms.filter((t) => t.type !== TransformType.ENCR),
      { type: TransformType.ENCR, id: 20, keyLength: i === 0 ? 128 : 256 },
    ],
  }));

/** `lease-release` is no notice: it is counted where effects are pulled. */
function countReleases(end: End): () => number {
  let released = 0;
  const poll = end.endpoint.poll.bind(end.endpoint);
  end.endpoint.poll = () => {
    const effect = poll();
    if (effect?.kind === 'lease-release') released++;
    return effect;
  };
  return () => released;
}
