import { setTimeout as sleep } from 'node:timers/promises';
import { InvalidArgumentError } from 'commander';
import { TunnelwrightError } from '../../core/bytes/errors.ts';
import { addCommand, durationFlag, type Invocation, type Shell } from '../command.ts';
import { EXIT } from '../exit-codes.ts';
import { interruptible } from '../interrupt.ts';
import { failureOf } from '../render/errors.ts';
import { formatLatency } from '../render/units.ts';
import { instanceThrough, THROUGH, type ThroughFlags } from '../through.ts';

interface PingFlags extends ThroughFlags {
  readonly count?: number;
  readonly interval?: number;
  readonly size?: number;
}

const DESCRIPTION =
  'Echo requests through the tunnel, four unless --count says otherwise; 0 goes on until Ctrl-C. Says whose tunnel carried them.';

export function registerPing(shell: Shell): void {
  addCommand<PingFlags>(
    shell,
    { usage: 'ping <host>', group: 'Reach', summary: 'does a host behind it answer?', description: DESCRIPTION },
    (command) =>
      command
        .option('-n, --count <number>', 'how many; 0 is without end', numberUpTo(1_000_000))
        .option('--interval <time>', 'between two, 1s unless given', durationFlag)
        .option('--size <octets>', 'of data in each', numberUpTo(65_000))
        .option(...THROUGH),
    ping,
  );
}

/** Exit 6 where nobody answered at all. */
async function ping(invocation: Invocation<PingFlags>, host?: string): Promise<number> {
  const { context, out, flags } = invocation;
  const { count = 4, interval = 1000, size } = flags;
  let answered = 0;
  let failure: unknown;
  await interruptible(context, undefined, async (signal) => {
    const { client } = await instanceThrough(invocation, signal);
    for (let i = 0; count === 0 || i < count; i++) {
      if (i > 0) await sleep(interval, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      try {
        const echo = await client.ping(
          { host: host!, timeout: flags.timeout ?? PATIENCE, ...(size === undefined ? {} : { size }) },
          signal,
        );
        answered++;
        if (out.json) out.document({ event: 'pong', ...echo });
        else out.line(`pong from ${echo.from}${viaOf(echo)} in ${formatLatency(echo.rttMs)}`);
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof TunnelwrightError) || !GOES_ON.has(error.code)) throw error;
        failure = error;
        if (out.json) out.document({ event: 'lost', error: failureOf(error) });
        else out.line(`no answer: ${error.message}`);
      }
    }
  });
  if (answered === 0 && failure !== undefined) return out.json ? failureOf(failure).exit : out.fail(failure);
  return answered === 0 ? EXIT.interrupted : EXIT.ok;
}

const viaOf = ({ via, transport }: { readonly via: string | null; readonly transport: 'udp' | 'tcp' | null }): string =>
  via === null ? '' : ` via esp-in-${transport ?? 'udp'} ${via}`;

const numberUpTo =
  (most: number) =>
  (text: string): number => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value <= most) return value;
    throw new InvalidArgumentError(`${text} is no number up to ${most}. Write digits alone.`);
  };

/** The next echo request may fare better. */
const GOES_ON: ReadonlySet<string> = new Set(['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ETTL', 'EACCES', 'ECONNREFUSED']);
const PATIENCE = 5000;
