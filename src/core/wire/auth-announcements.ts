import { Reader } from '../bytes/reader.ts';
import { Writer } from '../bytes/writer.ts';
import { AuthMethod, nameOf } from './iana.ts';
import { describeAlgorithm } from './text/authentication.ts';

/** One way to authenticate that the sender of SUPPORTED_AUTH_METHODS takes (RFC 9593 §3.2). */
export interface AuthAnnouncement {
  readonly method: number;
  /** For which authority of the sender's CERTREQ payloads, counted from 1; 0 is any. Absent in two octets, which are the method alone. */
  readonly certLink?: number | undefined;
  /** AlgorithmIdentifier in DER. */
  readonly algorithm?: Uint8Array | undefined;
}

/** No more than `MOST_ANNOUNCEMENTS` of them. Throws `MalformedMessage`. */
export function parseAuthAnnouncements(data: Uint8Array): AuthAnnouncement[] {
  const r = new Reader(data);
  const announcements: AuthAnnouncement[] = [];
  while (r.remaining > 0 && announcements.length < MOST_ANNOUNCEMENTS) announcements.push(readAuthAnnouncement(r));
  return announcements;
}

/** RFC 9593 §3.2.1–3.2.3: a length, which counts itself, the method, and with three octets or more the link and the algorithm. */
export function readAuthAnnouncement(r: Reader): AuthAnnouncement {
  const length = r.u8('Length');
  if (length < 2) throw r.malformed(`an announcement of ${length} octets`, 'Length', 'RFC 9593 §3.2');
  const body = r.sub(length - 1, 'announcement');
  const method = body.u8('Auth Method');
  if (body.remaining === 0) return { method };
  const certLink = body.u8('Cert Link');
  return body.remaining === 0 ? { method, certLink } : { method, certLink, algorithm: body.rest() };
}

export function writeAuthAnnouncements(announcements: readonly AuthAnnouncement[]): Uint8Array {
  const w = new Writer();
  for (const { method, certLink, algorithm } of announcements) {
    if (algorithm !== undefined)
      w.u8(3 + algorithm.length)
        .u8(method)
        .u8(certLink ?? 0)
        .bytes(algorithm);
    else if (certLink !== undefined) w.u8(3).u8(method).u8(certLink);
    else w.u8(2).u8(method);
  }
  return w.finish();
}

/** `SHARED_KEY_MIC`, `DIGITAL_SIGNATURE Ed25519 for CERTREQ 2`. */
export function describeAuthAnnouncement({ method, certLink = 0, algorithm }: AuthAnnouncement): string {
  const scheme = algorithm === undefined ? '' : ` ${describeAlgorithm(algorithm)}`;
  return `${nameOf(AuthMethod, method)}${scheme}${certLink === 0 ? '' : ` for CERTREQ ${certLink}`}`;
}

/** Ours: all schemes that are known make fifteen, each for a handful of authorities. */
const MOST_ANNOUNCEMENTS = 64;
