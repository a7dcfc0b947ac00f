import { AuthenticationFailure, TunnelwrightError } from '../../../core/bytes/index.ts';
import { type AuthVerdict, importPublicKey, type KeyObject } from '../../../core/crypto/index.ts';
import type { Ask, AskAnswers } from '../../../core/ike/effects.ts';
import {
  DEFAULT_ALGORITHMS,
  describeRawKey,
  formatIdentity,
  keyFingerprint,
  keyIdentity,
  keyWeakness,
  matchStrength,
  type PinnedKey,
  parsePublicKeyInfo,
} from '../../../core/pki/index.ts';
import { CertEncoding } from '../../../core/wire/iana.ts';
import type { SignatureSteps } from '../workers/work.ts';
import type { Keyring } from './keyring.ts';

type VerifyAsk = Extract<Ask, { kind: 'verify' }>;
type Candidate = VerifyAsk['candidates'][number];
type Verified = Extract<AskAnswers['verify'], { ok: true }>;

export const isPinned = ({ remote }: Candidate): boolean => (remote.publicKeys?.length ?? 0) > 0;

/** Where keys are pinned and no authority is named, certificates lead nowhere. */
export const trustsPaths = (candidate: Candidate): boolean => !isPinned(candidate) || (candidate.remote.authorities?.length ?? 0) > 0;

/**
 * Whether the peer signs with a key that is pinned for one of these connections (RFC 7670). It may have sent that key raw, in a certificate,
 * which then is nothing but its envelope, or not at all. Who it is follows from the key, unless the policy gives the key a name.
 */
export function* verifyPinned(
  keyring: Keyring,
  ask: VerifyAsk,
  candidates: readonly Candidate[],
): SignatureSteps<Verified | AuthenticationFailure> {
  const able = candidates
    .map((candidate) => ({ ...candidate, strength: matchStrength(candidate.remote.id, ask.id) }))
    .filter(({ strength }) => strength > 0)
    .sort((a, b) => b.strength - a.strength);
  if (able.length === 0) return notAllowed(ask, candidates);
  const sent = sentKey(keyring, ask);
  let failure: AuthenticationFailure | undefined;
  let tried = 0;
  for (const { connection, remote, strength } of able) {
    const pins = keyring.pinned.filter(({ handle }) => remote.publicKeys!.includes(handle));
    for (const spki of keysToTry(pins, sent)) {
      if (++tried > MOST_TRIED) break;
      const reason = yield* signatureProblem(keyring, ask, spki, remote.schemes ?? []);
      if (reason !== undefined) {
        failure ??= wrongSignature(ask, spki, reason);
        continue;
      }
      // a name that the policy does not give to this very key could be anybody's
      const named = strength === 3;
      const says = named ? '' : `, calls itself ${formatIdentity(ask.id)}`;
      return { ok: true, connection, description: `${describeRawKey(spki)} (pinned${says})`, ...(named ? {} : { id: keyIdentity(spki) }) };
    }
  }
  return failure ?? (sent === undefined ? noKey(ask) : notPinned(ask, sent));
}

/** The octets of a key that was sent are compared, never read, unless they are those of a pinned key. */
function keysToTry(pins: readonly PinnedKey[], sent: Uint8Array | undefined): readonly Uint8Array[] {
  if (sent === undefined) return pins.flatMap(({ spki }) => spki ?? []);
  const fingerprint = keyFingerprint(sent);
  return pins.some((pin) => pin.fingerprint === fingerprint) ? [sent] : [];
}

/** RFC 7296 §3.6: the first certificate holds the key that signs. */
function sentKey({ cache }: Keyring, { certificates }: VerifyAsk): Uint8Array | undefined {
  const first = certificates.find(({ encoding }) => encoding === CertEncoding.RAW_PUBLIC_KEY || encoding === CertEncoding.X509_SIGNATURE);
  if (first === undefined) return undefined;
  if (first.encoding === CertEncoding.RAW_PUBLIC_KEY) return first.data;
  try {
    return cache.certificate(first.data).spki;
  } catch (error) {
    if (error instanceof TunnelwrightError) return first.data;
    throw error;
  }
}

function* signatureProblem(
  keyring: Keyring,
  ask: VerifyAsk,
  spki: Uint8Array,
  restrict: readonly string[],
): SignatureSteps<string | undefined> {
  let publicKey: KeyObject;
  try {
    const weakness = keyWeakness(parsePublicKeyInfo(spki), keyring.options.algorithms ?? DEFAULT_ALGORITHMS);
    if (weakness !== undefined) return weakness;
    publicKey = importPublicKey(spki);
  } catch (error) {
    if (error instanceof TunnelwrightError) return 'its key cannot be read';
    throw error;
  }
  const { method, data, octets } = ask;
  const allowSha1 = keyring.options.allowSha1 === true || restrict.includes('sha1');
  const verdict = (yield { kind: 'verify', method, data, publicKey, octets, restrict, allowSha1 }) as AuthVerdict;
  return verdict.ok ? undefined : verdict.reason;
}

const wrongSignature = ({ id }: VerifyAsk, spki: Uint8Array, reason: string) =>
  new AuthenticationFailure(`the signature of ${formatIdentity(id)} does not prove the public key ${describeRawKey(spki)}: ${reason}`, {
    code: 'AUTH_SIGNATURE',
    section: 'RFC 7670 §1',
    hint: 'See that the peer signs with the private key of the public key that is pinned here, in a scheme that is allowed here.',
  });

function notPinned({ id, candidates }: VerifyAsk, spki: Uint8Array): AuthenticationFailure {
  const names = candidates.slice(0, MOST_NAMES).map(({ connection }) => connection);
  return new AuthenticationFailure(
    `${formatIdentity(id)} has the public key ${keyFingerprint(spki)}, which is not pinned for ${names.join(', ')}`,
    {
      code: 'PUBLIC_KEY_UNKNOWN',
      section: 'RFC 7670 §4',
      hint: 'Compare the fingerprint with that which the peer shows of its own key; if they are the same, add it to pubkeys of the remote section.',
    },
  );
}

const noKey = ({ id }: VerifyAsk) =>
  new AuthenticationFailure(`${formatIdentity(id)} sent no public key, and of the one that is pinned only the fingerprint is known`, {
    code: 'PUBLIC_KEY_MISSING',
    section: 'RFC 7670 §3',
    hint: 'Name the key itself in pubkeys of the remote section, or have the peer send it (send_cert: always).',
  });

function notAllowed({ id }: VerifyAsk, candidates: readonly Candidate[]): AuthenticationFailure {
  const names = candidates.slice(0, MOST_NAMES).map(({ connection }) => connection);
  return new AuthenticationFailure(`the peer calls itself ${formatIdentity(id)}, which ${names.join(', ')} does not accept`, {
    code: 'IDENTITY_NOT_ALLOWED',
    section: 'RFC 7670 §1',
    hint: 'Leave id of the remote section out: with pubkeys the key alone says who it is.',
  });
}

/** Ours: signatures that one peer may have us check, where it does not say by which key. */
const MOST_TRIED = 16;
const MOST_NAMES = 4;
