import { type ErrorDetails, TunnelwrightError } from '../core/bytes/errors.ts';

/** The command line itself was used wrongly, or what it names is not there. */
export class CliError extends TunnelwrightError {
  /** Running the same command again goes on where this ended. */
  readonly resumable: boolean;

  constructor(message: string, details: ErrorDetails & { code: CliCode; resumable?: boolean }) {
    super(message, details);
    this.resumable = details.resumable ?? false;
  }
}

export type CliCode = 'USAGE' | 'WHICH_INSTANCE' | 'NO_SUCH_PEER' | 'NO_FILE_SERVICE' | 'FILE_NOT_FOUND' | 'INTERRUPTED' | 'TIMEOUT';
