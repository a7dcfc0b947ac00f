import { z } from 'zod';
import { fromHex } from '../../../core/bytes/bytes.ts';
import { formatIp, tryParseIp } from '../../../core/bytes/ip-address.ts';
import { domainList, domainName, trustAnchors } from '../domains.ts';
import { integer, listOf, path, port, text, words } from '../formats.ts';
import { identityPattern } from '../identities.ts';
import { invalid, parseAddressRange, quoted, valid } from '../values.ts';
import { key, required, section } from './section.ts';

const address = (input: string) => {
  const octets = tryParseIp(input);
  return octets === undefined ? invalid(`${quoted(input)} is not an IP address`) : valid(formatIp(octets));
};

const addressList = words('AddressList', 'IP addresses.', ['10.66.0.1', '10.66.0.1, fd00::1'], address);
/** The key of a resolver's certificate. */
const keyDigest = text(
  'KeyDigest',
  'sha256: and the SHA-256 of a SubjectPublicKeyInfo, in hex.',
  [`sha256:${'9f86d081'.repeat(8)}`],
  (input) =>
    /^sha256:[0-9a-fA-F]{64}$/.test(input) ? valid(fromHex(input.slice(7))) : invalid(`${quoted(input)} is not sha256: and 64 hex digits`),
);
const encryptedResolver = section({
  name: required(domainName, 'Whom its certificate names.'),
  addrs: required(addressList, 'Where it is, within the tunnel or outside of it.'),
  protocols: key(
    listOf(z.enum(['dot', 'doq', 'h2', 'h3'])),
    'What it speaks: dot is DNS over TLS, doq over QUIC, h2 and h3 over HTTPS.',
    'dot',
  ),
  port: key(port, 'Its port.', 'that of the protocol'),
  path: key(
    z.string().regex(/^\/[!-~]{0,254}$/, { error: 'is not the path of a URI template' }),
    'For h2 and h3: the path, a URI template.',
    '/dns-query{?dns}',
  ),
  key_digest: key(keyDigest, 'The key that its certificate has; without one, names and authorities decide.'),
});
export const rangeList = words(
  'AddressRangeList',
  'Prefixes, ranges FIRST-LAST or single addresses.',
  ['10.66.0.0/24', '10.66.0.10-10.66.0.99, fd00:66::/64'],
  parseAddressRange,
);
export const pool = section({
  addrs: key(
    rangeList,
    'Addresses to give away: prefixes or ranges, of both families if wanted. The first and last address of an IPv4 prefix stay unused.',
    'none: only the other attributes are given',
  ),
  dns: key(addressList, 'DNS servers for the client.'),
  domains: key(domainList, 'Names to resolve with these DNS servers (RFC 8598, INTERNAL_DNS_DOMAIN).', 'all names'),
  trust_anchors: key(
    z.record(z.string(), trustAnchors),
    'DS records of these domains, by domain, for clients that ask for some (RFC 8598, INTERNAL_DNSSEC_TA).',
  ),
  encrypted_dns: key(
    listOf(encryptedResolver),
    'Resolvers that speak encrypted DNS, the first one preferred, for clients that ask for some (RFC 9464, ENCDNS_IP4 and ENCDNS_IP6).',
  ),
  nbns: key(addressList, 'WINS servers.'),
  dhcp: key(addressList, 'DHCP servers.'),
  netmask: key(addressList, 'The netmask to announce (INTERNAL_IP4_NETMASK).'),
  split_include: key(rangeList, 'Networks that lie behind this end (INTERNAL_IP4_SUBNET, INTERNAL_IP6_SUBNET); prefixes only.'),
  split_exclude: key(rangeList, 'Networks that the client keeps outside of the tunnel.'),
  attributes: key(
    z.record(z.string().regex(/^\d{1,5}$/, { error: 'a configuration attribute is named by its number' }), listOf(z.string())),
    'Other configuration attributes by number: text, an IP address, or octets as 0x….',
  ),
});

const urlBase = text('HttpBase', 'The beginning of an http URL, up to a slash.', ['http://pki.example.com/certs/'], (input) => {
  const url = URL.canParse(input) ? new URL(input) : undefined;
  if (
    url?.protocol !== 'http:' ||
    url.href !== input ||
    url.username !== '' ||
    url.search !== '' ||
    url.hash !== '' ||
    !input.endsWith('/')
  )
    return invalid(`${quoted(input)} is not the beginning of an http URL, up to a slash`);
  return valid(input);
});

export const authority = section({
  cacert: required(path, 'Its certificate, PEM or DER.'),
  crl_uris: key(listOf(z.string()), 'Where its revocation lists are, besides what certificates say.'),
  ocsp_uris: key(listOf(z.string()), 'Its OCSP responders, besides what certificates say.'),
  cert_uri_base: key(
    urlBase,
    'Where the certificates that it issued lie, each in DER under its SHA-1 in hex. Ours go as such URLs to peers that look them up; those of peers are fetched from there alone.',
    'certificates are sent and taken whole',
  ),
});

export const secret = section({
  kind: required(
    z.enum(['psk', 'eap', 'ntlm', 'ppk', 'private', 'pkcs12', 'token']),
    'psk: a pre-shared key; eap: a password; ntlm: the NT hash of one; ppk: a post-quantum pre-shared key; private, pkcs12: the passphrase of a file; token: a PIN.',
  ),
  ids: key(
    listOf(identityPattern),
    'Whose secret it is: the identities of both ends, or of the peer alone. For ppk: the id that both ends name it by.',
    'anybody',
  ),
  file: key(path, 'For private and pkcs12: the file that the passphrase opens.'),
  secret: key(z.string(), 'The secret itself: text, 0x… (hex) or 0s… (base64). Better kept out of this file.'),
  secret_file: key(path, 'A file that holds the secret, readable by its owner alone.'),
  secret_env: key(
    z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, { error: 'is not the name of an environment variable' }),
    'An environment variable that holds the secret.',
  ),
  handle: key(
    text('Hex', 'Octets in hex.', ['7f3a'], (input) =>
      /^([0-9a-fA-F]{2})+$/.test(input) ? valid(input) : invalid(`${quoted(input)} is not hex`),
    ),
    'For token: the CKA_ID of the private key.',
  ),
  slot: key(integer('Slot', 0, 2 ** 32 - 1, 'A slot number.'), 'For token: the slot.'),
  module: key(z.string(), 'For token: the PKCS#11 module.'),
});
