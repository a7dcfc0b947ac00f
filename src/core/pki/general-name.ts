import { printable, toHex } from '../bytes/bytes.ts';
import { formatIp } from '../bytes/ip-address.ts';
import { contextPrimitive, contextTag, type DerReader } from './der.ts';
import { formatName, type Name, readName } from './name.ts';
import { decodeAscii } from './strings.ts';

/** RFC 5280 §4.2.1.6. What we cannot compare is kept as octets, since a constraint on it must be honoured or refused. */
export type GeneralName =
  | { readonly kind: 'dns' | 'email' | 'uri'; readonly text: string }
  /** 4 or 16 octets; in a name constraint twice as many, address and mask. */
  | { readonly kind: 'ip'; readonly octets: Uint8Array }
  | { readonly kind: 'directory'; readonly name: Name }
  | { readonly kind: 'other' | 'x400' | 'ediParty' | 'registeredId'; readonly content: Uint8Array };

export type GeneralNameKind = GeneralName['kind'];

/** @param ipLengths octets that an iPAddress may have here */
export function readGeneralName(reader: DerReader, field: string, ipLengths: readonly number[]): GeneralName {
  if (reader.nextIs(contextTag(4))) {
    const explicit = reader.enter(contextTag(4), field);
    const name = readName(explicit, field);
    explicit.end(field);
    return { kind: 'directory', name };
  }
  const { tag, content } = reader.any(field);
  const text = TEXTS.get(tag);
  if (text !== undefined) {
    const ascii = decodeAscii(content);
    if (ascii === undefined) throw reader.malformed(`${field} has a name that is not ASCII`, field);
    return { kind: text, text: ascii };
  }
  if (tag === contextPrimitive(7)) {
    if (!ipLengths.includes(content.length)) throw reader.malformed(`${field} has an address of ${content.length} octets`, field);
    return { kind: 'ip', octets: content };
  }
  const kind = OPAQUE.get(tag);
  if (kind === undefined) throw reader.malformed(`${field} is not a GeneralName`, field);
  return { kind, content };
}

/** `GeneralNames ::= SEQUENCE SIZE (1..MAX) OF GeneralName`, given the reader of its content. */
export function readGeneralNames(list: DerReader, field: string): GeneralName[] {
  const names: GeneralName[] = [];
  do names.push(readGeneralName(list, field, [4, 16]));
  while (!list.done);
  return names;
}

/** `DNS:vpn.example.com`, `IP:203.0.113.7`, …: as openssl prints them, safe for a terminal. */
export function formatGeneralName(name: GeneralName): string {
  switch (name.kind) {
    case 'dns':
    case 'email':
    case 'uri':
      return `${LABELS[name.kind]}:${printable(name.text)}`;
    case 'ip':
      return `IP:${name.octets.length === 4 || name.octets.length === 16 ? formatIp(name.octets) : toHex(name.octets)}`;
    case 'directory':
      return `DirName:${formatName(name.name)}`;
    default:
      return `${LABELS[name.kind]}:#${toHex(name.content)}`;
  }
}

const LABELS: Readonly<Record<GeneralNameKind, string>> = {
  dns: 'DNS',
  email: 'email',
  uri: 'URI',
  ip: 'IP',
  directory: 'DirName',
  other: 'otherName',
  x400: 'X400',
  ediParty: 'EDIParty',
  registeredId: 'registeredID',
};

const TEXTS: ReadonlyMap<number, 'dns' | 'email' | 'uri'> = new Map([
  [contextPrimitive(1), 'email' as const],
  [contextPrimitive(2), 'dns' as const],
  [contextPrimitive(6), 'uri' as const],
]);

const OPAQUE: ReadonlyMap<number, 'other' | 'x400' | 'ediParty' | 'registeredId'> = new Map([
  [contextTag(0), 'other' as const],
  [contextTag(3), 'x400' as const],
  [contextTag(5), 'ediParty' as const],
  [contextPrimitive(8), 'registeredId' as const],
]);
