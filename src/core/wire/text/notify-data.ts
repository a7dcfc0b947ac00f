import { fromUtf8, printable } from '../../bytes/bytes.ts';
import { TunnelwrightError } from '../../bytes/errors.ts';
import { formatIp } from '../../bytes/ip-address.ts';
import { Reader } from '../../bytes/reader.ts';
import { describeAuthAnnouncement, readAuthAnnouncement } from '../auth-announcements.ts';
import {
  GatewayIdType,
  HashId,
  IpcompTransformId,
  KeyExchangeId,
  NotifyType as N,
  nameOf,
  PayloadType,
  PpkIdType,
  PrfId,
  SecurePasswordMethod,
} from '../iana.ts';
import type { Description } from '../payload.ts';
import type { NotifyPayload } from '../payloads/types.ts';
import { shortHex } from './octets.ts';

/** What the Notification Data says, where its type is known and the data fits it; else its hex. Undefined where there is none. */
export function describeNotifyData(n: NotifyPayload): Description | undefined {
  if (n.data.length === 0) return undefined;
  const decode = DECODERS[n.notify];
  if (decode === undefined) return shortHex(n.data);
  try {
    const r = new Reader(n.data);
    const text = decode(r);
    r.end('the notification data');
    return text;
  } catch (error) {
    if (error instanceof TunnelwrightError) return `${shortHex(n.data)} (not as its type demands)`;
    throw error;
  }
}

type Decoder = (r: Reader) => Description;

const octets: Decoder = (r) => shortHex(r.rest());
const size: Decoder = (r) => `${r.rest().length} octets`;
const address =
  (length: number): Decoder =>
  (r) =>
    formatIp(r.bytes(length, 'address'));

function list(r: Reader, nameOfNext: () => string): string {
  const names: string[] = [];
  while (r.remaining > 0) names.push(nameOfNext());
  return names.join(', ');
}

/** RFC 5685 §9: identity type, length, identity, and in REDIRECT the initiator's nonce. */
const redirect: Decoder = (r) => {
  const type = r.u8('GW Identity Type');
  const identity = r.bytes(r.u8('GW Identity Length'), 'New Responder GW Identity');
  const gateway = formatGateway(type, identity);
  return r.remaining === 0 ? gateway : `${gateway}, nonce ${shortHex(r.rest())}`;
};

function formatGateway(type: number, identity: Uint8Array): string {
  if (type === GatewayIdType.FQDN) return printable(fromUtf8(identity));
  const ip = (type === GatewayIdType.IPV4 && identity.length === 4) || (type === GatewayIdType.IPV6 && identity.length === 16);
  return ip ? formatIp(identity) : `${nameOf(GatewayIdType, type)} ${shortHex(identity)}`;
}

const authMethods: Decoder = (r) => {
  const lines: string[] = [];
  while (r.remaining > 0) lines.push(describeAuthAnnouncement(readAuthAnnouncement(r)));
  return { text: '', lines };
};

const DECODERS: Readonly<Record<number, Decoder>> = {
  [N.UNSUPPORTED_CRITICAL_PAYLOAD]: (r) => nameOf(PayloadType, r.u8('payload type')),
  [N.INVALID_MAJOR_VERSION]: (r) => `highest supported ${r.u8('version')}`,
  [N.INVALID_MESSAGE_ID]: (r) => String(r.u32('Message ID')),
  [N.INVALID_KE_PAYLOAD]: (r) => `wanted ${nameOf(KeyExchangeId, r.u16('method'))}`,
  [N.SET_WINDOW_SIZE]: (r) => String(r.u32('window size')),
  [N.IPCOMP_SUPPORTED]: (r) => `CPI ${r.u16('CPI').toString(16).padStart(4, '0')} ${nameOf(IpcompTransformId, r.u8('transform'))}`,
  [N.NAT_DETECTION_SOURCE_IP]: octets,
  [N.NAT_DETECTION_DESTINATION_IP]: octets,
  [N.COOKIE]: octets,
  [N.COOKIE2]: octets,
  [N.ADDITIONAL_IP4_ADDRESS]: address(4),
  [N.ADDITIONAL_IP6_ADDRESS]: address(16),
  [N.AUTH_LIFETIME]: (r) => `${r.u32('lifetime')} s`,
  [N.REDIRECT]: redirect,
  [N.REDIRECTED_FROM]: redirect,
  [N.TICKET_LT_OPAQUE]: (r) => `lifetime ${r.u32('lifetime')} s, ticket of ${r.rest().length} octets`,
  [N.TICKET_OPAQUE]: size,
  [N.IKEV2_MESSAGE_ID_SYNC]: (r) =>
    `nonce ${shortHex(r.bytes(4, 'nonce'))}, next to send ${r.u32('EXPECTED_SEND_REQ_MESSAGE_ID')}, to receive ${r.u32('EXPECTED_RECV_REQ_MESSAGE_ID')}`,
  [N.IPSEC_REPLAY_COUNTER_SYNC]: (r) => `outgoing counter ${r.remaining === 8 ? r.u64('counter') : r.u32('counter')}`,
  [N.SECURE_PASSWORD_METHODS]: (r) => list(r, () => nameOf(SecurePasswordMethod, r.u16('method'))),
  [N.SIGNATURE_HASH_ALGORITHMS]: (r) => list(r, () => nameOf(HashId, r.u16('hash'))),
  [N.PUZZLE]: (r) => `${nameOf(PrfId, r.u16('PRF'))}, difficulty ${r.u8('difficulty')}`,
  [N.PPK_IDENTITY]: ppkIdentity,
  [N.PPK_IDENTITY_KEY]: ppkIdentityKey,
  [N.ADDITIONAL_KEY_EXCHANGE]: octets,
  [N.USE_AGGFRAG]: (r) => aggfragFlags(r.u8('flags')),
  [N.SUPPORTED_AUTH_METHODS]: authMethods,
  [N.SA_RESOURCE_INFO]: octets,
};

/** RFC 8784 §5.1. */
function ppkIdentity(r: Reader): string {
  const type = r.u8('PPK_ID Type');
  const identity = r.rest();
  const text = type === PpkIdType.PPK_ID_FIXED ? printable(fromUtf8(identity)) : shortHex(identity);
  return `${nameOf(PpkIdType, type)} ${text}`;
}

/** RFC 9867 §3.1: the PPK_ID, then 8 octets that confirm the key. */
function ppkIdentityKey(r: Reader): string {
  const identity = ppkIdentity(r.sub(r.remaining - PPK_CONFIRMATION, 'PPK_ID'));
  return `${identity}, confirmation ${shortHex(r.rest())}`;
}

/** RFC 9347 §5.1: C asks for congestion control, D for no fragments. */
const aggfragFlags = (flags: number): string => `flags ${(flags & 2) !== 0 ? 'C' : '-'}${(flags & 1) !== 0 ? 'D' : '-'}`;

const PPK_CONFIRMATION = 8;
