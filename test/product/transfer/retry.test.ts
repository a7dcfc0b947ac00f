import { describe, expect, test } from 'vitest';
import { TransferError } from '../../../src/product/transfer/errors.ts';
import { ConnectionLost } from '../../../src/product/transfer/peer-http.ts';
import { ProgressMeter, type TransferProgress } from '../../../src/product/transfer/progress.ts';
import { type Attempts, retrying } from '../../../src/product/transfer/retry.ts';
import { type Timing, Watchdog } from '../../../src/product/transfer/timing.ts';
import { VirtualClock } from '../../../src/testing/virtual-clock.ts';

/** Virtual time: a wait is over as soon as everybody else waits too. */
function virtual(): { timing: Timing; clock: VirtualClock } {
  const clock = new VirtualClock();
  const timing: Timing = {
    now: () => clock.now,
    after: (milliseconds, action) => {
      const timer = clock.after(milliseconds, action);
      setImmediate(() => clock.step());
      return () => timer.cancel();
    },
  };
  return { timing, clock };
}

const POLICY = { initial: 250, longest: 10_000, giveUp: 60_000 };

describe('retrying', () => {
  async function run(attempt: (attempts: Attempts, n: number, clock: VirtualClock) => unknown, signal?: AbortSignal) {
    const { timing, clock } = virtual();
    const events: TransferProgress[] = [];
    const meter = new ProgressMeter('file', 100, timing, (event) => events.push(event));
    let n = 0;
    const outcome = await retrying({ policy: POLICY, timing, meter, signal }, async (attempts) => attempt(attempts, n++, clock)).then(
      (value) => ({ value }),
      (error: TransferError) => ({ error }),
    );
    return { outcome, waits: events.flatMap((event) => event.retryIn ?? []), took: clock.now, attempts: n };
  }
  const lost = (): never => {
    throw new ConnectionLost('cut');
  };

  test('waits twice as long each time, up to the longest, and gives up in time', async () => {
    const { outcome, waits, took } = await run(lost);
    expect(waits).toEqual([250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000, 10_000]);
    expect(took).toBeLessThanOrEqual(60_000);
    expect(outcome).toMatchObject({
      error: { code: 'TRANSFER_INTERRUPTED', resumable: true, message: 'tunnel lost (no answer for 60 s).' },
    });
  });

  test('progress begins the waits and the time anew', async () => {
    const { waits, outcome } = await run((attempts, n) => {
      if (n === 3) attempts.progressed(3_250_585);
      return lost();
    });
    expect(waits.slice(0, 6)).toEqual([250, 500, 1000, 250, 500, 1000]);
    expect(outcome).toMatchObject({ error: { kept: 3_250_585, message: 'tunnel lost (no answer for 60 s). Kept 3.1 MiB.' } });
  });

  test('octets that were on their way until the connection was lost count as progress; afterwards they have to arrive', async () => {
    const { outcome, attempts, took } = await run(({ moved }, _n, clock) => {
      for (let i = 0; i < 30; i++) {
        clock.run(clock.now + 10_000);
        moved();
      }
      return lost();
    });
    expect(outcome).toMatchObject({ error: { code: 'TRANSFER_INTERRUPTED', resumable: true } });
    expect(attempts).toBe(2);
    expect(took).toBeGreaterThan(600_000);
    const arriving = await run(({ moved, progressed }, n, clock) => {
      progressed(n);
      clock.run(clock.now + 120_000);
      moved();
      return n < 5 ? lost() : 'whole';
    });
    expect(arriving).toMatchObject({ outcome: { value: 'whole' }, attempts: 6 });
  });

  test('what trying again does not mend is thrown at once', async () => {
    for (const code of [
      'TRANSFER_FORBIDDEN',
      'TRANSFER_DISK_FULL',
      'TRANSFER_NOT_FOUND',
      'TRANSFER_TOO_LARGE',
      'TRANSFER_FILE_CHANGED',
    ] as const) {
      const { outcome, attempts } = await run(() => {
        throw new TransferError('no', { code });
      });
      expect([attempts, outcome]).toEqual([1, { error: expect.objectContaining({ code }) }]);
    }
  });

  test('a busy peer is asked again; success ends it', async () => {
    const { outcome, attempts } = await run((_, n) => {
      if (n < 4) throw new TransferError('later', { code: 'TRANSFER_BUSY' });
      return 'there';
    });
    expect([attempts, outcome]).toEqual([5, { value: 'there' }]);
  });

  test('a signal ends a wait', async () => {
    const stop = new AbortController();
    const { outcome, attempts } = await run((attempts, n) => {
      attempts.progressed(2048);
      if (n === 2) stop.abort();
      return lost();
    }, stop.signal);
    expect(attempts).toBe(3);
    expect(outcome).toMatchObject({ error: { code: 'TRANSFER_ABORTED', resumable: true, message: 'stopped. Kept 2.0 KiB.' } });
  });
});

const timingOf = (clock: VirtualClock): Timing => ({
  now: () => clock.now,
  after: (ms, action) => {
    const timer = clock.after(ms, action);
    return () => timer.cancel();
  },
});

test('a watchdog barks once after silence, and never when it was touched or stopped', () => {
  const clock = new VirtualClock();
  const timing = timingOf(clock);
  const barks: number[] = [];
  const dog = new Watchdog(timing, 100, () => barks.push(clock.now));
  for (const at of [50, 120, 190]) clock.at(at, () => dog.touch());
  clock.run(1000);
  expect(barks).toEqual([290]);
  const quiet = new Watchdog(timing, 100, () => barks.push(clock.now));
  quiet.stop();
  clock.run(5000);
  expect(barks).toEqual([290]);
});

describe('ProgressMeter', () => {
  test('a steady stream has its rate and the time that is left; reports come at intervals', () => {
    const clock = new VirtualClock();
    const events: TransferProgress[] = [];
    const timing = timingOf(clock);
    const meter = new ProgressMeter('file', 1_000_000, timing, (event) => events.push(event));
    meter.phase('sending', 0);
    for (let i = 1; i <= 500; i++) {
      clock.run(i * 10);
      meter.add(1000);
    }
    expect(events.length).toBeGreaterThan(40);
    expect(events.length).toBeLessThan(60);
    expect(events.at(-1)!.rate).toBeCloseTo(100_000, -3);
    expect(events.at(-1)!.eta).toBeCloseTo((1_000_000 - events.at(-1)!.bytes) / 100_000, 1);
  });

  test('the rate follows a change within seconds, and a new phase begins without one', () => {
    const clock = new VirtualClock();
    const events: TransferProgress[] = [];
    const timing = timingOf(clock);
    const meter = new ProgressMeter('file', 1e9, timing, (event) => events.push(event));
    meter.phase('sending', 0);
    const stream = (seconds: number, rate: number): void => {
      for (let i = 0; i < seconds * 100; i++) {
        clock.run(clock.now + 10);
        meter.add(rate / 100);
      }
    };
    stream(20, 1_000_000);
    stream(6, 10_000);
    expect(events.at(-1)!.rate).toBeLessThan(20_000);
    meter.phase('verifying', 1e9);
    expect(events.at(-1)).toMatchObject({ phase: 'verifying', rate: 0, eta: undefined });
  });
});
