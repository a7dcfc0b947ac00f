import { expect } from 'vitest';
import type { ControlClient } from '../../../src/product/control/index.ts';
import type { Echoed } from '../process/echoes.ts';
import { type Daemon, eventually, PATIENCE } from '../support/process.ts';
import { EVERYTHING } from '../support/requirements.ts';

/** `TUNNELWRIGHT_FULL=1` makes it a thousand. */
export const REKEYINGS = EVERYTHING ? 1000 : 50;

/** One end of a tunnel, whose only connection is `net`. */
interface Rekeying {
  readonly control: ControlClient;
  log(): string;
}

/**
 * So many rekeyings of the child, asked for at either end in turn, under a load (`process/echoes.ts`) that is ended then.
 * @returns what came of the load, and how many SPIs the first end has had
 */
export async function rekeyedUnder(
  load: Daemon,
  ends: readonly [Rekeying, Rekeying],
  times: number,
): Promise<Echoed & { readonly spis: number }> {
  const [first] = ends;
  const spis = new Set<string>();
  for (let i = 0; i < times; i++) {
    const before = await spiOf(first);
    expect(before).toBeDefined();
    spis.add(before!);
    await ends[i % 2]!.control.rekey({ connection: 'net', children: true });
    // whoever was asked: both ends must be through with it before the next begins
    for (const end of ends) await settled(end, end === first ? before : undefined);
  }
  load.child.stdin!.end();
  await eventually(
    'all echoes are back',
    () => !load.running,
    2 * PATIENCE,
    () => load.output,
  );
  return { ...(JSON.parse(load.output) as Echoed), spis: spis.size };
}

/** The inbound SPI of the one child that is not about to go. */
async function spiOf(end: Rekeying): Promise<string | undefined> {
  const { ikeSas } = await end.control.sas();
  const children = ikeSas.flatMap(({ children }) => children).filter(({ state }) => state === 'installed');
  return children.length === 1 ? children[0]!.spiIn : undefined;
}

/** One child stands, and it is another one. */
async function settled(end: Rekeying, before: string | undefined): Promise<void> {
  await eventually(
    'the child is rekeyed',
    async () => {
      const spi = await spiOf(end);
      return spi !== undefined && spi !== before;
    },
    PATIENCE,
    () => end.log(),
  );
}
