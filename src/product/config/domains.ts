import { utf8 } from '../../core/bytes/bytes.ts';
import { parseDomain, readTrustAnchor } from '../../core/wire/split-dns.ts';
import { listOf, text, words } from './formats.ts';
import { invalid, type Parsed, quoted, valid } from './values.ts';

/** In lower case, without the dot at the end. */
function domain(input: string): Parsed<string> {
  const name = parseDomain(utf8(input));
  return name === undefined
    ? invalid(`${quoted(input)} is not a DNS name`, 'Write it like corp.example.com; letters beyond ASCII as xn--….')
    : valid(name);
}

export const domainName = text('DomainName', 'A DNS name.', ['dns.example.com'], domain);

export const domainList = words('DomainList', 'DNS names; each stands for the names in it as well.', ['corp.example.com'], domain);

export type AcceptedDomain = { readonly kind: 'any' | 'none' } | { readonly kind: 'domain'; readonly name: string };

export const acceptedDomains = words<AcceptedDomain>(
  'AcceptedDomains',
  'DNS names, each with the names in it; %any or none.',
  ['%any', 'none', 'corp.example.com, example.net'],
  (input) => {
    if (input === '%any') return valid({ kind: 'any' });
    if (input === 'none') return valid({ kind: 'none' });
    const name = domain(input);
    return name.ok ? valid({ kind: 'domain', name: name.value }) : name;
  },
);

/** RFC 8598 §6: the root is never meant, and a domain of one label only where the operator says that it is its own. */
export const anchoredDomains = words(
  'AnchoredDomains',
  'DNS names, each with the names in it; one of a single label with tld: before it.',
  ['corp.example.com', 'tld:internal'],
  (input) => {
    const own = input.startsWith('tld:');
    const name = domain(own ? input.slice(4) : input);
    if (!name.ok || own || name.value.includes('.')) return name;
    return invalid(
      `${quoted(input)} is a top-level domain: a trust anchor for it would speak for everybody there`,
      `If the domain is your own, write tld:${name.value} (RFC 8598 §6).`,
    );
  },
);

export const trustAnchors = listOf(
  text(
    'TrustAnchor',
    'A DS record: key tag, algorithm, digest type, digest in hex.',
    ['43547 8 2 B6225AB2CC613E0DCA7962BDC2342EA4F1B56083…'],
    (input) => {
      const anchor = readTrustAnchor(input);
      return anchor === undefined
        ? invalid(`${quoted(input)} is not a DS record`, 'Write TAG ALGORITHM DIGEST-TYPE DIGEST, as `dnssec-dsfromkey` prints them.')
        : valid(anchor);
    },
  ),
);
