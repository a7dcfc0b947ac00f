import { InvalidArgumentError } from 'commander';
import { printable } from '../core/bytes/index.ts';
import { type Parsed, parseOctetRate, parseSize, quoted } from '../product/config/values.ts';
import type { ProgressLine, TransferDone } from '../product/control/api.ts';
import type { Invocation } from './command.ts';
import { CliError } from './errors.ts';
import { EXIT } from './exit-codes.ts';
import { instanceFor, notRunning, peerOf, type Running, runningInstances } from './instances.ts';
import { interruptible } from './interrupt.ts';
import { throughLives } from './next-life.ts';
import type { Output } from './output.ts';
import { ProgressBar } from './render/progress.ts';
import { formatBytes, formatCount, formatDuration, formatLatency } from './render/units.ts';

/** What `send` and `get` have in common. */
export interface TransferFlags {
  readonly parallel?: number;
  readonly limit?: number;
}

/** `alice:inbox/`, `[fd00::1]:a`, `10.66.0.1:`. @throws CliError */
export function parseRemote(text: string): { readonly peer: string; readonly path: string } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:/]+)):(.*)$/s.exec(text);
  if (match === null)
    throw new CliError(`${text} does not say which peer`, {
      code: 'USAGE',
      hint: 'Write PEER:PATH, for instance alice:inbox/ or [fd00::1]:report.pdf.',
    });
  return { peer: match[1] ?? match[2]!, path: match[3]! };
}

type Lines = AsyncIterable<ProgressLine | TransferDone>;
type Done = Pick<TransferDone, 'files' | 'spis' | 'outside'>;
type Moved = Done['files'][number];

/** Runs a transfer in the instance that `find` finds, and shows it. @param told what became of one file */
export async function transfer(
  { context, out, flags }: Invocation,
  find: (signal: AbortSignal) => Promise<Running>,
  begin: (instance: Running, signal: AbortSignal) => Lines,
  told: (file: Moved) => string,
): Promise<number> {
  const bar = new ProgressBar(context.err, out.paint);
  let begun = false;
  try {
    const done = await interruptible(context, flags.timeout, async (signal) => {
      let last: Done = { files: [], spis: [], outside: null };
      const lines = throughLives({
        find: () => find(signal),
        ask: (instance) => {
          begun = true;
          return begin(instance, signal);
        },
        onPresence: (there) => {
          bar.leave();
          out.note(there ? '· it is back, and the transfer goes on' : '· the instance has ended; the transfer waits for it to be back');
        },
        signal,
      });
      for await (const line of lines) {
        if (line.event === 'transferred') last = line;
        else if (!out.json && !out.quiet) bar.show(line);
      }
      return last;
    });
    const { files, spis, outside } = done;
    if (out.json) out.document({ files, spis, outside });
    else {
      for (const file of files) tell(out, file, told(file));
      if (files.some((file) => movedNow(file) > 0)) tellSpis(out, done);
    }
    return files.every(({ tree }) => tree === undefined || tree.skippedCount === 0) ? EXIT.ok : EXIT.failed;
  } catch (error) {
    bar.leave();
    const stopped = error instanceof CliError && (error.code === 'INTERRUPTED' || error.code === 'TIMEOUT');
    if (!begun || !stopped) throw error;
    // What is across stays there, so to end it is no loss.
    const hint = 'Run the same command to go on where it stopped.';
    throw new CliError(`${error.message}; what is across is kept`, { code: error.code as 'INTERRUPTED', hint, resumable: true });
  }
}

function tell(out: Output, moved: Moved, what: string): void {
  const { tree } = moved;
  const amount = tree === undefined ? speed(moved) : `${formatCount(tree.files)} files, ${speed(moved, tree.files === tree.known)}`;
  for (const { start, end } of moved.mended ?? [])
    out.line(`${out.paint.yellow('!')} ${moved.name}  octets ${start} to ${end - 1} had been damaged, and were moved again`);
  if (tree === undefined || tree.skippedCount === 0) return out.line(`${out.paint.green('✓')} ${what}  ${amount}`);
  out.line(`${out.paint.yellow('!')} ${what}  ${amount}, ${formatCount(tree.skippedCount)} left out:`);
  for (const { name, why } of tree.skipped) out.line(`    ${printable(name)}: ${why}`);
  if (tree.skippedCount > tree.skipped.length) out.line(`    and ${formatCount(tree.skippedCount - tree.skipped.length)} more`);
}

/** `    SPI 0be2917a out 3.0 MiB · c71fe402 in 41.2 KiB; nothing left outside of them`. */
function tellSpis(out: Output, { spis, outside }: Done): void {
  const shown = spis.slice(0, MOST_SPIS).map(({ spi, direction, bytes }) => `${spi} ${direction} ${formatBytes(bytes)}`);
  const more = spis.length > MOST_SPIS ? [`and ${spis.length - MOST_SPIS} more`] : [];
  const left = outside === null ? '' : outside === 0 ? '; nothing left outside of them' : `; ${formatBytes(outside)} in none of them`;
  out.line(`    SPI ${[...shown, ...more].join(' · ')}${left}`);
}

const movedNow = ({ bytes, resumedFrom }: Moved): number => bytes - resumedFrom;

/** `28.6 MiB in 1.2 s, 23.8 MiB/s`; of a resumed file what this run moved. */
function speed(file: Moved, wasThere = file.bytes > 0 && movedNow(file) === 0): string {
  if (wasThere) return 'was there already, whole';
  const { tookMs } = file;
  const moved = movedNow(file);
  const rate = tookMs >= 100 ? `, ${formatBytes((moved / tookMs) * 1000)}/s` : '';
  return `${formatBytes(moved)} in ${tookMs < 10_000 ? formatLatency(tookMs) : formatDuration(tookMs)}${rate}`;
}

/** The instance that knows the peer; an inner address or a name behind the tunnel is for the only one there is. */
export async function instanceOf({ context, flags }: Invocation, peer: string, signal: AbortSignal): Promise<Running> {
  const instances = await runningInstances(context, flags.control, signal);
  if (instances.length === 0) throw notRunning();
  const knows = instances.filter(({ status }) => status.name === peer || peerOf(status, peer) !== undefined);
  if (knows.length === 0 && instances.length === 1 && /[.:]/.test(peer)) return instances[0]!;
  return instanceFor(instances, peer);
}

export const LIMIT = ['--limit <rate>', 'octets a second at most: 800K, 5M, 1.5G', parseRate] as const;

/** @throws InvalidArgumentError */
function parseRate(input: string): number {
  return takenAs(parseOctetRate(input), input);
}

/** `--largest`, `--keep-free`. @throws InvalidArgumentError */
export function parseOctets(input: string): number {
  return takenAs(parseSize(input), input);
}

function takenAs<T>(parsed: Parsed<T>, input: string): T {
  if (parsed.ok) return parsed.value;
  const { message, hint } = parsed;
  throw new InvalidArgumentError(`${message.replace(quoted(input), input)}.${hint === undefined ? '' : ` ${hint}`}`);
}

/** `--parallel`: 1 to 16. @throws InvalidArgumentError */
export function connectionsFlag(text: string): number {
  const number = Number(text);
  if (/^\d{1,2}$/.test(text) && number >= 1 && number <= 16) return number;
  throw new InvalidArgumentError(`${text} is not a number from 1 to 16. Write digits alone.`);
}

/** On a line; `--json` has all. */
const MOST_SPIS = 6;
