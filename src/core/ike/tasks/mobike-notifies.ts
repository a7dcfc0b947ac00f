import { concat, equalBytes } from '../../bytes/bytes.ts';
import { NegotiationFailure } from '../../bytes/errors.ts';
import { formatIp, isIpv6, parseIp } from '../../bytes/ip-address.ts';
import { type NotifyPayload, NotifyType, type Payload } from '../../wire/index.ts';
import type { IkeSa } from '../ike-sa.ts';
import { findAll, findNotify, notify } from '../notifies.ts';
import { isOverTcp, type Path } from '../path.ts';

/** RFC 4555 §3.6: the whole list, every time; the address in the IP header is not in it. */
export function addressList(additional: readonly string[]): Payload[] {
  if (additional.length === 0) return [notify(NotifyType.NO_ADDITIONAL_ADDRESSES)];
  return additional.map((ip) => notify(isIpv6(ip) ? NotifyType.ADDITIONAL_IP6_ADDRESS : NotifyType.ADDITIONAL_IP4_ADDRESS, parseIp(ip)));
}

/** @returns undefined when the message says nothing of it; what cannot be a peer's address is left out */
export function readAddressList(payloads: readonly Payload[]): readonly string[] | undefined {
  const all = findAll(payloads, 'N');
  const listed = all.filter((n) => n.notify in ADDRESS_LENGTHS);
  if (listed.length === 0 && !all.some((n) => n.notify === NotifyType.NO_ADDITIONAL_ADDRESSES)) return undefined;
  const found = new Set<string>();
  for (const { notify: type, data } of listed) {
    if (data.length !== ADDRESS_LENGTHS[type] || !isUnicast(data)) continue;
    if (found.size < MOST_ADDRESSES) found.add(formatIp(data));
  }
  return [...found];
}

/** RFC 4555 §4.2.5: 8 to 64 octets, which the peer cannot guess. */
export const cookie2 = (data: Uint8Array): Payload => notify(NotifyType.COOKIE2, data);

/** What has to be copied into the answer. */
export function copiedCookie(payloads: readonly Payload[]): Payload[] {
  const cookie = findNotify(payloads, NotifyType.COOKIE2);
  return cookie && cookie.data.length >= COOKIE2_LEAST && cookie.data.length <= COOKIE2_MOST ? [cookie2(cookie.data)] : [];
}

export function returnsCookie(payloads: readonly Payload[], sent: Uint8Array): boolean {
  const returned = findNotify(payloads, NotifyType.COOKIE2);
  return returned !== undefined && equalBytes(returned.data, sent);
}

/** RFC 4555 §4.2.6: the addresses and ports from and to which the packet is sent. */
const noNatsAllowed = ({ local, remote }: Path): Payload =>
  notify(
    NotifyType.NO_NATS_ALLOWED,
    concat(parseIp(local.ip), parseIp(remote.ip), new Uint8Array([local.port >> 8, local.port & 255, remote.port >> 8, remote.port & 255])),
  );

/** §3.9: goes into every message that changes addresses, where NATs are forbidden. */
export const forbidNats = (sa: IkeSa, path: Path): Payload[] =>
  sa.connection?.natsAllowed === false && !isOverTcp(path) ? [noNatsAllowed(path)] : [];

/** RFC 4555 §3.9: somebody changed the addresses on the way. */
export function contradictsHeader(payloads: readonly Payload[], path: Path): boolean {
  const { local, remote } = path;
  // RFC 9329 §7.1: ignored over TCP, which passes NATs
  if (isOverTcp(path)) return false;
  const claim: NotifyPayload | undefined = findNotify(payloads, NotifyType.NO_NATS_ALLOWED);
  if (claim === undefined) return false;
  const expected = noNatsAllowed({ local: remote, remote: local, encap: false });
  return expected.kind !== 'N' || !equalBytes(claim.data, expected.data);
}

export const unexpectedNat = () =>
  new NegotiationFailure('addresses change on the way to the peer, which this connection forbids', {
    code: 'UNEXPECTED_NAT_DETECTED',
    notify: NotifyType.UNEXPECTED_NAT_DETECTED,
    section: 'RFC 4555 §3.9',
    hint: 'Find the NAT in between, or let nats_allowed be yes.',
  });

/** Neither unspecified, nor loopback, nor multicast or broadcast: nobody is to be sent to such an address by his peer. */
function isUnicast(octets: Uint8Array): boolean {
  const first = octets[0]!;
  if (octets.length === 4) return first !== 0 && first !== 127 && first < 224;
  const linkLocal = first === 0xfe && (octets[1]! & 0xc0) === 0x80;
  return first !== 0xff && !linkLocal && octets.some((octet, i) => octet !== (i === 15 ? 1 : 0)) && octets.some((octet) => octet !== 0);
}

const ADDRESS_LENGTHS: Readonly<Record<number, number>> = {
  [NotifyType.ADDITIONAL_IP4_ADDRESS]: 4,
  [NotifyType.ADDITIONAL_IP6_ADDRESS]: 16,
};
/** Of ours. */
export const COOKIE2_LENGTH = 16;
const COOKIE2_LEAST = 8;
const COOKIE2_MOST = 64;
/** Our bound: each is a path to try. */
const MOST_ADDRESSES = 8;
