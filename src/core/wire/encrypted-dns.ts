import { fromUtf8, utf8 } from '../bytes/bytes.ts';
import { MalformedMessage } from '../bytes/errors.ts';
import { formatIp, parseIp } from '../bytes/ip-address.ts';
import { Reader } from '../bytes/reader.ts';
import { Writer } from '../bytes/writer.ts';
import { parseDomain } from './split-dns.ts';

/** A DNS resolver that is asked by an encrypted protocol, as ENCDNS_IP4 and ENCDNS_IP6 tell it (RFC 9464 §3.1). */
export interface EncryptedResolver {
  /** From 1; the lowest goes first. */
  readonly priority: number;
  /** The authentication domain name: whom its certificate has to name. */
  readonly name: string;
  /** Of one family, within one attribute. */
  readonly addresses: readonly string[];
  /** `dot`, `doq`, `h2`, `h3`: protocols by their ALPN (RFC 9461 §4). */
  readonly alpn: readonly string[];
  /** Absent: that of the protocol. */
  readonly port?: number | undefined;
  /** URI template of DNS over HTTPS, `/dns-query{?dns}` (RFC 9461 §5). */
  readonly path?: string | undefined;
}

/** ENCDNS_DIGEST_INFO in a CFG_REPLY (RFC 9464 §3.2): the key that a resolver's certificate has. */
export interface ResolverDigest {
  /** Empty where all resolvers have one name. */
  readonly name: string;
  /** IKEv2 hash algorithm. */
  readonly hash: number;
  /** Of its SubjectPublicKeyInfo. */
  readonly digest: Uint8Array;
}

/**
 * Service priority, numbers of addresses and of octets of the name, these two, then SvcParams (RFC 9460 §2.2).
 * Throws `MalformedMessage`, also for what nobody could use.
 * @param octets of an address: 4 or 16
 */
export function parseEncryptedResolver(value: Uint8Array, octets: 4 | 16): EncryptedResolver {
  const r = new Reader(value);
  const priority = r.u16('Service Priority');
  const count = r.u8('Num Addresses');
  const length = r.u8('ADN Length');
  if (priority === 0) throw r.malformed('an alias in place of a resolver', 'Service Priority', SECTION);
  if (count === 0) throw r.malformed('a resolver without an address', 'Num Addresses', SECTION);
  const addresses = Array.from({ length: count }, () => formatIp(r.bytes(octets, 'IP address')));
  const name = parseDomain(r.bytes(length, 'Authentication Domain Name'));
  if (name === undefined) throw r.malformed('a name that is none of a host', 'Authentication Domain Name', SECTION);
  return { priority, name, addresses, ...readParameters(r) };
}

export function writeEncryptedResolver({ priority, name, addresses, alpn, port, path }: EncryptedResolver): Uint8Array {
  const w = new Writer().u16(priority).u8(addresses.length).u8(utf8(name).length);
  for (const ip of addresses) w.bytes(parseIp(ip));
  w.bytes(utf8(name));
  const protocols = alpn.map(utf8);
  const size = protocols.reduce((sum, { length }) => sum + 1 + length, 0);
  w.u16(SvcParam.ALPN).u16(size);
  for (const protocol of protocols) w.u8(protocol.length).bytes(protocol);
  if (port !== undefined) w.u16(SvcParam.PORT).u16(2).u16(port);
  if (path !== undefined) w.u16(SvcParam.DOHPATH).u16(utf8(path).length).bytes(utf8(path));
  return w.finish();
}

/** `dot, doq by dns.example.com, port 8853, at 192.0.2.53 192.0.2.54`. */
export function formatEncryptedResolver({ name, addresses, alpn, port, path }: Omit<EncryptedResolver, 'priority'>): string {
  const details = [...(port === undefined ? [] : [`port ${port}`]), ...(path === undefined ? [] : [`path ${path}`])];
  return [`${alpn.join(', ')} by ${name}`, ...details, `at ${addresses.join(' ')}`].join(details.length > 0 ? ', ' : ' ');
}

/** RFC 9464 §3.2: in a CFG_REQUEST which hashes are known. */
export const writeDigestRequest = (hashes: readonly number[]): Uint8Array =>
  hashes.reduce((w, hash) => w.u16(hash), new Writer().u8(hashes.length).u8(0)).finish();

/** The hashes of a CFG_REQUEST; none where it cannot be read. */
export function parseDigestRequest(value: Uint8Array): readonly number[] {
  if (value.length < 2 || value.length !== 2 + 2 * value[0]!) return [];
  return Array.from({ length: value[0]! }, (_, i) => (value[2 + 2 * i]! << 8) | value[3 + 2 * i]!);
}

/** Throws `MalformedMessage`. */
export function parseResolverDigest(value: Uint8Array): ResolverDigest {
  const r = new Reader(value);
  const count = r.u8('Num Hash Algs');
  if (count !== 1) throw r.malformed(`${count} hash algorithms where one made the digest`, 'Num Hash Algs', 'RFC 9464 §3.2');
  const name = fromUtf8(r.bytes(r.u8('ADN Length'), 'Authentication Domain Name')).toLowerCase();
  return { name, hash: r.u16('Hash Algorithm Identifier'), digest: r.rest().slice() };
}

export const writeResolverDigest = ({ name, hash, digest }: ResolverDigest): Uint8Array =>
  new Writer().u8(1).u8(utf8(name).length).bytes(utf8(name)).u16(hash).bytes(digest).finish();

/** RFC 9460 §2.2: each key once, in ascending order. A key that has to be understood and is not makes all of it useless (§8). */
function readParameters(r: Reader): Pick<EncryptedResolver, 'alpn' | 'port' | 'path'> {
  let last = -1;
  let alpn: string[] = [];
  let port: number | undefined;
  let path: string | undefined;
  while (r.remaining > 0) {
    const key = r.u16('SvcParamKey');
    const value = r.sub(r.u16('length'), 'SvcParamValue');
    if (key <= last) throw r.malformed('keys out of order', 'SvcParamKey', 'RFC 9460 §2.2');
    last = key;
    if (key === SvcParam.MANDATORY) refuseUnknown(value);
    else if (key === SvcParam.ALPN) alpn = readAlpn(value);
    else if (key === SvcParam.PORT) {
      port = value.u16('port');
      value.end('port');
    } else if (key === SvcParam.DOHPATH) path = fromUtf8(value.rest());
    else if (key === SvcParam.IPV4HINT || key === SvcParam.IPV6HINT)
      throw r.malformed('addresses among the parameters', 'SvcParamKey', SECTION);
  }
  if (alpn.length === 0) throw r.malformed('no protocol is named', 'alpn', SECTION);
  return { alpn, ...(port === undefined ? {} : { port }), ...(path === undefined ? {} : { path }) };
}

function refuseUnknown(value: Reader): void {
  while (value.remaining > 0) {
    const key = value.u16('mandatory');
    if (!KNOWN.has(key)) throw value.malformed(`key${key} has to be understood, and is not`, 'mandatory', 'RFC 9460 §8');
  }
}

function readAlpn(value: Reader): string[] {
  const protocols: string[] = [];
  while (value.remaining > 0) protocols.push(fromUtf8(value.bytes(value.u8('length'), 'alpn-id')));
  if (protocols.some((each) => !/^[!-~]+$/.test(each))) throw value.malformed('a protocol that has no name', 'alpn', 'RFC 9460 §7.1');
  return protocols;
}

/** Where `read` meets octets that it cannot read, why. */
export function readOrWhy<T>(read: () => T): { readonly value: T } | { readonly why: string } {
  try {
    return { value: read() };
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error;
    return { why: error.message };
  }
}

const SECTION = 'RFC 9464 §3.1';
/** RFC 9460 §14.3.2, RFC 9461 §5. */
const SvcParam = { MANDATORY: 0, ALPN: 1, PORT: 3, IPV4HINT: 4, IPV6HINT: 6, DOHPATH: 7 } as const;
const KNOWN: ReadonlySet<number> = new Set([SvcParam.ALPN, SvcParam.PORT, SvcParam.DOHPATH]);
