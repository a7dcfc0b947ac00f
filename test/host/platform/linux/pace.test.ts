import { describe, expect, onTestFinished, test } from 'vitest';
import type { Clock } from '../../../../src/host/platform/clock.ts';
import { Pace } from '../../../../src/host/platform/linux/pace.ts';
import { SocketAddress } from '../../../../src/host/platform/linux/socket-address.ts';
import { FastUdp } from '../../../../src/host/platform/linux/udp.ts';
import { type DescriptorSocket, descriptorUdp } from '../../../../src/host/platform/linux/udp-network.ts';
import { describeWithNative } from '../../../support/native.ts';

/** How long it waits after each datagram of a stream. */
function waits(pace: Pace, { from, count, apart, pressing = false }: { from: number; count: number; apart: number; pressing?: boolean }) {
  return Array.from({ length: count }, (_, i) => pace.note(1, pressing, from + i * apart));
}

describe('how a socket is read', () => {
  test('one IKE SA is never waited with, however its messages are cut', () => {
    const pace = new Pace();
    expect(waits(pace, { from: 0, count: 2, apart: 3 })).toEqual([0, 0]);
    // IKE_AUTH in ten fragments, all at once
    expect(pace.note(10, false, 8)).toBe(0);
  });

  test('a few IKE SAs each second are not, for as long as it goes', () => {
    expect(Math.max(...waits(new Pace(), { from: 0, count: 1000, apart: 4 }))).toBe(0);
  });

  test('where one comes in each millisecond, others are waited for, until they are few', () => {
    const pace = new Pace();
    expect(waits(pace, { from: 0, count: 100, apart: 1 }).at(-1)).toBeGreaterThan(0);
    // what was read together counts as if it had come one by one
    for (let at = 102; at < 200; at += 2) expect(pace.note(2, false, at)).toBeGreaterThan(0);
    expect(pace.note(0, false, 240)).toBe(0);
  });

  test('the more there are, the shorter the wait: some four come together', () => {
    const pauseAt = (perMilli: number) => waits(new Pace(), { from: 0, count: 200 * perMilli, apart: 1 / perMilli }).at(-1)!;
    expect(pauseAt(1)).toBeCloseTo(4, 0);
    expect(pauseAt(2)).toBeCloseTo(2, 0);
    expect(pauseAt(100)).toBe(1);
  });

  test('a flood that begins is seen at once', () => {
    expect(new Pace().note(64, false, 0)).toBeGreaterThan(0);
  });

  test('what must not wait ends it', () => {
    const pace = new Pace();
    pace.note(64, false, 0);
    expect(pace.note(64, true, 1)).toBe(0);
    expect(waits(pace, { from: 2, count: 100, apart: 0.01, pressing: true }).at(-1)).toBe(0);
  });
});

describeWithNative('a socket that is read every few milliseconds', (native) => {
  test('each datagram has one reader, and nothing is read in between, nor once it is lent', async () => {
    const clock = new SetClock();
    const { socket, heard, say } = await opened(clock);
    say(20);
    await heard(20);
    expect(clock.armed).toBe(true);
    say(3);
    for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
    expect(socket.counters.received).toBe(20);
    clock.pass(5);
    expect(socket.counters.received).toBe(23);

    // they are few by now: they are read as they come
    clock.pass(1000);
    expect(clock.armed).toBe(false);
    say(1);
    await heard(24);

    say(20);
    await heard(44);
    expect(clock.armed).toBe(true);
    await socket.lend();
    expect(clock.armed).toBe(false);
    say(1);
    await socket.reclaim();
    await heard(45);
  });

  test('what is pressing is read as it comes, however much there is', async () => {
    const clock = new SetClock();
    const { heard, say } = await opened(clock, () => false);
    for (let i = 1; i <= 5; i++) {
      say(20);
      await heard(20 * i);
      expect(clock.armed).toBe(false);
    }
  });

  /** A socket, and what counts and sends its datagrams. */
  async function opened(clock: Clock, patient = () => true) {
    let wake = (): void => undefined;
    const socket = (await descriptorUdp(native, { clock }).bind({
      ip: '127.0.0.1',
      port: 0,
      onDatagram: () => setImmediate(() => wake()),
      triage: { waits: () => false, patient, onWaiting: () => undefined, onShed: () => undefined },
    })) as DescriptorSocket;
    const sender = FastUdp.open(native, { ip: '127.0.0.1', port: 0 });
    onTestFinished(async () => {
      await socket.close();
      sender.close();
    });
    const octets = native.allocate(8);
    const to = SocketAddress.of(native, socket.local.ip, socket.local.port);
    return {
      socket,
      say: (count: number) => {
        for (let i = 0; i < count; i++) expect(sender.send(octets, 0, 1, to)).toBe(true);
      },
      heard: async (count: number) => {
        while (socket.counters.received < count) await new Promise<void>((resolve) => (wake = resolve));
      },
    };
  }
});

/** Stands still until it is told otherwise. */
class SetClock implements Clock {
  #now = 0;
  #timers: { readonly at: number; readonly run: () => void }[] = [];

  get armed(): boolean {
    return this.#timers.length > 0;
  }

  now(): number {
    return this.#now;
  }

  wall(): number {
    return this.#now;
  }

  soon(run: () => void): void {
    setImmediate(run);
  }

  after(delay: number, run: () => void) {
    const timer = { at: this.#now + delay, run };
    this.#timers.push(timer);
    const cancel = (): void => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
    return { cancel };
  }

  pass(millis: number): void {
    this.#now += millis;
    const due = this.#timers.filter(({ at }) => at <= this.#now);
    this.#timers = this.#timers.filter(({ at }) => at > this.#now);
    for (const { run } of due) run();
  }
}
