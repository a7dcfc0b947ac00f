import { PeerViolation } from '../bytes/errors.ts';
import { MESSAGE_FORMS, type MessageForm } from './forms.ts';
import type { IkeHeader } from './header.ts';
import { ExchangeType, isErrorNotify, NotifyType, ProtocolId } from './iana.ts';
import { isSealed } from './message.ts';
import type { Cardinality, PayloadKind } from './payload.ts';
import { PAYLOADS } from './payloads/index.ts';
import { NONCE_MAX, NONCE_MIN } from './payloads/nonce.ts';
import type { Payload } from './payloads/types.ts';
import { notifyName } from './text/notify.ts';

/**
 * Holds a message, opened if it was protected, against the grammar of its exchange. Payloads may come in any order: RFC 7296 §2.5 wants
 * them sent in the order of the figures and lets nobody reject another order; so KE and Nonce may change places here. N, V and payloads
 * of unknown type may stand anywhere, and an exchange that has no grammar here is not judged.
 *
 * Throws `PeerViolation` (INVALID_SYNTAX) for a payload that is missing, stands twice or has no place.
 * @param form which the exchange is at, for callers that know it; else it is told by what is in the message, by which an IKE_AUTH response
 *   that lacks its IDr looks like the one that ends EAP
 */
export function checkMessage(header: IkeHeader, payloads: readonly Payload[], form = formOf(header, payloads)): void {
  if (form === undefined) return;
  const sealed = payloads.find(isSealed);
  // RFC 7296 §1.2: the exchange that makes the keys is under none
  if (sealed !== undefined && UNPROTECTED.includes(header.exchange)) throw violation(form, `${sealed.kind} has no place in it`);
  // What is still sealed can neither be missed nor judged.
  if (sealed !== undefined) return;
  const allowed = TABLE.get(form)!;
  for (let i = 0; i < payloads.length; i++) {
    const { kind } = payloads[i]!;
    if (kind !== 'unknown' && !allowed.has(kind)) throw violation(form, `${kind} has no place in it`);
  }
  const row = ROWS.get(form)!;
  for (let i = 0; i < row.length; i++) {
    const { kind, times } = row[i]!;
    const count = countOf(payloads, kind);
    if (count === 0 && times === 'one') throw violation(form, `${kind} is missing`);
    if (count > 1 && times !== 'many') throw violation(form, `${kind} stands in it ${count} times`);
  }
  checkRules(form, payloads);
}

/** Which form a message has, told by what is in it; undefined for an exchange without grammar. */
export function formOf(header: IkeHeader, payloads: readonly Payload[]): MessageForm | undefined {
  const has = (kind: PayloadKind): boolean => payloads.some((payload) => payload.kind === kind);
  const { response } = header.flags;
  switch (header.exchange) {
    case ExchangeType.IKE_SA_INIT:
      return !response ? 'IKE_SA_INIT request' : isRefusal(payloads) ? 'IKE_SA_INIT refusal' : 'IKE_SA_INIT response';
    case ExchangeType.IKE_SESSION_RESUME:
      return !response ? 'IKE_SESSION_RESUME request' : isRefusal(payloads) ? 'IKE_SESSION_RESUME refusal' : 'IKE_SESSION_RESUME response';
    case ExchangeType.IKE_INTERMEDIATE:
      return response ? 'IKE_INTERMEDIATE response' : 'IKE_INTERMEDIATE request';
    case ExchangeType.IKE_AUTH:
      return response ? authResponse(payloads, has) : authRequest(has);
    case ExchangeType.CREATE_CHILD_SA:
      return createChildSa(response, payloads, has);
    case ExchangeType.IKE_FOLLOWUP_KE:
      return !response ? 'IKE_FOLLOWUP_KE request' : isRefusal(payloads) ? 'IKE_FOLLOWUP_KE refusal' : 'IKE_FOLLOWUP_KE response';
    case ExchangeType.INFORMATIONAL:
      return response ? 'INFORMATIONAL response' : 'INFORMATIONAL request';
    default:
      return undefined;
  }
}

/** The grammar as a Markdown table, in the notation of RFC 7296 appendix C: `[x]` may be left out, `x+` may be repeated. */
export function printGrammar(): string {
  const lines = ['| message | payloads | defined in |', '|---|---|---|'];
  for (const form of MESSAGE_FORMS) lines.push(`| ${form} | ${printForm(form)} | ${RULES[form].section} |`);
  return `${lines.join('\n')}\n`;
}

type Has = (kind: PayloadKind) => boolean;

function authRequest(has: Has): MessageForm {
  if (has('EAP')) return 'IKE_AUTH request, EAP round';
  return has('AUTH') && !has('IDi') ? 'IKE_AUTH request, after EAP' : 'IKE_AUTH request';
}

function authResponse(payloads: readonly Payload[], has: Has): MessageForm {
  if (has('EAP')) return 'IKE_AUTH response, EAP round';
  if (isRefusal(payloads)) return 'IKE_AUTH refusal';
  return has('AUTH') && !has('IDr') ? 'IKE_AUTH response, after EAP' : 'IKE_AUTH response';
}

/** RFC 7296 §1.3: an SA payload for IKE rekeys the IKE SA; with selectors it is about a CHILD_SA, which REKEY_SA names when it is an old one. */
function createChildSa(response: boolean, payloads: readonly Payload[], has: Has): MessageForm {
  if (response && isRefusal(payloads)) return 'CREATE_CHILD_SA refusal';
  const sa = payloads.find((payload) => payload.kind === 'SA');
  const rekeys = hasNotify(payloads, NotifyType.REKEY_SA);
  const ike = sa === undefined ? !has('TSi') && !has('TSr') && !rekeys : sa.proposals[0]?.protocol === ProtocolId.IKE;
  if (response) return ike ? 'CREATE_CHILD_SA response, IKE SA' : 'CREATE_CHILD_SA response, CHILD_SA';
  if (ike) return 'CREATE_CHILD_SA request, rekey IKE SA';
  return rekeys ? 'CREATE_CHILD_SA request, rekey CHILD_SA' : 'CREATE_CHILD_SA request, new CHILD_SA';
}

/** An answer that says no, or not yet: nothing but notifies, at least one of them an error or a demand to come back otherwise. */
function isRefusal(payloads: readonly Payload[]): boolean {
  let refused = false;
  for (const payload of payloads) {
    if (payload.kind === 'N') refused ||= isErrorNotify(payload.notify) || COME_BACK.includes(payload.notify);
    else if (payload.kind !== 'V' && payload.kind !== 'unknown') return false;
  }
  return refused;
}

const hasNotify = (payloads: readonly Payload[], notify: number): boolean =>
  payloads.some((payload) => payload.kind === 'N' && payload.notify === notify);

function countOf(payloads: readonly Payload[], kind: PayloadKind): number {
  let count = 0;
  for (const payload of payloads) if (payload.kind === kind) count++;
  return count;
}

function checkRules(form: MessageForm, payloads: readonly Payload[]): void {
  const { notifies, together } = RULES[form];
  for (const notify of notifies ?? NONE) if (!hasNotify(payloads, notify)) throw violation(form, `N(${notifyName(notify)}) is missing`);
  if (together !== undefined) checkTogether(form, together, payloads);
  for (const payload of payloads) {
    if (payload.kind === 'Nonce' && (payload.data.length < NONCE_MIN || payload.data.length > NONCE_MAX)) {
      throw new PeerViolation(`a nonce of ${payload.data.length} octets, where ${NONCE_MIN} to ${NONCE_MAX} are due`, {
        ...INVALID,
        section: 'RFC 7296 §3.9',
      });
    }
  }
}

function checkTogether(form: MessageForm, together: readonly PayloadKind[], payloads: readonly Payload[]): void {
  const missing = together.filter((kind) => countOf(payloads, kind) === 0);
  if (missing.length > 0 && missing.length < together.length)
    throw violation(form, `${missing.join(' and ')} is missing beside the rest of ${together.join(', ')}`);
}

const violation = (form: MessageForm, what: string): PeerViolation =>
  new PeerViolation(`${form}: ${what}`, { ...INVALID, section: RULES[form].section });

function printForm(form: MessageForm): string {
  const { notifies, together } = RULES[form];
  const parts = (notifies ?? []).map((notify) => `N(${notifyName(notify)})`);
  let grouped = false;
  for (const [kind, times] of TABLE.get(form)!) {
    if (together?.includes(kind)) {
      if (!grouped) parts.push(`[${together.join(', ')}]`);
      grouped = true;
    } else parts.push(times === 'one' ? kind : times === 'many' ? `[${kind}+]` : `[${kind}]`);
  }
  return parts.join(', ');
}

interface FormRule {
  readonly section: string;
  /** Notifies without which the form is not what it claims to be. */
  readonly notifies?: readonly number[];
  /** Optional payloads that come all or not at all. */
  readonly together?: readonly PayloadKind[];
}

const INVALID = { code: 'INVALID_SYNTAX', notify: NotifyType.INVALID_SYNTAX };

const NONE: readonly number[] = [];

/** RFC 7296 §1.2, RFC 5723 §4.3.2. */
const UNPROTECTED: readonly number[] = [ExchangeType.IKE_SA_INIT, ExchangeType.IKE_SESSION_RESUME];

/** Status notifies that answer a request with "not so": RFC 7296 §2.6, RFC 8019 §7.1.1, RFC 5685 §3, RFC 5723 §4.3.2. */
const COME_BACK: readonly number[] = [NotifyType.COOKIE, NotifyType.PUZZLE, NotifyType.REDIRECT, NotifyType.TICKET_NACK];

/** RFC 6023: an IKE SA may come up without CHILD_SA; then all three are absent. */
const CHILD_SA: readonly PayloadKind[] = ['SA', 'TSi', 'TSr'];

const RULES: Readonly<Record<MessageForm, FormRule>> = {
  'IKE_SA_INIT request': { section: 'RFC 7296 appendix C.1' },
  'IKE_SA_INIT response': { section: 'RFC 7296 appendix C.1' },
  'IKE_SA_INIT refusal': { section: 'RFC 7296 appendix C.1' },
  'IKE_SESSION_RESUME request': { section: 'RFC 5723 §4.3.1', notifies: [NotifyType.TICKET_OPAQUE] },
  'IKE_SESSION_RESUME response': { section: 'RFC 5723 §4.3.2' },
  'IKE_SESSION_RESUME refusal': { section: 'RFC 5723 §4.3.2' },
  'IKE_INTERMEDIATE request': { section: 'RFC 9242 §3' },
  'IKE_INTERMEDIATE response': { section: 'RFC 9242 §3' },
  'IKE_AUTH request': { section: 'RFC 7296 appendix C.2, C.3', together: CHILD_SA },
  'IKE_AUTH request, EAP round': { section: 'RFC 7296 appendix C.3' },
  'IKE_AUTH request, after EAP': { section: 'RFC 7296 appendix C.3' },
  'IKE_AUTH response': { section: 'RFC 7296 appendix C.2', together: CHILD_SA },
  'IKE_AUTH response, EAP round': { section: 'RFC 7296 appendix C.3' },
  'IKE_AUTH response, after EAP': { section: 'RFC 7296 appendix C.3', together: CHILD_SA },
  'IKE_AUTH refusal': { section: 'RFC 7296 §2.21.2' },
  'CREATE_CHILD_SA request, new CHILD_SA': { section: 'RFC 7296 appendix C.4' },
  'CREATE_CHILD_SA request, rekey CHILD_SA': { section: 'RFC 7296 appendix C.4' },
  'CREATE_CHILD_SA request, rekey IKE SA': { section: 'RFC 7296 appendix C.5' },
  'CREATE_CHILD_SA response, CHILD_SA': { section: 'RFC 7296 appendix C.4' },
  'CREATE_CHILD_SA response, IKE SA': { section: 'RFC 7296 appendix C.5' },
  'CREATE_CHILD_SA refusal': { section: 'RFC 7296 appendix C.4' },
  'IKE_FOLLOWUP_KE request': { section: 'RFC 9370 §2.2.4', notifies: [NotifyType.ADDITIONAL_KEY_EXCHANGE] },
  'IKE_FOLLOWUP_KE response': { section: 'RFC 9370 §2.2.4' },
  'IKE_FOLLOWUP_KE refusal': { section: 'RFC 9370 §2.2.4' },
  'INFORMATIONAL request': { section: 'RFC 7296 appendix C.6' },
  'INFORMATIONAL response': { section: 'RFC 7296 appendix C.6' },
};

/** Compiled from every payload's `occurs`. */
const TABLE: ReadonlyMap<MessageForm, ReadonlyMap<PayloadKind, Cardinality>> = new Map(
  MESSAGE_FORMS.map((form) => [form, compile(form)] as const),
);

/** The same as lists: each message is held against one. */
const ROWS: ReadonlyMap<MessageForm, readonly { readonly kind: PayloadKind; readonly times: Cardinality }[]> = new Map(
  Array.from(TABLE, ([form, row]) => [form, Array.from(row, ([kind, times]) => ({ kind, times }))] as const),
);

function compile(form: MessageForm): Map<PayloadKind, Cardinality> {
  const row = new Map<PayloadKind, Cardinality>();
  for (const { notation, occurs } of PAYLOADS) for (const entry of occurs) if (entry.form === form) row.set(notation, entry.times);
  return row;
}
