import { formatIp, parseIp } from '../../../../../core/bytes/index.ts';
import type { HostReader, HostWriter } from '../host-order.ts';
import { addressFamily, familyOf, formatPrefix, type IpFamily, ipFamily, parsePrefix } from '../ip.ts';

/** The structures of linux/xfrm.h that several messages share, and the words for their numbers. 64-bit fields lie on 8 octets. */
export type XfrmProtocol = 'esp' | 'ah' | 'comp';
export type XfrmMode = 'transport' | 'tunnel' | 'beet';
export type XfrmDirection = 'in' | 'out' | 'fwd';

/** Which packets: `struct xfrm_selector`. */
export interface XfrmSelector {
  readonly family: IpFamily;
  /** Prefixes; everything unless given. */
  readonly source?: string | undefined;
  readonly destination?: string | undefined;
  /** IP protocol; 0 is all. */
  readonly protocol?: number;
  /** Ports, or for ICMP its type as source and its code as destination; all unless given. */
  readonly sourcePort?: PortMatch | undefined;
  readonly destinationPort?: PortMatch | undefined;
  /** Index of an interface. */
  readonly link?: number;
}

/** A port range as the kernel can match it: the bits of the mask have to be those of `port`. */
export interface PortMatch {
  readonly port: number;
  /** 65535, exactly this port, unless given. */
  readonly mask?: number;
}

/** 0 is never; bytes and packets, and seconds from when it was made and from its first use. */
export interface XfrmLifetime {
  readonly softBytes?: bigint;
  readonly hardBytes?: bigint;
  readonly softPackets?: bigint;
  readonly hardPackets?: bigint;
  readonly softSeconds?: number;
  readonly hardSeconds?: number;
  readonly softUseSeconds?: number;
  readonly hardUseSeconds?: number;
}

/** What passed. Times are seconds since the epoch, 0 where there was none yet. */
export interface XfrmUse {
  readonly bytes: bigint;
  readonly packets: bigint;
  readonly addedAt: number;
  readonly usedAt: number;
}

/** Of a packet's or a lookup's firewall mark. */
export interface XfrmMark {
  readonly value: number;
  /** All bits unless given. */
  readonly mask?: number | undefined;
}

/** Names one SA: `struct xfrm_usersa_id`. */
export interface XfrmStateId {
  readonly destination: string;
  readonly spi: number;
  readonly protocol: XfrmProtocol;
  readonly mark?: XfrmMark | undefined;
  readonly ifId?: number | undefined;
}

/** `xfrm_address_t`: 16 octets, of which IPv4 takes the first four. None is the unspecified address. */
export function writeAddress(writer: HostWriter, ip: string | undefined): void {
  const octets = ip === undefined ? NO_ADDRESS : parseIp(ip);
  writer.bytes(octets).zero(16 - octets.length);
}

export function readAddress(reader: HostReader, family: IpFamily): string {
  return formatIp(reader.bytes(16).subarray(0, family === 4 ? 4 : 16));
}

/** 56 octets. */
export function writeSelector(writer: HostWriter, selector: XfrmSelector): void {
  const { family } = selector;
  const any = family === 4 ? '0.0.0.0/0' : '::/0';
  const [source, destination] = [parsePrefix(selector.source ?? any), parsePrefix(selector.destination ?? any)];
  for (const { address } of [destination, source]) writer.bytes(address).zero(16 - address.length);
  writePort(writer, selector.destinationPort);
  writePort(writer, selector.sourcePort);
  writer
    .u16(addressFamily(family))
    .u8(destination.length)
    .u8(source.length)
    .u8(selector.protocol ?? 0)
    .zero(3)
    .u32(selector.link ?? 0)
    .u32(0);
}

export function readSelector(reader: HostReader): XfrmSelector | undefined {
  const [to, from] = [reader.bytes(16), reader.bytes(16)];
  const [destinationPort, sourcePort] = [readPort(reader), readPort(reader)];
  const family = ipFamily(reader.u16());
  const [toLength, fromLength, protocol] = [reader.u8(), reader.u8(), reader.u8()];
  const link = reader.skip(3).u32();
  reader.skip(4);
  if (family === undefined) return undefined;
  const octets = family === 4 ? 4 : 16;
  return {
    family,
    source: formatPrefix(from.subarray(0, octets), fromLength),
    destination: formatPrefix(to.subarray(0, octets), toLength),
    protocol,
    sourcePort,
    destinationPort,
    ...(link === 0 ? {} : { link }),
  };
}

/** `struct xfrm_id`: 24 octets. */
export function writeId(writer: HostWriter, destination: string | undefined, spi: number, protocol: number): void {
  writeAddress(writer, destination);
  writer.network32(spi).u8(protocol).zero(3);
}

/** `struct xfrm_usersa_id`: 24 octets. */
export function writeStateId(writer: HostWriter, { destination, spi, protocol }: XfrmStateId): void {
  writeAddress(writer, destination);
  writer
    .network32(spi)
    .u16(addressFamily(familyOf(destination)))
    .u8(PROTOCOLS[protocol])
    .zero(1);
}

/** Undefined for another family than IP and other protocols than ours. */
export function readStateId(reader: HostReader): (XfrmStateId & { readonly family: IpFamily }) | undefined {
  const destination = reader.bytes(16);
  const [spi, family, protocol] = [reader.network32(), ipFamily(reader.u16()), protocolOf(reader.u8())];
  reader.skip(1);
  return family && protocol && { destination: formatIp(destination.subarray(0, family === 4 ? 4 : 16)), spi, protocol, family };
}

/** `struct xfrm_lifetime_cfg`: 64 octets. Seconds of 0 are never, octets and packets of 0 are at once. */
export function writeLifetime(writer: HostWriter, lifetime: XfrmLifetime = {}): void {
  for (const limit of [lifetime.softBytes, lifetime.hardBytes, lifetime.softPackets, lifetime.hardPackets])
    writer.u64(limit === undefined || limit === 0n ? UNLIMITED : limit);
  for (const seconds of [lifetime.softSeconds, lifetime.hardSeconds, lifetime.softUseSeconds, lifetime.hardUseSeconds])
    writer.u64(BigInt(Math.ceil(seconds ?? 0)));
}

export function readLifetime(reader: HostReader): Required<XfrmLifetime> {
  const limit = (): bigint => {
    const value = reader.u64();
    return value === UNLIMITED ? 0n : value;
  };
  const seconds = (): number => Number(reader.u64());
  return {
    softBytes: limit(),
    hardBytes: limit(),
    softPackets: limit(),
    hardPackets: limit(),
    softSeconds: seconds(),
    hardSeconds: seconds(),
    softUseSeconds: seconds(),
    hardUseSeconds: seconds(),
  };
}

/** `struct xfrm_lifetime_cur`: 32 octets. */
export function readUse(reader: HostReader): XfrmUse {
  return { bytes: reader.u64(), packets: reader.u64(), addedAt: Number(reader.u64()), usedAt: Number(reader.u64()) };
}

/** `struct xfrm_mark`. */
export const writeMark =
  ({ value, mask = ALL_BITS }: XfrmMark) =>
  (writer: HostWriter): void =>
    void writer.u32(value).u32(mask);

export const readMark = (reader: HostReader | undefined): XfrmMark | undefined => reader && { value: reader.u32(), mask: reader.u32() };

/** Undefined for what belongs to Mobile IPv6 (RFC 6275). */
export const protocolOf = (number: number): XfrmProtocol | undefined => PROTOCOL_NAMES.get(number);
export const modeOf = (number: number): XfrmMode | undefined => MODE_NAMES.get(number);
export const directionOf = (number: number): XfrmDirection | undefined => DIRECTION_NAMES.get(number);

function writePort(writer: HostWriter, match: PortMatch | undefined): void {
  const mask = match === undefined ? 0 : (match.mask ?? 0xffff);
  writer.network16((match?.port ?? 0) & mask).network16(mask);
}

function readPort(reader: HostReader): PortMatch | undefined {
  const [port, mask] = [reader.network16(), reader.network16()];
  return mask === 0 ? undefined : { port, mask };
}

export const PROTOCOLS: Readonly<Record<XfrmProtocol, number>> = { esp: 50, ah: 51, comp: 108 };
export const MODES: Readonly<Record<XfrmMode, number>> = { transport: 0, tunnel: 1, beet: 4 };
export const DIRECTIONS: Readonly<Record<XfrmDirection, number>> = { in: 0, out: 1, fwd: 2 };
const PROTOCOL_NAMES = new Map(Object.entries(PROTOCOLS).map(([name, number]) => [number, name as XfrmProtocol]));
const MODE_NAMES = new Map(Object.entries(MODES).map(([name, number]) => [number, name as XfrmMode]));
const DIRECTION_NAMES = new Map(Object.entries(DIRECTIONS).map(([name, number]) => [number, name as XfrmDirection]));
const NO_ADDRESS = new Uint8Array(16);
/** XFRM_INF. */
const UNLIMITED = 0xffff_ffff_ffff_ffffn;
const ALL_BITS = 0xffff_ffff;

export const XFRM_MSG = {
  NEWSA: 0x10,
  DELSA: 0x11,
  GETSA: 0x12,
  NEWPOLICY: 0x13,
  DELPOLICY: 0x14,
  GETPOLICY: 0x15,
  ALLOCSPI: 0x16,
  ACQUIRE: 0x17,
  EXPIRE: 0x18,
  UPDPOLICY: 0x19,
  UPDSA: 0x1a,
  POLEXPIRE: 0x1b,
  FLUSHSA: 0x1c,
  FLUSHPOLICY: 0x1d,
  NEWAE: 0x1e,
  GETAE: 0x1f,
  REPORT: 0x20,
  MIGRATE: 0x21,
  MAPPING: 0x26,
} as const;

export const XFRMA = {
  ALG_AUTH: 1,
  ALG_CRYPT: 2,
  ALG_COMP: 3,
  ENCAP: 4,
  TMPL: 5,
  SA: 6,
  POLICY: 7,
  LTIME_VAL: 9,
  REPLAY_VAL: 10,
  REPLAY_THRESH: 11,
  ETIMER_THRESH: 12,
  SRCADDR: 13,
  COADDR: 14,
  LASTUSED: 15,
  POLICY_TYPE: 16,
  MIGRATE: 17,
  ALG_AEAD: 18,
  KMADDRESS: 19,
  ALG_AUTH_TRUNC: 20,
  MARK: 21,
  TFCPAD: 22,
  REPLAY_ESN_VAL: 23,
  SA_EXTRA_FLAGS: 24,
  PROTO: 25,
  ADDRESS_FILTER: 26,
  OFFLOAD_DEV: 28,
  SET_MARK: 29,
  SET_MARK_MASK: 30,
  IF_ID: 31,
  MTIMER_THRESH: 32,
} as const;
