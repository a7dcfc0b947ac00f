import { ApiMisuse, InternalError, NegotiationFailure, PeerViolation, TunnelwrightError } from '../../../core/bytes/index.ts';
import { type AuthVerdict, type KeyObject, keyExchange, type SignatureScheme, signAuth, verifyAuth } from '../../../core/crypto/index.ts';

/** What takes a processor long enough that another thread may do it. Keys are `KeyObject`s: a thread is lent them without seeing octets. */
export type Work =
  | { readonly kind: 'key-exchange'; readonly method: number; readonly peerPublic: Uint8Array; readonly seed: Uint8Array | undefined }
  | { readonly kind: 'sign'; readonly key: KeyObject; readonly scheme: SignatureScheme; readonly octets: Uint8Array }
  | ({ readonly kind: 'verify' } & Parameters<typeof verifyAuth>[0]);

export interface WorkResults {
  readonly 'key-exchange': { readonly publicValue: Uint8Array; readonly sharedSecret: Uint8Array };
  readonly sign: Uint8Array;
  readonly verify: AuthVerdict;
}

export type WorkOf<K extends Work['kind']> = Extract<Work, { kind: K }>;

/** Who does it: this thread, at once, or another, later. Throws or rejects with a `TunnelwrightError`. */
export type Computer = <K extends Work['kind']>(work: WorkOf<K>) => WorkResults[K] | Promise<WorkResults[K]>;

/** Thoughts about signatures, which stop where one is to be made or judged; whoever goes on with them hands in the result. */
export type SignatureSteps<T> = Generator<WorkOf<'sign' | 'verify'>, T, unknown>;

/** Here and now. */
export function compute<K extends Work['kind']>(work: WorkOf<K>): WorkResults[K];
export function compute(work: Work): WorkResults[Work['kind']] {
  switch (work.kind) {
    case 'key-exchange': {
      const method = keyExchange(work.method);
      if (method === undefined) throw new InternalError(`key exchange ${work.method} was negotiated and is not known`);
      return method.accept(work.peerPublic, work.seed);
    }
    case 'sign':
      return signAuth(work.key, work.scheme, work.octets);
    case 'verify':
      return verifyAuth(work);
  }
}

/** Steps of work with thoughts between them, as a generator. @returns at once where the computer does */
export function follow<T>(steps: SignatureSteps<T>, computer: Computer): T | Promise<T> {
  let step = steps.next();
  while (!step.done) {
    const result = computer(step.value);
    if (result instanceof Promise) return followLater(steps, result, computer);
    step = steps.next(result);
  }
  return step.value;
}

async function followLater<T>(steps: SignatureSteps<T>, first: Promise<unknown>, computer: Computer): Promise<T> {
  let step = steps.next(await first);
  while (!step.done) step = steps.next(await computer(step.value));
  return step.value;
}

/** An error as a thread can tell it: structured clone forgets classes. */
export interface PlainError {
  readonly kind: 'violation' | 'misuse' | 'internal';
  readonly message: string;
  readonly code: string;
  readonly section: string | undefined;
  readonly hint: string | undefined;
  readonly notify: number | undefined;
}

export function plainError(error: unknown): PlainError {
  const known = error instanceof TunnelwrightError ? error : undefined;
  const notify = error instanceof PeerViolation || error instanceof NegotiationFailure ? error.notify : undefined;
  return {
    kind: error instanceof PeerViolation ? 'violation' : error instanceof ApiMisuse ? 'misuse' : 'internal',
    message: error instanceof Error ? error.message : String(error),
    code: known?.code ?? 'INTERNAL',
    section: known?.section,
    hint: known?.hint,
    notify,
  };
}

export function errorOf({ kind, message, code, section, hint, notify }: PlainError): TunnelwrightError {
  const details = { code, ...(section === undefined ? {} : { section }), ...(hint === undefined ? {} : { hint }) };
  if (kind === 'violation') return new PeerViolation(message, { ...details, ...(notify === undefined ? {} : { notify }) });
  return kind === 'misuse' ? new ApiMisuse(message, details) : new InternalError(message, details);
}
