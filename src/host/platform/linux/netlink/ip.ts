import { ApiMisuse, formatIp, isIpv6, parseIp, tryParseIp } from '../../../../core/bytes/index.ts';

export type IpFamily = 4 | 6;

/** `10.2.0.0/16`, taken apart; the host bits are cleared, as the kernel demands of a network. */
export interface Prefix {
  readonly family: IpFamily;
  readonly address: Uint8Array;
  readonly length: number;
}

export const AF_UNSPEC = 0;
const AF_INET = 2;
const AF_INET6 = 10;

export const addressFamily = (family: IpFamily): number => (family === 4 ? AF_INET : AF_INET6);
export const familyOf = (ip: string): IpFamily => (isIpv6(ip) ? 6 : 4);
/** Undefined for what is not IP. */
export const ipFamily = (family: number): IpFamily | undefined => (family === AF_INET ? 4 : family === AF_INET6 ? 6 : undefined);

/** The family of an optional address of a request; every kernel table is of one family. */
export const ofFamily = (ip: string, family: IpFamily): Uint8Array => {
  if (familyOf(ip) !== family) throw new ApiMisuse(`${ip} is not an IPv${family} address`, { code: 'NOT_AN_ADDRESS' });
  return parseIp(ip);
};

/** A literal with a length; without one it is a single address. @throws ApiMisuse `NOT_A_PREFIX` */
export function parsePrefix(text: string): Prefix {
  const [, ip = '', digits] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const octets = tryParseIp(ip);
  const bits = octets === undefined ? 0 : 8 * octets.length;
  const length = digits === undefined ? bits : Number(digits);
  if (octets === undefined || length > bits) throw new ApiMisuse(`not a prefix: ${text.slice(0, 64)}`, { code: 'NOT_A_PREFIX' });
  const address = octets.map((octet, i) => octet & (0xff00 >> Math.min(8, Math.max(0, length - 8 * i))));
  return { family: octets.length === 4 ? 4 : 6, address, length };
}

/** What an attribute holds: an address in 4 or 16 octets. Undefined for anything else. */
export const ipOf = (octets: Uint8Array | undefined): string | undefined =>
  octets?.length === 4 || octets?.length === 16 ? formatIp(octets) : undefined;

export const formatPrefix = (address: Uint8Array, length: number): string => `${formatIp(address)}/${length}`;

export const anyOf = (family: IpFamily): Uint8Array => new Uint8Array(family === 4 ? 4 : 16);
