import { describe, expect, test } from 'vitest';
import { AddressWatch } from '../../../src/host/engine/address-watch.ts';

/** A watch from 0 on, and when it looked; `busy` says whether it is alerted before each look, `told` whether the machine says something. */
function watch(
  milliseconds: number,
  { busy = () => false, told = () => false, addresses = () => ['192.0.2.1'] } = {} as Setting,
): number[] {
  let now = 0;
  const looks: number[] = [];
  const made = new AddressWatch({ addresses: () => addresses(now) }, () => looks.push(now));
  made.start(now);
  for (; now <= milliseconds; now += 10) {
    if (busy(now)) made.alert(now);
    if (told(now)) made.heard(now);
    made.expire(now);
  }
  return looks;
}

interface Setting {
  readonly busy?: (now: number) => boolean;
  readonly told?: (now: number) => boolean;
  readonly addresses?: (now: number) => readonly string[];
}

describe('how often this machine’s addresses are looked at', () => {
  test('every three seconds while nothing happens', () => {
    expect(watch(10_000)).toEqual([3000, 6000, 9000]);
  });

  test('five times a second while something is sent, and a second longer', () => {
    const looks = watch(20_000, { busy: (now) => now >= 4000 && now <= 6000 });
    expect(looks.slice(0, 3)).toEqual([3000, 4000, 4200]);
    const often = looks.filter((at) => at >= 4000 && at <= 6900);
    expect(often.length).toBe(15);
    expect(looks.filter((at) => at > 7200).length).toBeLessThanOrEqual(5);
  });

  test('at once when something is sent after a rest, and never twice within 200 ms', () => {
    expect(watch(2990, { busy: (now) => now === 1000 })[0]).toBe(1000);
    const looks = watch(10_000, { busy: () => true });
    for (const [i, at] of looks.entries()) if (i > 0) expect(at - looks[i - 1]!).toBeGreaterThanOrEqual(200);
  });

  test('often after a change, as those come in bursts', () => {
    const looks = watch(8000, { addresses: (now) => (now < 2500 ? ['192.0.2.1'] : ['192.0.2.2']) });
    expect(looks.filter((at) => at > 3000 && at <= 4000).length).toBe(5);
    expect(looks.filter((at) => at > 4200).length).toBeLessThanOrEqual(2);
  });

  test('at once when the machine says that something changed, and never twice within 50 ms', () => {
    expect(watch(1500, { told: (now) => now === 1000 })).toEqual([1000]);
    expect(watch(1200, { told: (now) => now >= 1000 })).toEqual([1000, 1050, 1100, 1150, 1200]);
  });

  test('neither word makes it look before it began', () => {
    const made = new AddressWatch({ addresses: () => [] }, () => expect.fail('it did not begin'));
    expect(made.alert(0)).toBe(false);
    expect(made.heard(0)).toBe(false);
    expect(made.nextDeadline()).toBeUndefined();
  });
});
