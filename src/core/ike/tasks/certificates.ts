import { concat, EMPTY } from '../../bytes/bytes.ts';
import { CertEncoding, type CertreqPayload, NotifyType, type Payload } from '../../wire/index.ts';
import type { IkeSa } from '../ike-sa.ts';
import { findAll, findNotify, notify } from '../notifies.ts';
import type { Connection, RemoteAuth } from '../policy.ts';
import type { World } from '../world.ts';

/**
 * RFC 7296 §3.7: the authorities we trust, as SHA-1 hashes of their public keys; sent only when a certificate is wanted. Where keys are
 * pinned, a request for those, which names nobody (RFC 7670 §3).
 */
export function certificateRequests(world: World, connections: readonly Connection[]): CertreqPayload[] {
  const asking = connections.flatMap((c) => (c.sendCertreq ? c.remote.filter((r) => r.auth === 'pubkey' || r.auth === 'any') : []));
  const authorities = asking.some(takesCertificates) ? (world.options.certificateAuthorities ?? []) : [];
  return [
    ...(authorities.length === 0 ? [] : [request(CertEncoding.X509_SIGNATURE, concat(...authorities))]),
    ...(asking.some(hasPinnedKeys) ? [request(CertEncoding.RAW_PUBLIC_KEY, EMPTY)] : []),
  ];
}

/** RFC 7296 §3.6: said with the requests for certificates, where hash and URL would do as well. */
export const lookupNotify = ({ options }: World, connections: readonly Connection[]): Payload[] =>
  options.looksUpCertificates && connections.some((c) => c.remote.some(({ auth }) => auth === 'pubkey' || auth === 'any'))
    ? [notify(NotifyType.HTTP_CERT_LOOKUP_SUPPORTED)]
    : [];

const request = (encoding: number, authorities: Uint8Array): CertreqPayload => ({ kind: 'CERTREQ', encoding, authorities });
const hasPinnedKeys = ({ publicKeys = [] }: RemoteAuth): boolean => publicKeys.length > 0;
const takesCertificates = (remote: RemoteAuth): boolean => !hasPinnedKeys(remote) || (remote.authorities?.length ?? 0) > 0;

export function noteCertificateRequests(sa: IkeSa, payloads: readonly Payload[]): void {
  if (findNotify(payloads, NotifyType.HTTP_CERT_LOOKUP_SUPPORTED)) sa.peer.looksUp = true;
  const all = findAll(payloads, 'CERTREQ');
  if (all.some((p) => p.encoding === CertEncoding.RAW_PUBLIC_KEY)) sa.peer.rawKeysWanted = true;
  const requests = all.filter((p) => p.encoding === CertEncoding.X509_SIGNATURE);
  if (requests.length === 0) return;
  sa.peer.certificatesWanted = true;
  sa.peer.authorities = requests.flatMap((p) => hashesOf(p.authorities)).slice(0, MAX_AUTHORITIES);
}

/** RFC 7427 §4: which hashes we can verify in signatures made for us. */
export const hashNotify = (world: World): Payload[] => {
  const hashes = world.options.hashes ?? DEFAULT_HASHES;
  const data = new Uint8Array(2 * hashes.length);
  for (const [i, hash] of hashes.entries()) {
    data[2 * i] = hash >>> 8;
    data[2 * i + 1] = hash & 0xff;
  }
  return [notify(NotifyType.SIGNATURE_HASH_ALGORITHMS, data)];
};

export function noteHashes(sa: IkeSa, payloads: readonly Payload[]): void {
  const announced = findNotify(payloads, NotifyType.SIGNATURE_HASH_ALGORITHMS);
  if (announced === undefined || announced.data.length % 2 !== 0) return;
  const { data } = announced;
  const hashes: number[] = [];
  for (let at = 0; at < data.length && hashes.length < MAX_HASHES; at += 2) hashes.push((data[at]! << 8) | data[at + 1]!);
  // most peers know just these
  sa.peer.hashes = hashes.join() === DEFAULT_HASHES.join() ? DEFAULT_HASHES : hashes.slice();
}

/** SHA2-256, SHA2-384, SHA2-512 and Identity (for EdDSA, RFC 8420). SHA-1 is not asked for. */
export const DEFAULT_HASHES: readonly number[] = [2, 3, 4, 5];

function hashesOf(authorities: Uint8Array): Uint8Array[] {
  const hashes: Uint8Array[] = [];
  for (let at = 0; at + HASH_LENGTH <= authorities.length; at += HASH_LENGTH) hashes.push(authorities.slice(at, at + HASH_LENGTH));
  return hashes;
}

const HASH_LENGTH = 20;
const MAX_AUTHORITIES = 256;
const MAX_HASHES = 16;
