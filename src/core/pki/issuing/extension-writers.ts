import { utf8 } from '../../bytes/bytes.ts';
import { ConfigError } from '../../bytes/errors.ts';
import { IdType } from '../../wire/iana.ts';
import { contextPrimitive } from '../der.ts';
import { boolean, element, explicit, integer, namedBits, octetString, oid, sequence } from '../der-writer.ts';
import { KeyUsage } from '../extensions.ts';
import { parseIdentity } from '../identity.ts';
import { Oid } from '../oid.ts';

/** Extension (RFC 5280 §4.2) in DER. */
export function extension(id: string, critical: boolean, value: Uint8Array): Uint8Array {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), octetString(value));
}

export const subjectKeyIdentifier = (id: Uint8Array): Uint8Array => extension(Oid.subjectKeyIdentifier, false, octetString(id));

export const authorityKeyIdentifier = (id: Uint8Array): Uint8Array =>
  extension(Oid.authorityKeyIdentifier, false, sequence(element(contextPrimitive(0), id)));

export function basicConstraints(ca: boolean, pathLength?: number): Uint8Array {
  const fields = [...(ca ? [boolean(true)] : []), ...(pathLength === undefined ? [] : [integer(pathLength)])];
  return extension(Oid.basicConstraints, true, sequence(...fields));
}

/** @param usage bits of `KeyUsage` */
export function keyUsage(usage: number): Uint8Array {
  const bits = Object.values(KeyUsage).flatMap((bit, number) => ((usage & bit) !== 0 ? [number] : []));
  return extension(Oid.keyUsage, true, namedBits(bits));
}

/** Not critical (RFC 4945 §5.1.3.12). */
export const extendedKeyUsage = (purposes: readonly string[]): Uint8Array =>
  extension(Oid.extKeyUsage, false, sequence(...purposes.map(oid)));

/** @param critical RFC 5280 §4.2.1.6: when the subject is empty */
export function subjectAltName(names: readonly string[], critical: boolean): Uint8Array {
  return extension(Oid.subjectAltName, critical, sequence(...names.map(generalName)));
}

/** RFC 5280 §4.2.1.10, dNSName and rfc822Name subtrees that are permitted, addresses as prefixes left to the caller. */
export function permittedNames(names: readonly string[]): Uint8Array {
  return extension(Oid.nameConstraints, true, sequence(explicit(0, ...names.map((name) => sequence(constraintBase(name))))));
}

export function crlDistributionPoints(uris: readonly string[]): Uint8Array {
  const point = (uri: string) => sequence(explicit(0, explicit(0, uriName(uri))));
  return extension(Oid.crlDistributionPoints, false, sequence(...uris.map(point)));
}

export function authorityInfoAccess(ocsp: readonly string[], caIssuers: readonly string[]): Uint8Array {
  const access = (method: string) => (uri: string) => sequence(oid(method), uriName(uri));
  return extension(Oid.authorityInfoAccess, false, sequence(...ocsp.map(access(Oid.ocsp)), ...caIssuers.map(access(Oid.caIssuers))));
}

/** RFC 4945 §5.1.3.6: what an ID payload can carry is what may stand in subjectAltName; the subject carries names. */
function generalName(text: string): Uint8Array {
  const { idType, data } = parseIdentity(text);
  switch (idType) {
    case IdType.ID_RFC822_ADDR:
      return element(contextPrimitive(1), asciiOf(data, text));
    case IdType.ID_FQDN:
      return element(contextPrimitive(2), asciiOf(data, text));
    case IdType.ID_IPV4_ADDR:
    case IdType.ID_IPV6_ADDR:
      return element(contextPrimitive(7), data);
    case IdType.ID_DER_ASN1_DN:
      return explicit(4, data);
    default:
      throw new ConfigError(`"${text.slice(0, 80)}" cannot stand in a certificate`, {
        code: 'NOT_AN_IDENTITY',
        hint: 'Use DNS names, mail addresses, IP addresses or distinguished names.',
      });
  }
}

const constraintBase = (name: string): Uint8Array =>
  name.includes('@') ? element(contextPrimitive(1), asciiOf(utf8(name), name)) : element(contextPrimitive(2), asciiOf(utf8(name), name));

const uriName = (uri: string): Uint8Array => element(contextPrimitive(6), asciiOf(utf8(uri), uri));

function asciiOf(data: Uint8Array, text: string): Uint8Array {
  if (data.length > 0 && data.every((octet) => octet > 0x20 && octet < 0x7f)) return data;
  throw new ConfigError(`"${text.slice(0, 80)}" is not ASCII, or has blanks`, {
    code: 'NOT_AN_IDENTITY',
    hint: 'Write international names in their xn-- form.',
  });
}
