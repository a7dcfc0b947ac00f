import { ConfigError, type ErrorDetails, TunnelwrightError } from '../core/bytes/errors.ts';

/** The command line itself was used wrongly, or what it names is not there. */
export class CliError extends TunnelwrightError {
  /** Running the same command again goes on where this ended. */
  readonly resumable: boolean;

  constructor(message: string, details: ErrorDetails & { code: CliCode; resumable?: boolean }) {
    super(message, details);
    this.resumable = details.resumable ?? false;
  }
}

export type CliCode =
  | 'USAGE'
  | 'WHICH_INSTANCE'
  | 'NO_SUCH_PEER'
  | 'NO_FILE_SERVICE'
  /** Of this instance: its port for files is taken. */
  | 'RECEIVES_ALREADY'
  | 'FILE_NOT_FOUND'
  | 'CONNECTION_BROKE'
  | 'NO_NAMESPACE'
  | 'INSTANCE_GONE'
  | 'INTERRUPTED'
  | 'TIMEOUT';

/** A configuration with more than one mistake: all are worth telling at once. */
export class ConfigMistakes extends ConfigError {
  readonly errors: readonly ConfigError[];

  constructor(errors: readonly [ConfigError, ...ConfigError[]]) {
    const [{ message, code, hint, path, file, line, column }] = errors;
    super(message, {
      code,
      ...(hint === undefined ? {} : { hint }),
      ...(path === undefined ? {} : { path }),
      ...(file === undefined ? {} : { file }),
      ...(line === undefined ? {} : { line }),
      ...(column === undefined ? {} : { column }),
    });
    this.name = 'ConfigError';
    this.errors = errors;
  }
}
