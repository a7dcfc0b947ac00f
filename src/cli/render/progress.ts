import type { ProgressLine } from '../../product/control/api.ts';
import type { Paint, Terminal } from '../context.ts';
import { padEnd, padStart, truncate, width } from './text.ts';
import { formatBytes, formatCount, formatDuration } from './units.ts';

/** Shows a file on its way, on a terminal: a bar that is drawn over itself, and gone when the file is across. */
export class ProgressBar {
  readonly #terminal: Terminal;
  readonly #paint: Paint;
  /** What stands on the line now; empty when nothing does. */
  #drawn = '';

  constructor(terminal: Terminal, paint: Paint) {
    this.#terminal = terminal;
    this.#paint = paint;
  }

  show(progress: ProgressLine): void {
    if (!this.#terminal.isTty) return;
    this.#drawn = progress.phase === 'done' ? '' : renderProgress(progress, this.#paint, this.#terminal.columns - 1);
    this.#terminal.write(`${CLEAR_LINE}${this.#drawn}`);
  }

  /** Writes full lines above the bar, which stays the last line. */
  above(lines: string): void {
    this.#terminal.write(this.#drawn === '' ? lines : `${CLEAR_LINE}${lines}${this.#drawn}`);
  }

  /** Before anything else is written: what is drawn stays, on a line of its own. */
  leave(): void {
    if (this.#drawn !== '') this.#terminal.write('\n');
    this.#drawn = '';
  }
}

/** `backup.tar  ████████████░░░░░░  64 %  3.1/4.8 GiB  92 MiB/s  eta 19s`, as much of it as fits. */
export function renderProgress(progress: ProgressLine, paint: Paint, columns: number): string {
  const { bytes, total, name } = progress;
  const share = total > 0 ? Math.min(1, bytes / total) : progress.phase === 'done' ? 1 : 0;
  const percent = `${padStart(String(Math.floor(share * 100)), 3)} %`;
  const parts = [percent, ...countOf(progress), amountOf(bytes, total), ...statusOf(progress)];
  while (parts.length > 1 && width(parts.join('  ')) + SHORTEST_NAME + SHORTEST_BAR + 4 > columns) parts.pop();
  const tail = parts.join('  ');
  const shown = truncate(name, Math.max(SHORTEST_NAME, columns - width(tail) - SHORTEST_BAR - 4));
  const bar = Math.max(0, Math.min(LONGEST_BAR, columns - width(shown) - width(tail) - 4));
  const filled = Math.round(share * bar);
  return `${padEnd(shown, 0)}  ${paint.cyan('█'.repeat(filled))}${'░'.repeat(bar - filled)}  ${tail}`;
}

function statusOf({ phase, rate, eta, retries, retryIn, bytes, resumedFrom }: ProgressLine): string[] {
  const lost = retries > 0 ? [`${retries} × reconnected`] : [];
  switch (phase) {
    case 'hashing':
      return ['reading it for its digest'];
    case 'connecting':
      return ['connecting', ...lost];
    case 'verifying':
      return ['comparing digests'];
    case 'waiting':
      return [`connection lost, again in ${formatDuration(retryIn ?? 0)}`];
    case 'done':
      return [resumedFrom > 0 ? `done, ${formatBytes(bytes - resumedFrom)} of it now` : 'done', ...lost];
    default:
      return [`${formatBytes(rate)}/s`, eta === null ? '' : `eta ${formatDuration(eta * 1000)}`, ...lost].filter((part) => part !== '');
  }
}

const countOf = ({ files }: ProgressLine): string[] =>
  files === undefined ? [] : [`${formatCount(files.done)}/${formatCount(files.total)} files`];

/** `3.1/4.8 GiB`: the unit once where it is the same. */
function amountOf(bytes: number, total: number): string {
  const [have, all] = [formatBytes(bytes), formatBytes(total)];
  const [, unit] = all.split(' ');
  return have.endsWith(` ${unit}`) ? `${have.split(' ')[0]}/${all}` : `${have}/${all}`;
}

/** To the first column, and erase to the end. */
const CLEAR_LINE = '\r\u001b[2K';
const SHORTEST_NAME = 12;
const SHORTEST_BAR = 10;
const LONGEST_BAR = 24;
