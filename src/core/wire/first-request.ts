import { HEADER_LENGTH } from './header.ts';
import { ExchangeType, NotifyType, PayloadType } from './iana.ts';
import { NONCE_MAX, NONCE_MIN } from './payloads/nonce.ts';

/** What has to be seen of a first request before its sender is worth a parse: offsets into the datagram, nothing is copied. */
export interface FirstRequest {
  /** Of the octets of Ni. */
  readonly nonceStart: number;
  readonly nonceEnd: number;
  /** Of a COOKIE that comes first (RFC 7296 §2.6); both 0 where none does. */
  readonly cookieStart: number;
  readonly cookieEnd: number;
}

/** IKE_SA_INIT, or what may take its place (RFC 5723 §4.3.2), as a request of our version. */
export const isFirstRequest = (data: Uint8Array): boolean =>
  data.length >= HEADER_LENGTH &&
  (data[18] === ExchangeType.IKE_SA_INIT || data[18] === ExchangeType.IKE_SESSION_RESUME) &&
  (data[19]! & RESPONSE) === 0 &&
  data[17]! >>> 4 === 2;

/** One whose sender has shown nothing yet: a cookie would come first (RFC 7296 §2.6). */
export const isBareFirstRequest = (data: Uint8Array): boolean => isFirstRequest(data) && data[16] !== PayloadType.N;

/** RFC 7296 §2.2, §2.6: from the original initiator, with Message ID 0, an SPI of its own and none of ours. */
export function isPlausibleFirst(data: Uint8Array): boolean {
  if ((data[19]! & INITIATOR) === 0) return false;
  let zero = 0;
  for (let at = 8; at < 16; at++) zero |= data[at]!;
  for (let at = 20; at < 24; at++) zero |= data[at]!;
  let spi = 0;
  for (let at = 0; at < 8; at++) spi |= data[at]!;
  return zero === 0 && spi !== 0;
}

/**
 * Walks the chain of payloads by their lengths alone, without reading what is in them.
 * @returns undefined where the lengths do not add up to the datagram, or no Ni of a permitted length (RFC 7296 §3.9) is in it
 */
export function lookAtFirstRequest(data: Uint8Array): FirstRequest | undefined {
  const end = data.length;
  if (u32(data, 24) !== end) return undefined;
  let nonceStart = 0;
  let nonceEnd = 0;
  let cookieStart = 0;
  let cookieEnd = 0;
  let type = data[16]!;
  let at = HEADER_LENGTH;
  while (type !== PayloadType.NONE) {
    if (at + GENERIC_LENGTH > end) return undefined;
    const next = at + u16(data, at + 2);
    if (next < at + GENERIC_LENGTH || next > end) return undefined;
    if (type === PayloadType.Nonce && nonceStart === 0) {
      nonceStart = at + GENERIC_LENGTH;
      nonceEnd = next;
    } else if (type === PayloadType.N && at === HEADER_LENGTH && isCookieNotify(data, at, next)) {
      cookieStart = at + NOTIFY_LENGTH;
      cookieEnd = next;
    }
    type = data[at]!;
    at = next;
  }
  const nonce = nonceEnd - nonceStart;
  return at !== end || nonce < NONCE_MIN || nonce > NONCE_MAX ? undefined : { nonceStart, nonceEnd, cookieStart, cookieEnd };
}

/** The answer that demands a cookie (RFC 7296 §2.6), stateless: `HDR(A,0), N(COOKIE)`. */
export function writeCookieDemand(request: Uint8Array, cookie: Uint8Array): Uint8Array {
  const answer = new Uint8Array(HEADER_LENGTH + NOTIFY_LENGTH + cookie.length);
  for (let at = 0; at < 8; at++) answer[at] = request[at]!;
  answer[16] = PayloadType.N;
  answer[17] = 0x20;
  answer[18] = request[18]!;
  answer[19] = RESPONSE;
  answer[27] = answer.length;
  answer[HEADER_LENGTH + 3] = NOTIFY_LENGTH + cookie.length;
  answer[HEADER_LENGTH + 6] = NotifyType.COOKIE >>> 8;
  answer[HEADER_LENGTH + 7] = NotifyType.COOKIE & 0xff;
  answer.set(cookie, HEADER_LENGTH + NOTIFY_LENGTH);
  return answer;
}

const isCookieNotify = (data: Uint8Array, at: number, next: number): boolean =>
  next > at + NOTIFY_LENGTH && data[at + 5] === 0 && u16(data, at + 6) === NotifyType.COOKIE;

const u16 = (data: Uint8Array, at: number): number => (data[at]! << 8) | data[at + 1]!;
const u32 = (data: Uint8Array, at: number): number => u16(data, at) * 0x1_0000 + u16(data, at + 2);

const GENERIC_LENGTH = 4;
/** With an SPI size of 0. */
const NOTIFY_LENGTH = 8;
const INITIATOR = 0x08;
const RESPONSE = 0x20;
