/**
 * What went wrong in other implementations of IKE and IPsec, and which of our tests would tell. `checklist.test.ts` sees that each test is
 * there, and that a row which waits for a room does not outlive its absence.
 */
export interface Row {
  /** CVE numbers of the same kind, and whose they were. */
  readonly names: readonly string[];
  readonly wrong: string;
  /** By file below `test`: parts of the titles of its tests, as they stand in the source. */
  readonly tests?: Readonly<Record<string, readonly string[]>>;
  /** What of it concerns a part that is not built. */
  readonly waits?: {
    /** Matches the path of a source file once that part is there; the row then needs its tests. */
    readonly room: RegExp;
    readonly reason: string;
  };
  /** Why nothing can be tested. */
  readonly untestable?: string;
}

const EAP = { room: /^src\/core\/eap\//, reason: 'no EAP is spoken: a peer that asks for it is refused' };
const RADIUS = { room: /^src\/core\/radius\//, reason: 'no RADIUS is spoken' };
const FETCHING = { room: /ocsp|crl-(?:fetch|client)|\/enrolment\//, reason: 'nothing is fetched: revocation is told by whoever loads it' };

export const CHECKLIST: readonly Row[] = [
  {
    names: ['strongSwan CVE-2014-2338'],
    wrong: 'Rekeying an IKE SA that nobody had authenticated made one that counted as established.',
    tests: {
      'security/before-authentication.test.ts': [
        'CVE-2014-2338, %s',
        'CVE-2014-2338, the IKE SA failed to authenticate and lingers',
        'authentic nonsense while %s',
      ],
      'core/ike/failures.test.ts': ['CVE-2014-2338: CREATE_CHILD_SA and INFORMATIONAL before authentication are dropped'],
    },
  },
  {
    names: ['strongSwan CVE-2014-9221', 'strongSwan CVE-2015-3991'],
    wrong: 'A key exchange id from private use, and payload types of IKEv1 inside IKEv2, reached code that had nothing for them.',
    tests: {
      'security/registries.test.ts': [
        'CVE-2014-9221: all 65,536 key exchange ids',
        'CVE-2015-3991: all 256 payload types, with bodies that are empty, short and long',
        'inside SK of %s: one answer at most',
      ],
    },
  },
  {
    names: ['strongSwan CVE-2015-4171'],
    wrong: 'A client gave its EAP identity and password to a gateway before it had checked that it was the right one.',
    waits: EAP,
  },
  {
    names: ['strongSwan CVE-2015-8023', 'strongSwan CVE-2021-45079'],
    wrong: 'EAP success was believed in a state in which it meant nothing.',
    tests: { 'security/authentication.test.ts': ['no AUTH, which asks for EAP'] },
    waits: EAP,
  },
  {
    names: ['strongSwan CVE-2023-26463'],
    wrong: 'The key of one certificate was used with the trust in another.',
    tests: {
      'security/authentication.test.ts': [
        'CVE-2023-26463: the key of one chain, the certificates of another',
        'signed by a stranger, the certificates in any order',
      ],
    },
    waits: { ...EAP, reason: 'the same for TLS inside EAP' },
  },
  {
    names: ['strongSwan CVE-2025-62291', 'strongSwan CVE-2026-25075'],
    wrong: 'Lengths in MSCHAPv2 and EAP-TTLS ran below zero.',
    waits: EAP,
  },
  {
    names: ['strongSwan CVE-2026-35330'],
    wrong: 'An attribute of length 0 was read for ever.',
    tests: {
      'security/zero-lengths.test.ts': [
        'lengths of zero, of one and without end, at every place',
        'nothing but zeros, nothing but ones, of any size',
      ],
      'core/wire/lists.test.ts': ['a full payload of empty attributes ends'],
    },
    waits: { ...EAP, reason: 'the same for the attributes of EAP-SIM and EAP-AKA' },
  },
  {
    names: ['strongSwan CVE-2026-35328', 'strongSwan CVE-2026-35332'],
    wrong: 'A loop over TLS extensions, and an ECDH point that is not on its curve.',
    tests: {
      'security/key-exchange.test.ts': ['a point off the curve', 'in CREATE_CHILD_SA for %s, under valid keys: each of them'],
      'core/crypto/key-exchange.test.ts': ['points off the curve are refused'],
    },
    waits: { ...EAP, reason: 'TLS is spoken inside EAP only' },
  },
  { names: ['strongSwan CVE-2026-35333'], wrong: 'RADIUS attributes with lengths of 0 and beyond the packet.', waits: RADIUS },
  {
    names: ['strongSwan CVE-2026-35331'],
    wrong: 'Name constraints could be got around.',
    tests: {
      'core/pki/name-constraints.test.ts': ['permitted, excluded', 'all authorities of a path must permit, and one that excludes suffices'],
      'vectors/x509-limbo.test.ts': ['x509-limbo'],
      'vectors/x509-pkits.test.ts': ['NIST PKITS'],
    },
  },
  {
    names: ['strongSwan CVE-2026-35329', 'strongSwan CVE-2018-6459', 'strongSwan CVE-2017-9023'],
    wrong: 'PKCS #7, parameters of RSASSA-PSS and an ASN.1 CHOICE crashed the parser or kept it busy.',
    tests: {
      'robustness/parsers.fuzz.test.ts': ['stands mutated input'],
      'core/pki/der.test.ts': ['nesting has an end'],
      'core/crypto/signatures.test.ts': [
        'RSASSA-PSS whose parameters do not describe the signature',
        'an arbitrary octet string is never an exception',
      ],
      'vectors/fuzz-certs.test.ts': ['fuzzed certificates'],
    },
  },
  {
    names: [
      'strongSwan CVE-2026-35334',
      'strongSwan CVE-2017-9022',
      'strongSwan CVE-2017-11185',
      'strongSwan CVE-2018-17540',
      'strongSwan CVE-2021-41990',
    ],
    wrong: 'RSA keys and signatures at their edges: a signature not below the modulus, a tiny modulus, an endless salt.',
    tests: {
      'security/credentials.test.ts': ['signatures of n, above n, of 0, 1 and n - 1'],
      'core/crypto/signatures.test.ts': ['RSA keys that no honest signer has'],
      'vectors/wycheproof-signatures.test.ts': ['Wycheproof: signatures'],
    },
  },
  {
    names: ['strongSwan CVE-2018-16151', 'strongSwan CVE-2018-16152'],
    wrong: 'PKCS #1 v1.5 and AlgorithmIdentifiers were read leniently: signatures could be forged for e = 3.',
    tests: {
      'security/credentials.test.ts': ['CVE-2018-16151, CVE-2018-16152: signatures forged for e = 3'],
      'core/crypto/signatures.test.ts': ['an AlgorithmIdentifier with %s'],
    },
  },
  {
    names: ['strongSwan CVE-2013-2944'],
    wrong: 'An empty or all-zero signature was taken for a good one.',
    tests: {
      'security/authentication.test.ts': ['CVE-2013-2944: empty, zero and trivial proofs under every authentication method'],
      'core/crypto/signatures.test.ts': ['empty, zero, cut and prolonged data never pass'],
    },
  },
  {
    names: ['strongSwan CVE-2013-6075'],
    wrong: 'Comparing identities read beyond one of them, and might have taken a beginning for the whole.',
    tests: {
      'security/credentials.test.ts': ['CVE-2013-6075: identities are the same or they are not; no beginning of one is enough'],
      'vectors/fuzz-certs.test.ts': ['fuzzed identities'],
    },
  },
  {
    names: ['strongSwan CVE-2018-10811', 'strongSwan CVE-2023-41913', 'libreswan CVE-2015-3240', 'libreswan CVE-2016-5391'],
    wrong: 'Proposals without PRF or key exchange, public values of zero and of the wrong length.',
    tests: {
      'security/key-exchange.test.ts': ['to the responder of IKE_SA_INIT: %s', 'to the initiator of IKE_SA_INIT: %s'],
      'security/proposals.test.ts': ['offered in IKE_SA_INIT with %s', 'answered in IKE_SA_INIT with %s', 'no PRF', 'no key exchange'],
    },
  },
  {
    names: ['strongSwan CVE-2021-41991'],
    wrong: 'A counter of the certificate cache ran over when certificates were replaced often enough.',
    tests: { 'security/credentials.test.ts': ['CVE-2021-41991: a cache of certificates that others fill'] },
  },
  {
    names: ['strongSwan CVE-2022-40617'],
    wrong: 'URLs in certificates that nobody trusted were fetched, and the daemon waited for them.',
    tests: {
      'security/checklist.test.ts': ['CVE-2022-40617: nothing fetches what a certificate or a peer names'],
      'host/engine/credentials-lookup.test.ts': ['certificates that a peer names by hash and URL'],
    },
    waits: FETCHING,
  },
  {
    names: ['NetworkManager-libreswan CVE-2025-9615'],
    wrong: 'A local user could name files that only the daemon may read.',
    tests: {
      'product/control/control.test.ts': [
        'only its owner can open it, and look into its folder',
        'a folder into which others can write is refused',
      ],
    },
  },
  {
    names: ['strongSwan CVE-2018-5388'],
    wrong: 'The control socket believed the length that a message gave of itself.',
    tests: {
      'security/control-socket.test.ts': ['CVE-2018-5388: lengths that lie', 'CVE-2018-5388: mutated requests for every route'],
      'product/control/control.test.ts': ['a body past the limit'],
    },
  },
  {
    names: [
      'libreswan CVE-2013-6467',
      'libreswan CVE-2015-3204',
      'libreswan CVE-2016-3071',
      'libreswan CVE-2022-23094',
      'libreswan CVE-2023-23009',
      'libreswan CVE-2023-38710',
      'libreswan CVE-2024-3652',
    ],
    wrong: 'Payloads that were counted on and did not come, or were malformed under valid keys: the daemon restarted.',
    tests: {
      'security/missing-payloads.test.ts': ['every payload of every message, %s'],
      'simulation/hostile.test.ts': ['an authenticated peer gone mad'],
      'robustness/parsers.fuzz.test.ts': ['stands mutated input'],
    },
  },
  {
    names: ['libreswan CVE-2024-2357'],
    wrong: 'A missing secret ended the daemon.',
    tests: {
      'security/authentication.test.ts': ['an identity without a secret here (CVE-2024-2357)'],
      'host/engine/credentials.test.ts': ['an empty one is not taken'],
    },
  },
  {
    names: ['libreswan CVE-2019-10155', 'libreswan CVE-2019-12312', 'libreswan CVE-2020-1763'],
    wrong: 'Notifies in clear were acted on.',
    tests: {
      'security/spoofed.test.ts': ['clear messages of every kind, to the %s end', 'CVE-2019-12312', 'CVE-2020-1763'],
      'simulation/conformance.test.ts': ['D52 what is not protected, while the IKE SA stands'],
    },
  },
  {
    names: ['libreswan CVE-2026-12413', 'libreswan CVE-2026-50721', 'libreswan CVE-2026-50722', 'libreswan CVE-2026-14957'],
    wrong: 'Not published in what could be read.',
    untestable: 'The advisories do not say what happened; what they turn out to be gets a row of its own.',
  },
  {
    names: ['racoon CVE-2015-4047'],
    wrong: 'Messages that fit no state crashed the daemon.',
    tests: {
      'security/registries.test.ts': ['every exchange type and all flags, with an empty chain and with noise'],
      'simulation/hostile.test.ts': ['strangers'],
    },
  },
  {
    names: ['Cisco CVE-2016-1287'],
    wrong: 'Arithmetic with fragment lengths wrote beyond a buffer.',
    tests: { 'security/fragments.test.ts': ['CVE-2016-1287: numbers', 'CVE-2016-1287: memory'] },
  },
  {
    names: ['Cisco CVE-2017-12237', 'Cisco CVE-2025-20182'],
    wrong: 'Crafted messages cost the processor, or left a little memory behind each time.',
    tests: { 'security/soak.test.ts': ['one endpoint for all of it', 'no single message of a life costs more than milliseconds'] },
  },
  {
    names: ['Cisco CVE-2018-0131', 'CVE-2018-5389'],
    wrong: 'How a failure looked from outside told what to try next.',
    tests: { 'security/authentication.test.ts': ['CVE-2018-0131 and its kind: every failure to authenticate looks the same from outside'] },
  },
  {
    names: ['WatchGuard CVE-2025-9242', 'Zyxel CVE-2023-28771', 'Windows CVE-2022-34721'],
    wrong: 'What strangers sent was written beyond buffers, or reached a shell.',
    tests: {
      'security/checklist.test.ts': ['CVE-2023-28771: no shell, and every program that is started is named here'],
      'robustness/parsers.fuzz.test.ts': ['stands mutated input'],
      'core/wire/payloads.test.ts': ['is described on lines that a terminal shows safely'],
    },
  },
  {
    names: ['CERT VU#419128'],
    wrong: 'A responder sent more, and more often, than it was sent, to addresses that nobody had proven.',
    tests: {
      'security/amplification.test.ts': [
        'before an address is proven',
        'nothing is repeated to an address that says no more',
        'reflection',
      ],
    },
  },
];

/** Rules that come of them. */
export const RULES: readonly (Omit<Row, 'names' | 'wrong'> & { readonly rule: string })[] = [
  {
    rule: 'No recursion without depth.',
    tests: {
      'core/pki/der.test.ts': ['nesting has an end'],
      'product/config/source.test.ts': ['hostile texts end soon and in a ConfigError'],
    },
  },
  { rule: 'Every loop consumes an octet.', tests: { 'security/zero-lengths.test.ts': ['lengths of zero'] } },
  {
    rule: 'Work for a datagram of a stranger is bounded.',
    tests: { 'security/soak.test.ts': ['no single message'], 'core/pki/path.test.ts': ['work is bounded'] },
  },
  {
    rule: 'Half-open IKE SAs are bounded, in all and for each address.',
    tests: {
      'simulation/hostile.test.ts': ['a flood of first requests: memory stays bounded'],
      'core/ike/failures.test.ts': ['an address that opens half-open SAs without end is cut off'],
    },
  },
  {
    rule: 'Secrets of cookies overlap when they rotate.',
    tests: { 'core/ike/mechanics.test.ts': ['outlive one change of the secret and not two'] },
  },
  {
    rule: 'Costly arithmetic in workers, authenticated peers first.',
    waits: {
      room: /key-exchange-worker|crypto-worker|worker-pool/,
      reason: 'key exchange is computed where it is asked for; half-open limits and cookies bound it',
    },
  },
  {
    rule: 'Secrets are compared in constant time.',
    tests: { 'security/checklist.test.ts': ['AUTH, ICVs and cookies are compared in constant time'] },
  },
  {
    rule: 'Keys are overwritten, and never shown.',
    tests: {
      'security/redaction.test.ts': ['a gateway and a client that tell everything but keys', 'objects that somebody prints'],
      'host/dataplane/esp-plane.test.ts': ['keys are copied: the caller overwrites its own at once'],
      'core/esp/esp.test.ts': ['a destroyed SA protects nothing any more'],
    },
  },
  {
    rule: 'A counter IV is used once, across restarts as well.',
    tests: { 'core/esp/esp.test.ts': ['the counter IV never repeats, not even across a restart that skips ahead'] },
  },
  {
    rule: 'SPIs and nonces come from the system’s generator.',
    tests: { 'security/checklist.test.ts': ['randomness comes from one place'] },
  },
  { rule: 'The replay window moves after the ICV has held.', tests: { 'core/esp/esp.test.ts': ['each cause is counted under its name'] } },
  {
    rule: 'What policy wants protected never leaves or comes in clear.',
    tests: { 'host/dataplane/esp-plane.test.ts': ['a packet no SA covers never leaves', 'an authentic packet from outside the selectors'] },
  },
  {
    rule: 'A CHILD_SA is never wider than policy.',
    tests: {
      'core/ike/traffic-selectors.test.ts': [
        'the answer never holds more than both sides allow, for any pair of selectors',
        'the initiator accepts a subset and nothing else',
      ],
    },
  },
  {
    rule: 'NAT detection is a hint; only authentic traffic moves an address.',
    tests: { 'simulation/nat.test.ts': ['b does not follow what is not authentic'] },
  },
  {
    rule: 'Redirects end.',
    tests: {
      'simulation/redirect.test.ts': [
        'a circle of gateways ends after max_redirects with one clear error (§7)',
        'two full gateways do not play ball with a client',
        'redirects of a session count for the limit too',
      ],
    },
  },
  {
    rule: 'INVALID_SPI in clear leads to a liveness check at most.',
    tests: { 'security/spoofed.test.ts': ['at most a question whether the peer lives'] },
  },
  {
    rule: 'Configuration files are hostile, too.',
    tests: {
      'product/config/source.test.ts': [
        'a value that a program made may not reach into prototypes either',
        'hostile texts end soon and in a ConfigError',
      ],
      'core/pki/name.test.ts': ['no pattern makes the search explode'],
    },
  },
];
