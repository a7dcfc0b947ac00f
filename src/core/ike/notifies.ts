import { EMPTY } from '../bytes/bytes.ts';
import { AuthenticationFailure, NegotiationFailure, PeerRefused, PeerViolation, TunnelwrightError } from '../bytes/errors.ts';
import { type NotifyPayload, NotifyType, nameOf, type Payload, type PayloadOf } from '../wire/index.ts';

/** A notify that concerns no SPI (RFC 7296 §3.10). */
export const notify = (type: number, data: Uint8Array = EMPTY): NotifyPayload => ({
  kind: 'N',
  notify: type,
  protocol: 0,
  spi: EMPTY,
  data,
});

// each message is asked for a dozen of them: without closures
export function findNotify(payloads: readonly Payload[], type: number): NotifyPayload | undefined {
  for (let i = 0; i < payloads.length; i++) {
    const p = payloads[i]!;
    if (p.kind === 'N' && p.notify === type) return p;
  }
  return undefined;
}

export function find<K extends Payload['kind']>(payloads: readonly Payload[], kind: K): PayloadOf<K> | undefined {
  for (let i = 0; i < payloads.length; i++) if (payloads[i]!.kind === kind) return payloads[i] as PayloadOf<K>;
  return undefined;
}

export const findAll = <K extends Payload['kind']>(payloads: readonly Payload[], kind: K): PayloadOf<K>[] =>
  payloads.filter((p): p is PayloadOf<K> => p.kind === kind);

/** What the grammar has promised is there. */
export function need<K extends Payload['kind']>(payloads: readonly Payload[], kind: K): PayloadOf<K> {
  const payload = find(payloads, kind);
  if (payload === undefined) throw invalidSyntax(`the ${kind} payload is missing`);
  return payload;
}

/** RFC 7296 §3.10.1: types below 16384 report errors; those that are not understood count as errors in a response and are ignored in a request. */
export function errorNotify(payloads: readonly Payload[]): NotifyPayload | undefined {
  for (let i = 0; i < payloads.length; i++) {
    const p = payloads[i]!;
    if (p.kind === 'N' && p.notify < FIRST_STATUS_TYPE) return p;
  }
  return undefined;
}

export function invalidSyntax(message: string, section = 'RFC 7296 §2.21'): PeerViolation {
  return new PeerViolation(message, { code: 'INVALID_SYNTAX', notify: NotifyType.INVALID_SYNTAX, section });
}

/** The single table from what went wrong to what the peer may learn of it. */
export function answerTo(error: unknown): Payload[] {
  if (error instanceof AuthenticationFailure) return [notify(NotifyType.AUTHENTICATION_FAILED)];
  if (error instanceof PeerRefused) return [notify(NotifyType.TEMPORARY_FAILURE)];
  if (error instanceof NegotiationFailure || error instanceof PeerViolation) {
    const data = 'data' in error && error.data instanceof Uint8Array ? error.data : EMPTY;
    // §2.21.3: INVALID_SYNTAX ends the IKE SA, and a peer that behaves is no reason for that
    const otherwise = error instanceof PeerViolation ? NotifyType.INVALID_SYNTAX : NotifyType.TEMPORARY_FAILURE;
    return [notify(error.notify ?? otherwise, data)];
  }
  if (error instanceof TunnelwrightError && error.code === 'MALFORMED_MESSAGE') return [notify(NotifyType.INVALID_SYNTAX)];
  return [notify(NotifyType.TEMPORARY_FAILURE)];
}

/** An error notify of the peer as an error of ours, with the sentence and the fix. */
export function refusedBy(answer: NotifyPayload, what: string): PeerRefused {
  const name = nameOf(NotifyType, answer.notify);
  return new PeerRefused(`the peer answered ${name} to ${what}${EXPLAINED[answer.notify]?.why ?? ''}`, {
    code: `PEER_${name.replace(/[^A-Z0-9_]/gi, '_').toUpperCase()}`,
    notify: answer.notify,
    section: 'RFC 7296 §3.10.1',
    hint: EXPLAINED[answer.notify]?.hint ?? 'The log of the peer says more.',
  });
}

const EXPLAINED: Readonly<Record<number, { readonly why: string; readonly hint: string }>> = {
  [NotifyType.NO_PROPOSAL_CHOSEN]: { why: ': it accepts none of the suites we offered', hint: 'Configure one suite that both ends have.' },
  [NotifyType.AUTHENTICATION_FAILED]: {
    why: ': it did not accept our identity, our secret or our certificate',
    hint: 'Compare identity and secret (or certificate and CA) on both ends; for security the answer itself says no more, the log of the peer does.',
  },
  [NotifyType.TS_UNACCEPTABLE]: {
    why: ': it allows none of the traffic we asked for',
    hint: 'Make local and remote traffic selectors of both ends overlap.',
  },
  [NotifyType.SINGLE_PAIR_REQUIRED]: {
    why: ': it takes one pair of addresses per CHILD_SA',
    hint: 'Configure narrower traffic selectors.',
  },
  [NotifyType.FAILED_CP_REQUIRED]: { why: ': it insists on assigning an address', hint: 'Ask for a virtual address.' },
  [NotifyType.INTERNAL_ADDRESS_FAILURE]: { why: ': it could not assign an address', hint: 'Look whether its address pool is used up.' },
  [NotifyType.NO_ADDITIONAL_SAS]: { why: ': it takes no more CHILD_SAs', hint: 'Delete an SA, or raise the limit of the peer.' },
  [NotifyType.STATE_NOT_FOUND]: {
    why: ': it no longer knows the SA that this key exchange was for',
    hint: 'The key exchanges of one SA must follow each other within seconds; look whether the path or one end is slow.',
  },
  [NotifyType.INVALID_SYNTAX]: { why: ': it found our message malformed', hint: 'Please report this with a capture.' },
};

const FIRST_STATUS_TYPE = 16384;
