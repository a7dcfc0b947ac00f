/**
 * The error tree, sorted by blame: who has to act. Every error carries a stable `code` (API: scripts and docs/errors.md
 * rely on it), where it helps the RFC section that was broken, and a hint that tells the operator the next action.
 *
 * Only this tree is thrown inside Tunnelwright. Bad packets never surface as exceptions of the engine: they are dropped,
 * counted and noticed.
 */
export interface ErrorDetails {
  /** Stable, SCREAMING_SNAKE_CASE; part of the public API. */
  readonly code: string;
  /** The rule that was broken or applied, e.g. `RFC 7296 §3.3.6`. */
  readonly section?: string;
  /** The next action of the operator, one sentence. */
  readonly hint?: string;
  readonly cause?: unknown;
}

export abstract class TunnelwrightError extends Error {
  readonly code: string;
  readonly section: string | undefined;
  readonly hint: string | undefined;

  constructor(message: string, details: ErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = details.code;
    this.section = details.section;
    this.hint = details.hint;
  }
}

/** Bytes that no conforming peer sends: they do not parse. Carries the offset and the field at which reading stopped. */
export class MalformedMessage extends TunnelwrightError {
  readonly offset: number | undefined;
  readonly field: string | undefined;

  constructor(message: string, details: Omit<ErrorDetails, 'code'> & { code?: string; offset?: number; field?: string } = {}) {
    super(message, { ...details, code: details.code ?? 'MALFORMED_MESSAGE' });
    this.offset = details.offset;
    this.field = details.field;
  }
}

/** The peer sent something well formed that the standard forbids here. `notify` is what the standard answers, if anything. */
export class PeerViolation extends TunnelwrightError {
  readonly notify: number | undefined;

  constructor(message: string, details: ErrorDetails & { notify?: number }) {
    super(message, details);
    this.notify = details.notify;
  }
}

/** Both ends behave, but want different things: proposals, selectors, key exchange methods, modes. */
export class NegotiationFailure extends TunnelwrightError {
  readonly notify: number | undefined;

  constructor(message: string, details: ErrorDetails & { notify?: number }) {
    super(message, details);
    this.notify = details.notify;
  }
}

/** Somebody could not prove who they are. The detail stays local: on the wire every cause looks the same. */
export class AuthenticationFailure extends TunnelwrightError {}

/** A certificate or its path does not prove what was asked. The wire learns AUTHENTICATION_FAILED, nothing more. */
export class CertificateFailure extends AuthenticationFailure {}

/** The peer answered with an error notify; `notify` is its number. */
export class PeerRefused extends TunnelwrightError {
  readonly notify: number;

  constructor(message: string, details: ErrorDetails & { notify: number }) {
    super(message, details);
    this.notify = details.notify;
  }
}

/** Nobody answered in time. */
export class TimedOut extends TunnelwrightError {}

/** The configuration is wrong; `path` leads into it, `line` and `column` (from 1) into its file. */
export class ConfigError extends TunnelwrightError {
  readonly path: string | undefined;
  readonly file: string | undefined;
  readonly line: number | undefined;
  readonly column: number | undefined;

  constructor(message: string, details: ErrorDetails & { path?: string; file?: string; line?: number; column?: number }) {
    super(message, details);
    this.path = details.path;
    this.file = details.file;
    this.line = details.line;
    this.column = details.column;
  }
}

/** The machine refused: a socket, a device, a file. `privilege` names what is missing, where that is the cause. */
export class DataPlaneError extends TunnelwrightError {
  readonly backend: string | undefined;
  readonly errno: string | undefined;
  readonly privilege: string | undefined;

  constructor(message: string, details: ErrorDetails & { backend?: string; errno?: string; privilege?: string }) {
    super(message, details);
    this.backend = details.backend;
    this.errno = details.errno;
    this.privilege = details.privilege;
  }
}

/** The caller of a public function used it wrongly. */
export class ApiMisuse extends TunnelwrightError {
  constructor(message: string, details: Partial<ErrorDetails> = {}) {
    super(message, { ...details, code: details.code ?? 'API_MISUSE' });
  }
}

/** Our own mistake. */
export class InternalError extends TunnelwrightError {
  constructor(message: string, details: Partial<ErrorDetails> = {}) {
    super(message, {
      hint: 'This is a defect of Tunnelwright: please report it with the log.',
      ...details,
      code: details.code ?? 'INTERNAL_ERROR',
    });
  }
}
