import { afterAll, beforeAll, test } from 'vitest';
import type { Initramfs } from '../../interop/support/initramfs.ts';
import { describeWith, EVERYTHING, GUEST } from '../../interop/support/requirements.ts';
import { Scope } from '../../interop/support/scope.ts';
import type { Cases } from './cases.ts';
import { inGuest, type Machine, NODE, startMachine } from './machine.ts';
import { judge } from './outcome.ts';

/**
 * Runs `cases/NAME.ts` in a guest of its own, and says of each case here what came of it there. One that did not run to its end is a
 * failure, whatever the reason.
 * @param name the file below `cases/`, without its ending
 * @param cases what it exports: this side takes their names alone
 */
export function guestSuite(title: string, name: string, cases: Cases, options: MachineOptions = {}): void {
  const run = (machine: () => Machine): void => {
    let printed = '';
    const seconds = 120 + Object.keys(cases).length * 60;
    beforeAll(
      async () => {
        printed = await runCases(machine(), name, seconds);
      },
      (seconds + 60) * 1000,
    );
    for (const each of Object.keys(cases)) test(each, () => judge(each, printed, machine().guest.log()));
  };
  withMachine(title, run, options);
}

export interface MachineOptions {
  /** Adds to the guest's image. */
  readonly prepare?: (image: Initramfs) => Promise<void>;
  /** Besides what a guest needs. */
  readonly needs?: typeof GUEST;
}

/** A suite with a guest, for what happens on both ends of the wire. */
export function withMachine(title: string, body: (machine: () => Machine) => void, { prepare, needs = GUEST }: MachineOptions = {}): void {
  describeWith(needs, title, () => {
    const scope = new Scope();
    let machine: Machine | undefined;
    beforeAll(async () => {
      machine = await startMachine(scope, prepare);
    });
    afterAll(() => scope.close());
    body(() => machine!);
  });
}

/** @returns all that the runner printed, also when it was cut short; of a guest that ended, what its console said */
async function runCases({ guest }: Machine, name: string, seconds: number): Promise<string> {
  try {
    const full = EVERYTHING ? 'export TUNNELWRIGHT_FULL=1; ' : '';
    const { stdout } = await guest.run(`${full}exec ${NODE} ${inGuest('support/runner')} ${inGuest(`cases/${name}`)}`, seconds);
    return stdout;
  } catch (error) {
    return (error as Error).message;
  }
}
