import type { CliContext, GlobalFlags, Paint } from './context.ts';
import { ConfigMistakes } from './errors.ts';
import { type Failure, type FailureOptions, failureOf, renderFailure, renderMistakes, renderWarning } from './render/errors.ts';
import { paintFor } from './render/text.ts';

/** What a command says: results on the output, everything else beside it; one JSON document in their place with --json. */
export class Output {
  readonly json: boolean;
  readonly quiet: boolean;
  /** 0, 1 (-v) or 2 (-vv). */
  readonly verbose: number;
  readonly paint: Paint;
  readonly #context: CliContext;
  readonly #errPaint: Paint;

  constructor(context: CliContext, flags: GlobalFlags) {
    this.#context = context;
    this.json = flags.json === true;
    this.quiet = flags.quiet === true;
    this.verbose = flags.verbose ?? 0;
    this.paint = paintFor(context, context.out, flags.color);
    this.#errPaint = paintFor(context, context.err, flags.color);
  }

  get columns(): number {
    return this.#context.out.columns;
  }

  /** The result, in full lines. */
  print(text: string): void {
    if (!this.quiet) this.#context.out.write(text);
  }

  line(text: string): void {
    this.print(`${text}\n`);
  }

  /** One document; where the command follows something, one for each line. */
  document(value: object): void {
    this.#context.out.write(`${JSON.stringify('schema' in value ? value : { schema: 1, ...value })}\n`);
  }

  /** What helps, and is no result. */
  note(text: string): void {
    if (!this.quiet && !this.json) this.#context.err.write(`${text}\n`);
  }

  warn(message: string, hint?: string): void {
    if (!this.quiet && !this.json) this.#context.err.write(renderWarning(message, hint, this.#errPaint, this.#context.err.columns));
  }

  /** Tells a failure and gives its exit code. */
  fail(error: unknown, subject?: string, facts?: FailureOptions['facts']): number {
    const failure: Failure = failureOf(error);
    const { columns } = this.#context.err;
    if (this.json) this.document({ error: failure, ...(error instanceof ConfigMistakes ? { errors: error.errors.map(failureOf) } : {}) });
    else if (error instanceof ConfigMistakes) this.#context.err.write(renderMistakes(error.errors, this.#errPaint, columns));
    else this.#context.err.write(renderFailure(failure, this.#errPaint, columns, { subject, facts, verbose: this.verbose > 0 }));
    return failure.exit;
  }
}
