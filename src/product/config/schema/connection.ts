import { z } from 'zod';
import { schemeWords } from '../../../core/crypto/signatures/schemes.ts';
import { acceptedDomains, anchoredDomains } from '../domains.ts';
import { codePoint, count, duration, flag, integer, listOf, path, port, quantity, words } from '../formats.ts';
import { identity, identityPattern } from '../identities.ts';
import { publicKey } from '../public-keys.ts';
import { type AddressRange, invalid, isHostName, type Parsed, parseAddressRange, quoted, valid } from '../values.ts';
import { child, interfaceId } from './child.ts';
import { key, named, nearest, orEmpty, required, section } from './section.ts';

export type EndpointSetting =
  | { readonly kind: 'any'; readonly text: string }
  | { readonly kind: 'name'; readonly text: string }
  | { readonly kind: 'range'; readonly text: string; readonly range: AddressRange };

const peerAddresses = words<EndpointSetting>(
  'PeerAddresses',
  'IP addresses, prefixes, ranges FIRST-LAST, DNS names, or %any.',
  ['vpn.example.com', '192.0.2.1', '198.51.100.0/24', '%any'],
  (input) => {
    if (input === '%any' || input === '%any4' || input === '%any6') return valid({ kind: 'any', text: input });
    if (isHostName(input)) return valid({ kind: 'name', text: input });
    const range = parseAddressRange(input);
    return range.ok
      ? valid({ kind: 'range', text: input, range: range.value })
      : invalid(`${quoted(input)} is not an address, a prefix, a range or a DNS name`);
  },
);

const movePlaces = words('Addresses', 'IP addresses, prefixes, ranges FIRST-LAST, or %any.', ['192.0.2.0/24', '%any'], (input) => {
  if (input === '%any') return valid<string | AddressRange>(input);
  const range = parseAddressRange(input);
  return range.ok ? valid<string | AddressRange>(range.value) : invalid(`${quoted(input)} is not an address, a prefix or a range`);
});

const virtualIps = words('VirtualIps', 'Addresses to ask for; 0.0.0.0 and :: ask for any.', ['0.0.0.0', '0.0.0.0, ::'], (input) => {
  const range = parseAddressRange(input);
  return range.ok && range.value.prefix === range.value.start.length * 8
    ? valid(range.value.start)
    : invalid(`${quoted(input)} is not an IP address`, 'Ask for any with 0.0.0.0 or ::.');
});

export const proposalList = listOf(z.string().min(1)).meta({
  id: 'Proposals',
  description:
    'Algorithms joined by dashes; several proposals in order of preference, in a list or divided by commas; `default` stands for the built-in ones. Opt-in algorithms are used only where they are named, with a warning.',
  samples: ['aes256gcm16-prfsha384-x25519', 'aes256gcm16-prfsha384-x25519-ke1_mlkem768', 'default'],
});

// a bare null is no text in YAML
const auth = z.union([z.enum(['psk', 'pubkey', 'eap', 'null']), z.null().transform(() => 'null' as const)]);
const AUTH =
  'psk: a pre-shared key; pubkey: a certificate or raw key and its private key; eap: an EAP method; null: nothing is proven (RFC 7619).';
const schemes = key(
  words(
    'SignatureSchemes',
    'Signature schemes, families of them (rsa, ecdsa, ed25519, …) and hashes.',
    ['ecdsa, ed25519', 'sha384, sha512'],
    (input) => {
      const known = schemeWords();
      if (known.includes(input)) return valid(input);
      const meant = nearest(input, known);
      return invalid(
        `${quoted(input)} is no signature scheme or hash known here`,
        meant === undefined ? `Known: ${known.join(', ')}.` : `Did you mean ${meant}?`,
      );
    },
  ),
  'Signature schemes and hashes that may be used for AUTH.',
  'whatever the key and the peer can',
);

const localRound = section({
  auth: required(auth, `How we prove who we are. ${AUTH}`),
  id: key(
    identity,
    'Who we say we are: a DNS name, user@domain, an IP address, a distinguished name, or TYPE:value.',
    'the subject of the certificate, the fingerprint of a raw public key, else our address',
  ),
  certs: key(
    listOf(path),
    'Certificates to choose from, by the authorities the peer asks for; a PEM file may hold the chain behind the first.',
  ),
  key: key(
    path,
    'The private key of these certificates, readable by its owner alone. Without certs it goes as a raw public key (RFC 7670).',
    'a key that stands in the same file',
  ),
  pubkeys: key(
    listOf(publicKey),
    'The raw public key that goes with key (RFC 7670). It may be left out; where it is given, it has to fit.',
  ),
  schemes,
  eap_method: key(z.string(), 'The EAP method to use.', 'what the server asks for'),
  eap_id: key(z.string(), 'The EAP-Identity.', 'id'),
  aaa_id: key(identity, 'Who the EAP server must be.', 'the id of the peer'),
  token: key(
    section({
      handle: required(z.string(), 'The CKA_ID of the certificate, in hex.'),
      slot: key(count, 'The slot.'),
      module: key(z.string(), 'The PKCS#11 module.'),
    }),
    'A certificate on a token.',
  ),
});

const remoteRound = section({
  auth: required(auth, `How the peer proves who it is. ${AUTH}`),
  id: key(
    identityPattern,
    'Whom to accept: an identity, *.example.com, *@example.com, a distinguished name with *, a prefix, or %any.',
    '%any',
  ),
  cacerts: key(listOf(path), 'Certificates of the authorities that may have issued the certificate of the peer.', 'all of `authorities`'),
  certs: key(listOf(path), 'Accept exactly these certificates.'),
  pubkeys: key(
    listOf(publicKey),
    'Accept exactly these public keys, whatever the peer calls itself (RFC 7670): raw or in a certificate that nobody else vouches for.',
  ),
  id_from_cert: key(
    flag,
    'Take the peer for whom its certificate names, and hold id against that, whatever the peer calls itself: Android sends an identifier that its user types, Apple an address where none is set.',
    'no',
  ),
  ca_id: key(identityPattern, 'The subject that a CA on the path must have.'),
  cert_policy: key(
    listOf(z.string().regex(/^\d+(\.\d+)+$/, { error: 'is not an object identifier' })),
    'Certificate policies of which the path must carry one.',
  ),
  groups: key(listOf(z.string()), 'Groups of which the peer must be a member.'),
  revocation: key(
    z.enum(['strict', 'ifuri', 'relaxed']),
    'strict: not known to be good is bad; ifuri: so it is when the certificate names a source; relaxed: only known to be bad is bad.',
    'relaxed',
  ),
  schemes,
  trust: key(
    section({
      rsa: key(count, 'Least size of RSA keys, in bits.', 2048),
      ecdsa: key(count, 'Least size of elliptic curve keys, in bits.', 256),
      hashes: key(
        listOf(z.enum(['sha256', 'sha384', 'sha512', 'sha1'])),
        'Hashes that signatures of certificates may use.',
        'all but sha1',
      ),
    }),
    'Least strength of the keys and signatures of the certificate path.',
  ),
  eap_id: key(z.string(), 'The EAP-Identity to accept.', '%any'),
  token: key(
    section({
      handle: required(z.string(), 'The CKA_ID of the certificate, in hex.'),
      slot: key(count, 'The slot.'),
      module: key(z.string(), 'The PKCS#11 module.'),
    }),
    'A certificate on a token.',
  ),
});

type Unique = 'replace' | 'keep' | 'never' | 'no' | number;

function parseUnique(input: string): Parsed<Unique> {
  const word = UNIQUE.find((known) => known === input);
  if (word !== undefined) return valid(word);
  const most = /^\d{1,4}$/.test(input) ? Number(input) : 0;
  return most >= 1 && most <= 1000 ? valid(most) : invalid(`${quoted(input)} is neither ${UNIQUE.join(', ')} nor a number from 1 to 1000`);
}

export const connection = section({
  local_addrs: key(peerAddresses, 'Our addresses.', '%any'),
  remote_addrs: key(peerAddresses, 'Addresses of the peer. To connect, the first that is a name or an address is dialled.', '%any'),
  remote_port: key(port, 'UDP port of the peer.', 500),
  remote_nat_port: key(port, 'UDP port of the peer once a NAT was found.', 4500),
  transport: key(
    z.enum(['auto', 'udp', 'tcp']),
    'auto: UDP, and TCP where UDP gets no answer, for as long as it gets none (RFC 9329). udp, tcp: that alone, also for who calls us.',
    'auto',
  ),
  remote_tcp_port: key(port, 'TCP port of the peer.', 'remote_nat_port'),
  tcp_after: key(duration, 'How long UDP may stay without an answer before TCP is tried beside it.', '5s'),
  proposals: key(
    proposalList,
    'Algorithms of the IKE SA. ke1_ to ke7_ before a method are further key exchanges (RFC 9370); ke1_none makes one optional.',
    'default',
  ),
  local: required(listOf(localRound), 'Rounds in which we authenticate; one is usual, more are RFC 4739.'),
  remote: required(listOf(remoteRound), 'Rounds in which the peer authenticates.'),
  children: key(named(orEmpty(child)), 'The CHILD_SAs of the connection, by name.'),
  encrypted_dns: key(
    flag,
    'With vips: ask the gateway for resolvers that speak encrypted DNS (RFC 9464). They are told by `sas` and the control API; names are still resolved by the servers of dns.',
    'no',
  ),
  pools: key(listOf(z.string()), 'Pools from which the peer gets its addresses.'),
  vips: key(virtualIps, 'Addresses to ask the peer for.', 'none'),
  dns_domains: key(
    acceptedDomains,
    'With vips: domains whose names the gateway may have resolved by its own DNS servers, and by no others (RFC 8598). It is not heeded where everything goes through the tunnel, nor from a gateway that does not prove who it is.',
    '%any',
  ),
  trust_anchors: key(
    anchoredDomains,
    'Domains for which the gateway may bring trust anchors of DNSSEC (RFC 8598 §6): whoever does that can pose as any host there.',
    'none',
  ),
  mobike: key(flag, 'Survive changes of address, and use other addresses of either end when a path dies (RFC 4555).', 'yes'),
  mobike_return_routability: key(
    flag,
    'Send traffic to a new address of the peer only after it has shown that it receives there (COOKIE2).',
    'yes',
  ),
  mobike_addrs: key(movePlaces, 'Addresses to which the peer may move.', '%any'),
  nats_allowed: key(
    flag,
    'no: nobody on the way may change addresses (NO_NATS_ALLOWED); whoever does is taken for an attacker. For mobike: yes alone.',
    'yes',
  ),
  encap: key(flag, 'Put ESP into UDP even where no NAT is in the way.', 'no'),
  dpd_delay: key(duration, 'Silence after which the peer is asked whether it lives. 0 turns it off.', '30s'),
  nat_keepalive: key(duration, 'Interval of keepalives while we are behind a NAT. 0 turns them off.', '20s'),
  nat_keepalive_most: key(
    duration,
    'Up to which the interval grows when measurements show that the NAT keeps mappings longer; they need Tunnelwright at the other end, and never touch the mapping in use. The same as nat_keepalive: nothing is measured.',
    '110s',
  ),
  fragmentation: key(
    z.enum(['yes', 'accept', 'force', 'no']),
    'IKE fragmentation (RFC 7383): yes sends and accepts, accept only accepts, force also fragments what would fit.',
    'yes',
  ),
  fragment_size: key(
    integer('FragmentSize', 576, 65535, 'Octets of an IP datagram.'),
    'Octets of the IP datagram that carries a fragment, headers included. Where that brings no answer, 1280 and over IPv4 576 are tried.',
    1280,
  ),
  window_size: key(
    integer('WindowSize', 1, 32, 'A number of requests from 1 to 32.'),
    'Requests that each end may have under way at once (SET_WINDOW_SIZE, RFC 7296 §2.3): so many we take and announce, and as many of ours we send at most where the peer takes them. Few peers take more than 1.',
    1,
  ),
  send_cert: key(z.enum(['always', 'ifasked', 'never']), 'When to send our certificates. Apple devices want them unasked.', 'always'),
  max_puzzle: key(
    integer('MostDifficulty', 0, 32, 'Zero bits: each one more doubles the work. 0 is never.'),
    'The hardest puzzle to solve for a gateway that is under attack (RFC 8019), instead of hoping to be let in without: 18 take a second or a few.',
    18,
  ),
  announce_auth_methods: key(
    flag,
    'Tell the peer how it may authenticate, and choose our own method by what it tells (SUPPORTED_AUTH_METHODS, RFC 9593).',
    'yes',
  ),
  send_certreq: key(flag, 'Tell the peer which authorities we trust.', 'yes'),
  unique: key(
    quantity('Unique', 'replace, keep, never, no, or a number of IKE SAs from 1 to 1000.', ['replace', 'keep', 3], parseUnique),
    'When a peer comes again under one identity: replace the old IKE SA; keep it and refuse the new one; refuse it only when so many stand; or never mind. no minds only INITIAL_CONTACT.',
    'replace',
  ),
  childless: key(z.enum(['allow', 'prefer', 'force', 'never']), 'IKE SAs without a first CHILD_SA (RFC 6023).', 'allow'),
  redirect: key(z.enum(['accept', 'refuse']), 'Whether to go to another gateway when the one we call sends us there (RFC 5685).', 'accept'),
  max_redirects: key(
    integer('Redirects', 1, 100, 'A number of redirects.'),
    'How many redirects to follow within redirect_period; then the gateways are taken for a circle.',
    5,
  ),
  redirect_period: key(duration, 'The time in which redirects are counted.', '5m'),
  crash_detection: key(
    flag,
    'Tokens by which a peer that restarted is noticed at once instead of after its silence (RFC 6290). Ours are made only where `state` names a folder; that folder must not be shared by gateways that run at the same time.',
    'yes',
  ),
  counter_sync: key(
    flag,
    'Agree with the peer to bring Message IDs and replay counters into step again where one end is a cluster whose other member took over (RFC 6311), or was started anew from an older snapshot.',
    'yes',
  ),
  resumption: key(
    flag,
    'Tickets by which a client that was cut off comes back without authenticating in full (RFC 5723). Its keys then hang on those of before.',
    'no',
  ),
  rekey_time: key(duration, 'Lifetime of the IKE SA. 0 is never.', '4h'),
  over_time: key(
    duration,
    'How long after rekey_time or reauth_time the IKE SA is closed when neither a rekeying nor a new authentication succeeded.',
    '10 % of the time',
  ),
  rand_time: key(duration, 'Both begin up to this long before their time, at random.', '10 % of the shorter time'),
  reauth_time: key(
    duration,
    'Time after which the initiator authenticates anew, without a gap; a responder tells it so (RFC 4478). 0 is never.',
    '0',
  ),
  test_rekey: key(flag, 'Rekey children and IKE SA right after connecting, so that what would fail in an hour fails now.', 'no'),
  retransmission: key(
    section({
      initial: key(duration, 'Wait before the first copy of a request.', '1s'),
      base: key(
        quantity('Factor', 'A number from 1 to 10.', [1.8], (input) =>
          /^\d+(\.\d+)?$/.test(input) && Number(input) >= 1 && Number(input) <= 10
            ? valid(Number(input))
            : invalid(`${quoted(input)} is not a number from 1 to 10`),
        ),
        'Each wait is so many times the one before.',
        1.8,
      ),
      give_up: key(duration, 'The peer is taken for dead when it has been silent for so long.', '60s with vips (a client), else 165s'),
    }),
    'Copies of unanswered requests.',
  ),
  keyingtries: key(count, 'How often to try before giving up a connection that never stood; 0 tries for ever.', 1),
  dscp: key(codePoint, 'Differentiated services code point of IKE packets.', '000000'),
  ppk_id: key(
    identityPattern,
    'Id of the post-quantum pre-shared key to mix in (RFC 8784), or a pattern for those that peers may name.',
    'none',
  ),
  ppk_required: key(flag, 'Refuse a peer that does not use it.', 'no'),
  ppk_exchange: key(
    z.enum(['any', 'ike_intermediate', 'ike_auth']),
    'Where it is mixed in. ike_intermediate: before IKE_AUTH, so that it protects the identities as well (RFC 9867); ike_auth: there (RFC 8784); any: as early as the peer can.',
    'any',
  ),
  if_id_in: key(interfaceId, 'if_id_in of its children, unless they say otherwise.'),
  if_id_out: key(interfaceId, 'if_id_out of its children, unless they say otherwise.'),
  legacy: key(
    flag,
    'Permit algorithms that can be broken, where a proposal names them: 3des, sha1, modp1024 and others of docs/reference/transforms.md.',
    'no',
  ),
});

const UNIQUE: readonly ('replace' | 'keep' | 'never' | 'no')[] = ['replace', 'keep', 'never', 'no'];
