import type { IncomingMessage } from 'node:http';
import { utf8 } from '../../../core/bytes/index.ts';
import { TransferError } from '../errors.ts';

/** Fields of tus 1.0 as they stand in requests. All of these throw TransferError `TRANSFER_BAD_REQUEST` for what is malformed. */
export function wholeNumber(request: IncomingMessage, field: string): number {
  const text = String(request.headers[field] ?? '');
  if (!/^\d{1,15}$/.test(text)) throw malformed(`${field} is missing or not a whole number`);
  return Number(text);
}

/** `key base64,key base64`; what is not UTF-8 in base64 is refused. */
export function parseMetadata(field: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const pair of field.split(',').filter((part) => part.trim() !== '')) {
    const [key, value = '', ...rest] = pair.trim().split(' ');
    try {
      if (rest.length > 0) throw malformed('too many parts');
      found.set(key!, new TextDecoder('utf-8', { fatal: true }).decode(fromBase64(value)));
    } catch (cause) {
      throw malformed('Upload-Metadata is not pairs of a key and base64', cause);
    }
  }
  return found;
}

/** As `parseMetadata` reads it. */
export const formatMetadata = (metadata: Readonly<Record<string, string>>): string =>
  Object.entries(metadata)
    .map(([key, value]) => `${key} ${btoa(String.fromCharCode(...utf8(value)))}`)
    .join(',');

/** Digest that the octets of one request must have. */
export interface Checksum {
  readonly algorithm: (typeof CHECKSUM_ALGORITHMS)[number];
  readonly digest: Uint8Array;
}

/** `sha1 base64`, where there is one. */
export function parseChecksum(field: string | string[] | undefined): Checksum | undefined {
  if (field === undefined) return undefined;
  const [name, digest = '', ...rest] = String(field).split(' ');
  const algorithm = CHECKSUM_ALGORITHMS.find((known) => known === name);
  if (algorithm === undefined || rest.length > 0)
    throw malformed(`Upload-Checksum is of another kind than ${CHECKSUM_ALGORITHMS.join(', ')}`);
  try {
    return { algorithm, digest: fromBase64(digest) };
  } catch (cause) {
    throw malformed('Upload-Checksum is not base64', cause);
  }
}

/** `partial`, or the ids of the partial uploads that a final one is put together from, in order; undefined where there is none. */
export function parseConcat(field: string | string[] | undefined): 'partial' | readonly string[] | undefined {
  if (field === undefined || field === 'partial') return field;
  const urls = /^final;\s*(.*)$/.exec(String(field))?.[1]?.split(/ +/);
  const ids = urls?.map((url) => /^(?:https?:\/\/[^/]*)?\/inbox\/([0-9a-f]{32})$/.exec(url)?.[1]);
  if (ids === undefined || ids.some((id) => id === undefined) || new Set(ids).size !== ids.length)
    throw malformed('Upload-Concat is neither partial nor final with different uploads of this server');
  return ids as string[];
}

export const malformed = (what: string, cause?: unknown): TransferError => new TransferError(what, { code: 'TRANSFER_BAD_REQUEST', cause });

const fromBase64 = (text: string): Uint8Array => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

export const TUS_VERSION = '1.0.0';
/** Type of the octets of an upload. */
export const OCTETS = 'application/offset+octet-stream';
export const TUS_EXTENSIONS = 'creation,creation-with-upload,expiration,checksum,termination,concatenation';
export const CHECKSUM_ALGORITHMS = ['sha1', 'sha256'] as const;
