import { toHex } from '../../core/bytes/bytes.ts';
import { type ParsedHeader, registeredName } from '../../core/wire/index.ts';

/** One line about a message of IKEv1 or AuthIP, which share the header with IKEv2 and nothing else. */
export function describeIkev1({ header, length }: ParsedHeader, octets: number): string {
  const name = registeredName(EXCHANGES, header.exchange) ?? `exchange ${header.exchange}`;
  const what = header.exchange >= AUTHIP ? 'AuthIP' : 'IKEv1';
  const stated = length === octets ? `${octets} octets` : `${octets} octets, stated as ${length}`;
  const id = header.messageId.toString(16).padStart(8, '0');
  return `${what} ${name.replaceAll('_', ' ')}, message ${id}, cookies ${toHex(header.spiI)} ${toHex(header.spiR)}, ${stated}`;
}

/** RFC 2408 §3.1, RFC 2409 appendix A; [MS-AIPS] §2.2.1 from 243 on. */
const EXCHANGES = {
  Base: 1,
  Main_Mode: 2,
  Authentication_Only: 3,
  Aggressive_Mode: 4,
  Informational: 5,
  Transaction: 6,
  Quick_Mode: 32,
  New_Group_Mode: 33,
  main_mode: 243,
  quick_mode: 244,
  extended_mode: 245,
  notify: 246,
} as const;

const AUTHIP = 243;
