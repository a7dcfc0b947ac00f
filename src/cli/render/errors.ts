import { type ConfigError, TunnelwrightError } from '../../core/bytes/errors.ts';
import type { ErrorBody } from '../../product/control/api.ts';
import { errorToBody } from '../../product/control/errors.ts';
import type { Paint } from '../context.ts';
import { exitCodeOf } from '../exit-codes.ts';
import { width, wrap } from './text.ts';

export interface Failure extends ErrorBody {
  readonly exit: number;
}

/** An error with the exit code that it means. */
export function failureOf(error: unknown): Failure {
  const body = errorToBody(error);
  const privilege =
    error instanceof TunnelwrightError && 'privilege' in error && typeof error.privilege === 'string' ? error.privilege : undefined;
  return { ...body, exit: exitCodeOf({ ...body, privilege }) };
}

export interface FailureOptions {
  /** Which connection it is about. */
  readonly subject?: string | undefined;
  /** Adds the rule that was applied. */
  readonly verbose?: boolean;
  /** Facts between what and fix, with a word for each: what was offered, what was asked for. */
  readonly facts?: readonly (readonly [word: string, text: string])[] | undefined;
}

/** What, and how to mend it: `✗ corp: the gateway refused every proposal   exit 5`, then `fix` and, when asked for more, `why`. */
export function renderFailure(failure: Failure, paint: Paint, columns: number, options: FailureOptions = {}): string {
  const { subject, facts = [] } = options;
  const about = subject === undefined || failure.message.startsWith(`${subject}:`) ? '' : `${subject}: `;
  const lines = [
    `${paint.red('✗')} ${withExit(`${about}${failure.message}`, failure.exit, columns - 2)}`,
    ...facts.map(([word, text]) => `  ${word}  ${wrap(text, columns - word.length - 4, ' '.repeat(word.length + 4))}`),
  ];
  if (failure.hint !== undefined) lines.push(labelled('fix', failure.hint, columns));
  if (options.verbose === true && failure.section !== undefined) lines.push(labelled('why', failure.section, columns));
  return `${lines.join('\n')}\n`;
}

/** Several mistakes of one configuration; the exit code stands behind the last. */
export function renderMistakes(errors: readonly ConfigError[], paint: Paint, columns: number): string {
  return errors
    .map((error, i) => {
      const text = renderFailure(failureOf(error), paint, columns);
      return i === errors.length - 1 ? text : text.replace(/\s+exit \d+/, '');
    })
    .join('');
}

export function renderWarning(message: string, hint: string | undefined, paint: Paint, columns: number): string {
  const lines = [`${paint.yellow('!')} ${wrap(message, columns - 2, '  ')}`];
  if (hint !== undefined) lines.push(labelled('fix', hint, columns));
  return `${lines.join('\n')}\n`;
}

/** The exit code stays in one piece. */
function withExit(message: string, exit: number, room: number): string {
  const text = wrap(message, room, '  ');
  const last = width(text.split('\n').at(-1)!.trimStart());
  return last + 10 <= room ? `${text}   exit ${exit}` : `${text}\n  exit ${exit}`;
}

const labelled = (label: string, text: string, columns: number): string => `  ${label}   ${wrap(text, columns - 8, ' '.repeat(8))}`;
