import { concat, formatIp, fromUtf8, MalformedMessage, tryParseIp, utf8 } from '../../core/bytes/index.ts';

/** What a client asks (RFC 1928 §4). */
export const Command = { CONNECT: 1, BIND: 2, UDP_ASSOCIATE: 3 } as const;
/** RFC 1928 §3, §6; RFC 1929. */
export const Method = { NONE: 0, PASSWORD: 2, UNACCEPTABLE: 0xff } as const;
export const Reply = {
  SUCCEEDED: 0,
  GENERAL_FAILURE: 1,
  NOT_ALLOWED: 2,
  NETWORK_UNREACHABLE: 3,
  HOST_UNREACHABLE: 4,
  CONNECTION_REFUSED: 5,
  TTL_EXPIRED: 6,
  COMMAND_NOT_SUPPORTED: 7,
  ADDRESS_TYPE_NOT_SUPPORTED: 8,
} as const;

export interface SocksTarget {
  /** A literal or a name. */
  readonly host: string;
  readonly port: number;
}

/** A message, and how many octets it took; undefined while more are needed. */
export type Parsed<T> = { readonly value: T; readonly length: number } | undefined;

/** RFC 1928 §3: the methods that the client offers. @throws MalformedMessage */
export function parseGreeting(data: Uint8Array): Parsed<readonly number[]> {
  if (data.length >= 1 && data[0] !== VERSION) throw new MalformedMessage(`version ${data[0]} is not SOCKS 5`, { field: 'VER' });
  const count = data[1];
  if (count === undefined || data.length < 2 + count) return undefined;
  return { value: [...data.subarray(2, 2 + count)], length: 2 + count };
}

/** RFC 1929 §2. @throws MalformedMessage */
export function parsePassword(data: Uint8Array): Parsed<{ readonly user: Uint8Array; readonly password: Uint8Array }> {
  if (data.length >= 1 && data[0] !== PASSWORD_VERSION)
    throw new MalformedMessage(`version ${data[0]} of the password exchange`, { field: 'VER' });
  const userLength = data[1];
  if (userLength === undefined) return undefined;
  const passwordLength = data[2 + userLength];
  if (passwordLength === undefined || data.length < 3 + userLength + passwordLength) return undefined;
  const user = data.slice(2, 2 + userLength);
  const password = data.slice(3 + userLength, 3 + userLength + passwordLength);
  return { value: { user, password }, length: 3 + userLength + passwordLength };
}

/** RFC 1928 §4. An address type that is not known gives no target. @throws MalformedMessage */
export function parseRequest(data: Uint8Array): Parsed<{ readonly command: number; readonly target: SocksTarget | undefined }> {
  if (data.length >= 1 && data[0] !== VERSION) throw new MalformedMessage(`version ${data[0]} is not SOCKS 5`, { field: 'VER' });
  const command = data[1];
  if (command === undefined || data.length < 4) return undefined;
  if (!isKnownType(data[3]!)) return { value: { command, target: undefined }, length: data.length };
  const target = parseTarget(data, 3);
  return target && { value: { command, target: target.value }, length: target.length };
}

/** @param bound where it is bound, a literal: for CONNECT our end of the connection, for UDP ASSOCIATE where datagrams go */
export function writeReply(reply: number, bound: SocksTarget = NOWHERE): Uint8Array {
  return concat(Uint8Array.of(VERSION, reply, 0), writeTarget(bound));
}

export const writeMethod = (method: number): Uint8Array => Uint8Array.of(VERSION, method);
export const writePasswordStatus = (good: boolean): Uint8Array => Uint8Array.of(PASSWORD_VERSION, good ? 0 : 1);

/** RFC 1928 §7. Fragments, which nobody sends, give undefined, and so does what is no such datagram. */
export function parseUdp(data: Uint8Array): { readonly target: SocksTarget; readonly payload: Uint8Array } | undefined {
  if (data.length < 4 || data[2] !== 0 || !isKnownType(data[3]!)) return undefined;
  try {
    const target = parseTarget(data, 3);
    return target && { target: target.value, payload: data.subarray(target.length) };
  } catch (error) {
    if (error instanceof MalformedMessage) return undefined;
    throw error;
  }
}

export function writeUdp(from: SocksTarget, payload: Uint8Array): Uint8Array {
  return concat(new Uint8Array(3), writeTarget(from), payload);
}

function parseTarget(data: Uint8Array, at: number): Parsed<SocksTarget> {
  const type = data[at]!;
  const hostAt = type === AddressType.NAME ? at + 2 : at + 1;
  const hostLength = type === AddressType.IPV4 ? 4 : type === AddressType.IPV6 ? 16 : data[at + 1];
  if (hostLength === undefined || data.length < hostAt + hostLength + 2) return undefined;
  const octets = data.subarray(hostAt, hostAt + hostLength);
  const host = type === AddressType.NAME ? nameOf(octets) : formatIp(octets);
  const portAt = hostAt + hostLength;
  return { value: { host, port: (data[portAt]! << 8) | data[portAt + 1]! }, length: portAt + 2 };
}

function writeTarget({ host, port }: SocksTarget): Uint8Array {
  const ip = tryParseIp(host);
  const type = ip === undefined ? AddressType.NAME : ip.length === 4 ? AddressType.IPV4 : AddressType.IPV6;
  const octets = ip ?? utf8(host).subarray(0, 255);
  const head = ip === undefined ? Uint8Array.of(type, octets.length) : Uint8Array.of(type);
  return concat(head, octets, Uint8Array.of(port >> 8, port & 0xff));
}

/** Of printable ASCII: what else a client may send is no name that DNS has, and would reach logs. */
function nameOf(octets: Uint8Array): string {
  if (octets.length === 0 || octets.some((octet) => octet <= 0x20 || octet >= 0x7f))
    throw new MalformedMessage('the name is none', { field: 'DST.ADDR' });
  return fromUtf8(octets);
}

const VERSION = 5;
/** RFC 1929 §2. */
const PASSWORD_VERSION = 1;
const AddressType = { IPV4: 1, NAME: 3, IPV6: 4 } as const;
const isKnownType = (type: number): boolean => type === AddressType.IPV4 || type === AddressType.NAME || type === AddressType.IPV6;
const NOWHERE: SocksTarget = { host: '0.0.0.0', port: 0 };
