import { describe, expect, test } from 'vitest';
import { ChildOwners } from '../../../src/host/engine/child-owners.ts';
import { Counters } from '../../../src/host/engine/counters.ts';
import { Emitter } from '../../../src/host/engine/events.ts';
import { Keepalives } from '../../../src/host/engine/keepalives.ts';

describe('events', () => {
  const emitter = (errors: unknown[] = []): Emitter<{ tick: number }> => new Emitter((error) => errors.push(error));

  test('reach listeners in order, once those that want one, none that left', () => {
    const seen: string[] = [];
    const events = emitter();
    const leave = events.on('tick', (n) => seen.push(`a${n}`));
    events.once('tick', (n) => seen.push(`b${n}`));
    events.emit('tick', 1);
    leave();
    leave();
    events.emit('tick', 2);
    expect(seen).toEqual(['a1', 'b1']);
  });

  test('one function added twice hears twice and leaves one by one', () => {
    let heard = 0;
    const events = emitter();
    const listener = (): void => void heard++;
    const leave = events.on('tick', listener);
    events.on('tick', listener);
    events.emit('tick', 1);
    leave();
    events.emit('tick', 2);
    expect(heard).toBe(3);
  });

  test('a listener that throws does not keep the event from the others', () => {
    const errors: unknown[] = [];
    const seen: number[] = [];
    const events = emitter(errors);
    events.on('tick', () => {
      throw new Error('no');
    });
    events.on('tick', (n) => seen.push(n));
    events.emit('tick', 1);
    expect([seen, errors.length]).toEqual([[1], 1]);
  });

  test('a listener added while an event is told hears the next one', () => {
    const seen: number[] = [];
    const events = emitter();
    events.once('tick', () => void events.on('tick', (n) => seen.push(n)));
    events.emit('tick', 1);
    events.emit('tick', 2);
    expect(seen).toEqual([2]);
  });
});

describe('counters', () => {
  test('labels beyond the bound count together', () => {
    const counters = new Counters();
    for (let i = 0; i < 1000; i++) counters.add('drops', `cause ${i}`);
    counters.add('drops', 'cause 3');
    const { drops } = counters.snapshot();
    expect(Object.keys(drops).length).toBeLessThanOrEqual(101);
    expect(Object.values(drops).reduce((sum, n) => sum + n, 0)).toBe(1001);
    expect(drops['cause 3']).toBe(2);
  });

  test('notices are told apart by kind, cause, exchange and code', () => {
    const counters = new Counters();
    const remote = { ip: '192.0.2.1', port: 500 };
    const took = { messageId: 0, remote, requestOctets: 1, responseOctets: 1, took: 1, summary: '' };
    counters.count({ kind: 'exchange', ikeSa: 1, exchange: 34, initiator: true, retransmissions: 2, ...took });
    counters.count({ kind: 'exchange', ikeSa: 1, exchange: 35, initiator: false, retransmissions: 0, ...took });
    counters.count({ kind: 'retransmit', ikeSa: 1, exchange: 34, messageId: 0, attempt: 1 });
    counters.count({ kind: 'drop', cause: 'malformed', remote, detail: '' });
    expect(counters.snapshot()).toMatchObject({
      notices: { exchange: 2, retransmit: 1, drop: 1 },
      exchanges: { 'IKE_SA_INIT begun': 1, 'IKE_AUTH answered': 1 },
      retransmissions: { IKE_SA_INIT: 1 },
      drops: { malformed: 1 },
    });
  });
});

describe('which child belongs to whom', () => {
  test('the latest use of all children counts, also after they changed hands', () => {
    const owners = new ChildOwners();
    const uses = new Map([
      [10, 5],
      [11, 9],
    ]);
    owners.own(10, 1);
    owners.own(11, 1);
    owners.own(12, 1);
    expect(owners.lastSent(1, (child) => uses.get(child))).toBe(9);
    owners.own(11, 2);
    expect([1, 2, 3].map((sa) => owners.lastSent(sa, (child) => uses.get(child)))).toEqual([5, 9, undefined]);
    owners.forget(10);
    owners.forget(10);
    expect(owners.lastSent(1, (child) => uses.get(child))).toBeUndefined();
  });
});

describe('keepalives', () => {
  const local = { ip: '10.0.0.2', port: 4500 };
  const remote = { ip: '203.0.113.7', port: 4500 };

  test('several IKE SAs have their own pace', () => {
    const keepalives = new Keepalives();
    const sent: [number, number][] = [];
    let now = 0;
    const other = { ip: '203.0.113.8', port: 4500 };
    keepalives.track(1, { local, remote, interval: 20 }, 0);
    keepalives.track(2, { local, remote: other, interval: 30 }, 0);
    for (let due = keepalives.nextDeadline(); due !== undefined && due <= 60; due = keepalives.nextDeadline()) {
      now = due;
      keepalives.expire(
        now,
        () => undefined,
        (_local, to) => sent.push([now, to === remote ? 1 : 2]),
      );
    }
    expect(sent).toEqual([
      [20, 1],
      [30, 2],
      [40, 1],
      [60, 1],
      [60, 2],
    ]);
  });

  test('an interval of 0 is off; what is dropped is no longer due', () => {
    const keepalives = new Keepalives();
    keepalives.track(1, { local, remote, interval: 0 }, 0);
    expect(keepalives.nextDeadline()).toBeUndefined();
    keepalives.track(1, { local, remote, interval: 20 }, 0);
    keepalives.track(1, { local, remote, interval: 0 }, 0);
    expect([keepalives.tracks(1), keepalives.nextDeadline()]).toEqual([false, undefined]);
  });

  test('IKE to another peer keeps no mapping of this one', () => {
    const keepalives = new Keepalives();
    keepalives.track(1, { local, remote, interval: 20 }, 0);
    keepalives.transmitted(local, { ip: '203.0.113.9', port: 4500 }, 15);
    let sent = 0;
    keepalives.expire(
      20,
      () => undefined,
      () => sent++,
    );
    expect(sent).toBe(1);
  });

  test('a thousand peers behind one NAT: each hears within its interval, unless IKE or ESP went there, and they are looked at together', () => {
    const keepalives = new Keepalives();
    const peer = (id: number) => ({ ip: `198.18.${id >> 8}.${id & 255}`, port: 4500 });
    const lastSent = new Map<string, number>();
    for (let id = 0; id < 1000; id++) {
      keepalives.track(id, { local, remote: peer(id), interval: 20_000 }, id * 17);
      lastSent.set(peer(id).ip, id * 17);
    }
    const [talkative, busy] = [peer(7), 8];
    let looks = 0;
    let longest = 0;
    for (let now = 17_000; now <= 100_000; now = Math.min(keepalives.nextDeadline()!, now + 5000)) {
      keepalives.transmitted(local, talkative, now);
      looks++;
      keepalives.expire(
        now,
        (id) => (id === busy ? now - 1 : undefined),
        (_local, { ip }) => {
          longest = Math.max(longest, now - lastSent.get(ip)!);
          lastSent.set(ip, now);
        },
      );
      if (now === 100_000) break;
    }
    expect(longest).toBeLessThanOrEqual(20_000);
    expect([...lastSent.values()].filter((at) => at < 75_000)).toHaveLength(2);
    expect([lastSent.get(talkative.ip), lastSent.get(peer(busy).ip)]).toEqual([7 * 17, busy * 17]);
    expect(looks).toBeLessThan(150);
  });
});
