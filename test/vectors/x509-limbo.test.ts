import { expect } from 'vitest';
import { TunnelwrightError } from '../../src/core/bytes/index.ts';
import {
  CLIENT_PURPOSE,
  findPath,
  identityMatchesCertificate,
  identityMismatch,
  type PathResult,
  parseCertificate,
  parseIdentity,
  parsePem,
  SERVER_PURPOSE,
} from '../../src/core/pki/index.ts';
import { describeWithShared, listShared, readSharedJson } from '../support/shared.ts';
import { type Exemption, judge, reasonFor, verdictOf } from './x509-cases.ts';

interface PeerName {
  readonly kind: 'DNS' | 'IP' | 'RFC822';
  readonly value: string;
}

interface Case {
  readonly id: string;
  readonly features: readonly string[];
  readonly validation_kind: 'SERVER' | 'CLIENT';
  readonly trusted_certs: readonly string[];
  readonly untrusted_intermediates: readonly string[];
  readonly peer_certificate: string;
  readonly validation_time: string | null;
  readonly expected_result: 'SUCCESS' | 'FAILURE';
  readonly expected_peer_name: PeerName | null;
  readonly expected_peer_names: readonly PeerName[];
  readonly max_chain_depth: number | null;
}

const FOLDER = 'vectors/x509/limbo';
/** Cases without a time of their own are meant for the day they are run on; all of them hold on this one. */
const TODAY = Date.UTC(2025, 5, 1);

/** Features of cases that must fail, and do not here: not built, or not wanted. */
const FEATURES: Readonly<Record<string, string>> = {
  'has-crl': 'revocation lists are not read here',
  'pedantic-public-suffix-wildcard': 'wildcards need the public suffix list, which is of the web',
  'rfc5280-incompatible-with-webpki': 'nameConstraints are taken not critical too: the same suite demands it elsewhere',
  'pedantic-rfc5280': 'ambiguous, as the case says',
  'pedantic-webpki-eku': 'a rule of the CA/Browser Forum for web servers',
};

/** Cases that demand rules of the CA/Browser Forum, under which a VPN's own authority does not stand. */
const WEB_RULES: readonly Exemption[] = [
  { what: /^webpki::cn::/, why: 'the CN of a VPN certificate is free text, and never compared' },
  { what: /^webpki::.*rsa.*not-divisible-by-8/, why: 'RFC 8017 has nothing against such a modulus' },
  { what: 'webpki::san::san-critical-with-nonempty-subject', why: 'RFC 5280 §4.2.1.6 only says SHOULD' },
];

describeWithShared('x509-limbo', FOLDER, () => {
  const online = listShared(`${FOLDER}/online`, '.json').map((file) => readSharedJson(file) as Case);
  const { testcases } = readSharedJson(`${FOLDER}/limbo.json`) as { testcases: readonly Case[] };
  for (const each of [...testcases, ...online]) {
    const feature = each.expected_result === 'FAILURE' ? each.features.find((name) => FEATURES[name] !== undefined) : undefined;
    judge(each.id, feature === undefined ? reasonFor(each.id, WEB_RULES) : FEATURES[feature], () => {
      const verdict = verdictOf(() => validate(each));
      expect(verdict.valid, verdict.says).toBe(each.expected_result === 'SUCCESS');
    });
  }
});

function validate(each: Case): PathResult {
  const peer = certificates([each.peer_certificate])[0]!;
  const result = findPath(parseCertificate(peer), {
    anchors: certificates(each.trusted_certs).map(parseCertificate),
    intermediates: certificates(each.untrusted_intermediates).flatMap(readable),
    at: each.validation_time === null ? TODAY : Date.parse(each.validation_time),
    purpose: each.validation_kind === 'SERVER' ? SERVER_PURPOSE : CLIENT_PURPOSE,
    strict: true,
    // The suite has it both ways: RFC 5280 lets an authority stand as a peer, the web does not.
    authorityMayBePeer: !each.id.startsWith('webpki::'),
    ...(each.max_chain_depth === null ? {} : { limits: { intermediates: each.max_chain_depth } }),
  });
  const names = [...(each.expected_peer_name === null ? [] : [each.expected_peer_name]), ...each.expected_peer_names];
  for (const name of names) {
    const id = parseIdentity(`${PREFIX[name.kind](name.value)}:${name.value}`);
    const [leaf] = result.ok ? result.path : [];
    if (leaf !== undefined && !identityMatchesCertificate(id, leaf, { wildcards: true })) throw identityMismatch(id, leaf);
  }
  return result;
}

const certificates = (pems: readonly string[]): Uint8Array[] => pems.flatMap((pem) => parsePem(pem).map(({ der }) => der));

/** What a peer sends besides and cannot be read is left out, as the credential store does. */
function readable(der: Uint8Array) {
  try {
    return [parseCertificate(der)];
  } catch (error) {
    if (error instanceof TunnelwrightError) return [];
    throw error;
  }
}

const PREFIX: Readonly<Record<PeerName['kind'], (value: string) => string>> = {
  DNS: () => 'fqdn',
  IP: (value) => (value.includes(':') ? 'ipv6' : 'ipv4'),
  RFC822: () => 'email',
};
