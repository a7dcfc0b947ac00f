import { dirname, join } from 'node:path';
import { expect } from 'vitest';
import {
  type AlgorithmPolicy,
  ANY_PURPOSE,
  CLIENT_PURPOSE,
  DEFAULT_ALGORITHMS,
  findPath,
  type KeyPurpose,
  type PathOptions,
  parseCertificate,
  SERVER_PURPOSE,
} from '../../src/core/pki/index.ts';
import { describeWithShared, listShared } from '../support/shared.ts';
import { type Exemption, judge, pemBlocks, readText, reasonFor, verdictOf } from './x509-cases.ts';

const FOLDER = 'vectors/x509/chain-tests';
/** What `utc_time: DEFAULT` stands for. */
const DEFAULT_TIME = Date.UTC(2021, 9, 5, 12);

const strict = (purpose: KeyPurpose): KeyPurpose => ({ ...purpose, acceptsAny: false, mustBePresent: true });

const PURPOSES: Readonly<Record<string, KeyPurpose>> = {
  ANY_EKU: ANY_PURPOSE,
  SERVER_AUTH: { ...SERVER_PURPOSE, keyUsage: 0 },
  CLIENT_AUTH: { ...CLIENT_PURPOSE, keyUsage: 0 },
  SERVER_AUTH_STRICT: strict(SERVER_PURPOSE),
  CLIENT_AUTH_STRICT: strict(CLIENT_PURPOSE),
};

/** How the last certificate of a chain is trusted. */
const TRUST: Readonly<Record<string, (Pick<PathOptions, 'anchorAs'> & { readonly anchor?: true; readonly peer?: true }) | undefined>> = {
  TRUSTED_ANCHOR: { anchor: true, anchorAs: 'name and key' },
  TRUSTED_ANCHOR_WITH_CONSTRAINTS: { anchor: true },
  TRUSTED_ANCHOR_WITH_EXPIRATION_AND_CONSTRAINTS: { anchor: true },
  TRUSTED_ANCHOR_WITH_CONSTRAINTS_REQUIRE_BASIC_CONSTRAINTS: { anchor: true },
  TRUSTED_ANCHOR_OR_LEAF: { anchor: true, peer: true, anchorAs: 'name and key' },
  TRUSTED_LEAF: { peer: true },
  UNSPECIFIED: {},
  DISTRUSTED: {},
};

const NOT_BUILT: readonly Exemption[] = [
  { what: /ok-all-types/, why: 'RFC 5280 §4.2.1.10 has it refused: t171.test and others are not among the permitted names' },
  { what: /key_purpose: (MLS_|C2PA_)/, why: 'a purpose that is not of a VPN' },
  {
    what: /key_purpose: (SERVER|CLIENT)_AUTH_STRICT_LEAF/,
    why: 'a purpose that judges end entities and authorities by different measures',
  },
  { what: /REQUIRE_SELF_SIGNED/, why: 'a trusted end entity need not be signed by itself here' },
  {
    what: /TRUSTED_ANCHOR_WITH_(REQUIRE_BASIC_CONSTRAINTS|EXPIRATION)\n/,
    why: 'an anchor counts with all of its certificate or with name and key alone',
  },
  {
    what: /root-lacks-basic-constraints.*[\s\S]*TRUSTED_ANCHOR_WITH_CONSTRAINTS\n/,
    why: 'RFC 4945 §5.1.3.9 has an authority without basicConstraints refused',
  },
];

describeWithShared('BoringSSL chains', FOLDER, () => {
  for (const file of listShared(FOLDER, '.test')) {
    const text = readText(file);
    judge(file.slice(FOLDER.length + 1), reasonFor(`${file}\n${text}`, NOT_BUILT), () => {
      const verdict = verdictOf(() => findPathOf(dirname(file), text));
      expect(verdict.valid, verdict.says).toBe(!/^ERROR:/m.test(text));
      if (!verdict.valid) expect(CODES.filter(([error]) => error.test(text)).flatMap(([, codes]) => codes)).toContain(verdict.code);
    });
  }
});

/** Which of our codes stand for their errors. A chain may be wrong in more than one way; any of them will do. */
const CODES: readonly (readonly [RegExp, readonly string[]])[] = [
  [/VerifySignedData failed/, ['BAD_SIGNATURE', 'UNKNOWN_CA']],
  [/Time is after notAfter/, ['CERTIFICATE_EXPIRED']],
  [/Time is before notBefore/, ['NOT_YET_VALID']],
  [/extended key usage/, ['EXTENDED_KEY_USAGE']],
  [/Basic Constraints indicating it is a CA/, ['CERTIFICATE_PROFILE']],
  [/Basic Constraints$|Basic Constraints indicates not a CA/m, ['NOT_A_CA']],
  [/keyCertSign bit is not set/, ['KEY_USAGE']],
  [/max_path_length reached/, ['PATH_TOO_LONG']],
  [/Unconsumed critical extension/, ['CRITICAL_EXTENSION', 'EXTENDED_KEY_USAGE']],
  [/No valid policy/, ['POLICY']],
  [/Unacceptable signature algorithm/, ['WEAK_ALGORITHM']],
  [/Unacceptable public key|RSA modulus too small/, ['WEAK_KEY']],
  [/Couldn't parse SubjectPublicKeyInfo/, ['DER_MALFORMED', 'WEAK_KEY']],
  [/not a trust anchor|Distrusted by trust store|No matching issuer found/, ['UNKNOWN_CA', 'BAD_SIGNATURE']],
  [/Too many name constraints checks/, ['PATH_TOO_COMPLEX', 'NAME_CONSTRAINTS']],
  [/Not permitted by name constraints/, ['NAME_CONSTRAINTS']],
  [/subject does not match issuer/, ['UNKNOWN_CA']],
];

function findPathOf(folder: string, text: string) {
  const field = (name: string): string => new RegExp(`^${name}: (.*)$`, 'm').exec(text)?.[1]?.trim() ?? '';
  const chain = pemBlocks(join(folder, field('chain'))).map(parseCertificate);
  const last = chain[chain.length - 1]!;
  const trust = TRUST[field('last_cert_trust')]!;
  const purpose = field('key_purpose');
  return findPath(chain[0]!, {
    anchors: trust.anchor ? [last] : [],
    trustedPeers: trust.peer ? [last] : [],
    intermediates: chain.slice(1, -1),
    at: timeOf(field('utc_time')),
    purpose: PURPOSES[purpose],
    anchorAs: trust.anchorAs,
    authorityMayBePeer: !purpose.endsWith('STRICT'),
    algorithms: algorithms(field('digest_policy')),
  });
}

/** Their default takes SHA-1 and RSA from 1024 bits; only the digest can be restricted. */
function algorithms(digestPolicy: string): AlgorithmPolicy {
  return { ...DEFAULT_ALGORITHMS, rsa: 1024, hashes: [...DEFAULT_ALGORITHMS.hashes, ...(digestPolicy === 'STRONG' ? [] : ['sha1'])] };
}

/** `YYMMDDHHMMSSZ`. */
function timeOf(text: string): number {
  if (text === 'DEFAULT') return DEFAULT_TIME;
  const [year, month, day, hour, minute, second] = text.match(/\d\d/g)!.map(Number) as [number, number, number, number, number, number];
  return Date.UTC(2000 + year, month - 1, day, hour, minute, second);
}
