import { TunnelwrightError } from '../../core/bytes/index.ts';
import type { Failure } from './messages.ts';

/** An error as it crosses from one process to another. */
export function failureOf(error: unknown): Failure {
  if (error instanceof TunnelwrightError) {
    return { kind: 'failed', name: error.name, code: error.code, message: error.message, hint: error.hint };
  }
  const message = error instanceof Error ? error.message : String(error);
  return {
    kind: 'failed',
    name: 'InternalError',
    code: 'INTERNAL_ERROR',
    message,
    hint: 'This is a defect of Tunnelwright: please report it.',
  };
}
