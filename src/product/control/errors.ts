import { type ErrorDetails, TunnelwrightError } from '../../core/bytes/errors.ts';
import type { ErrorBody } from './api.ts';

/** Speaking to an instance failed: nobody is there, or it answers what we do not understand. */
export class ControlError extends TunnelwrightError {
  constructor(message: string, details: ErrorDetails & { code: ControlCode }) {
    super(message, details);
  }
}

export type ControlCode =
  /** Nobody listens at the socket. */
  | 'NOT_RUNNING'
  /** Somebody already listens there. */
  | 'ALREADY_RUNNING'
  /** The socket is there, but is not ours to open. */
  | 'CONTROL_FORBIDDEN'
  /** The path cannot be a control socket. */
  | 'CONTROL_SOCKET'
  /** The instance ended, or its connection broke, in the middle of an answer. */
  | 'CONTROL_LOST'
  /** What came is not of this API. */
  | 'CONTROL_PROTOCOL';

/** An error that happened in the instance and was told through the socket. `type` is the class it had there. */
export class RemoteError extends TunnelwrightError {
  readonly type: string;
  readonly notify: number | undefined;
  readonly resumable: boolean;

  constructor(body: ErrorBody) {
    const { hint, section } = body;
    super(body.message, { code: body.code, ...(hint === undefined ? {} : { hint }), ...(section === undefined ? {} : { section }) });
    this.type = body.type;
    this.notify = body.notify;
    this.resumable = body.resumable ?? false;
  }
}

/** How an error travels. Of what is not ours only the message does, never a stack. */
export function errorToBody(error: unknown): ErrorBody {
  if (!(error instanceof TunnelwrightError)) {
    const message = error instanceof Error ? error.message : String(error);
    return {
      type: 'InternalError',
      code: 'INTERNAL_ERROR',
      message: `unexpected: ${message}`,
      hint: 'This is a defect of Tunnelwright: please report it with the log.',
    };
  }
  const { code, message, hint, section } = error;
  return {
    type: error instanceof RemoteError ? error.type : error.name,
    code,
    message,
    ...(hint === undefined ? {} : { hint }),
    ...(section === undefined ? {} : { section }),
    ...('notify' in error && typeof error.notify === 'number' ? { notify: error.notify } : {}),
    ...('resumable' in error && error.resumable === true ? { resumable: true } : {}),
  };
}
