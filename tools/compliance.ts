import { markdownTable } from '../src/product/config/markdown.ts';
import type { SourceText } from './error-catalogue.ts';
import type { Requirement } from './requirements.ts';

/** A departure from a standard, as `docs/exceptions.toml` states it. */
export interface Exception {
  readonly rfc: number;
  readonly section: string;
  readonly asks: string;
  readonly does: string;
  readonly why: string;
  /** File that shows it. */
  readonly where: string;
}

/** A section of an RFC that a file cites; the section is `` where the RFC is named as a whole. */
export interface Citation {
  readonly rfc: number;
  readonly section: string;
  readonly path: string;
}

/**
 * docs/compliance.md: which sections the source and the tests cite, and where we depart.
 * @param sources every file below src and test
 * @param requirements of RFC 7296, key word by key word
 */
export function compliancePage(
  sources: readonly SourceText[],
  exceptions: readonly Exception[],
  requirements: readonly Requirement[] = [],
): string {
  const citations = sources.flatMap(citationsIn);
  const numbers = [...new Set(citations.map(({ rfc }) => rfc))].sort((a, b) => a - b);
  const rfcs = numbers.filter((rfc) => citations.some((each) => each.rfc === rfc && each.section !== ''));
  const overview = rfcs.map((rfc) => {
    const own = citations.filter((each) => each.rfc === rfc && each.section !== '');
    const sections = (tests: boolean) => new Set(own.filter(({ path }) => isTest(path) === tests).map(({ section }) => section)).size;
    const departures = exceptions.filter((each) => each.rfc === rfc).length;
    return [
      `[${rfc}](#rfc-${rfc})`,
      TITLES[rfc] ?? '',
      String(sections(false)),
      String(sections(true)),
      departures === 0 ? '' : String(departures),
    ];
  });
  return [
    HEAD,
    markdownTable([['RFC', '', 'sections in src', 'in test', 'departures'], ...overview]),
    '',
    `Named without a section: ${numbers
      .filter((rfc) => !rfcs.includes(rfc))
      .map((rfc) => `RFC ${rfc}`)
      .join(', ')}.`,
    '',
    '## Departures',
    '',
    'From [exceptions.toml](exceptions.toml).',
    '',
    ...exceptions.flatMap(({ rfc, section, asks, does, why, where }) => [
      `**RFC ${rfc} §${section}.** ${asks} *Here:* ${does} *Why:* ${why} (\`${where}\`)`,
      '',
    ]),
    ...(requirements.length === 0 ? [] : requirementList(requirements)),
    ...rfcs.flatMap((rfc) =>
      rfcSection(
        rfc,
        citations.filter((each) => each.rfc === rfc),
      ),
    ),
  ].join('\n');
}

/** What obeys each, and what would notice its absence; where there is neither, why. */
function requirementList(requirements: readonly Requirement[]): string[] {
  const sorted = [...requirements].sort((a, b) => bySection(a.section, b.section) || a.nth - b.nth);
  const rows = sorted.map(({ section, nth, level, says, code, test, exception }) => {
    const where = [code && `\`${code.path}\``, test && `*test* \`${test.path.replace(/^test\//, '')}\``, exception && `*${exception}*`];
    return `- **§${section} ${nth}** ${level}: ${says} ${where.filter((part) => part !== undefined).join(' · ')}`;
  });
  const plain = requirements.filter(({ exception }) => exception === undefined).length;
  return [
    '## RFC 7296, requirement by requirement',
    '',
    `${requirements.length} key words of chapters 1 to 5: ${plain} with a line that obeys and a test that fails without it, ${requirements.length - plain} with`,
    'an exception. From [requirements](requirements/README.md), which names the lines.',
    '',
    ...rows,
    '',
  ];
}

function rfcSection(rfc: number, citations: readonly Citation[]): string[] {
  const sections = [...new Set(citations.map(({ section }) => section))].sort(bySection);
  const rows = sections.map((section) => {
    const paths = citations.filter((each) => each.section === section).map(({ path }) => path);
    return [
      section === '' ? '' : `§${section}`.replace('§appendix', 'appendix'),
      files(paths.filter((path) => !isTest(path))),
      files(paths.filter(isTest)),
    ];
  });
  return [`## RFC ${rfc}`, '', ...(TITLES[rfc] === undefined ? [] : [TITLES[rfc], '']), ...listOf(rows), ''];
}

const listOf = (rows: readonly (readonly string[])[]): string[] =>
  rows.map(
    ([section, source, tests]) =>
      `- ${section === '' ? 'as a whole' : section}: ${[source, tests === '' ? '' : `*tests* ${tests}`].filter((text) => text !== '').join(' · ')}`,
  );

/**
 * `RFC 7296 §2.8.1, §2.25`, `RFC 7296 §2.1–2.3`, `RFC 9293 appendix A.2`, `RFC 5280`. A § without an RFC in front belongs to the RFC named
 * last in the same comment; in the rooms of one standard, which say so in their index, to that.
 */
export function citationsIn({ path, text }: SourceText): Citation[] {
  const found = new Map<string, Citation>();
  const add = (rfc: number, section: string): void => {
    found.set(`${rfc} ${section}`, { rfc, section, path });
  };
  const home = Object.entries(HOMES).find(([room]) => path.startsWith(room))?.[1];
  for (const line of text.split('\n')) {
    let rfc = home;
    let named: number | undefined;
    for (const [, number, from, to, appendix] of line.matchAll(CITATION)) {
      if (number !== undefined) {
        if (named !== undefined) add(named, '');
        rfc = named = Number(number);
        continue;
      }
      if (rfc === undefined) continue;
      const section = appendix === undefined ? from! : `appendix ${appendix}`;
      add(rfc, section);
      if (to !== undefined) add(rfc, to.includes('.') ? to : section.replace(/\d+$/, to));
      named = undefined;
    }
    if (named !== undefined) add(named, '');
  }
  return [...found.values()].filter(
    ({ rfc, section }) => section !== '' || ![...found.values()].some((other) => other.rfc === rfc && other.section !== ''),
  );
}

/** What the page states, read back from it. */
export function citationsOn(page: string): Citation[] {
  let rfc = 0;
  return page.split('\n').flatMap((line) => {
    const heading = /^## RFC (\d+)$/.exec(line);
    if (heading) rfc = Number(heading[1]);
    const row = /^- (as a whole|appendix [\w.]+|§[\d.]+): (.*)$/.exec(line);
    if (row === null || rfc === 0) return [];
    const section = row[1] === 'as a whole' ? '' : row[1]!.replace('§', '');
    const [before, behind = ''] = row[2]!.startsWith('*tests*') ? ['', row[2]!] : row[2]!.split('*tests*');
    const paths = (text: string): string[] => [...text.matchAll(/`([^`]+)`/g)].map(([, path]) => path!);
    return [
      ...paths(before!).map((path) => ({ rfc, section, path: `src/${path}.ts` })),
      ...paths(behind).map((path) => ({ rfc, section, path: `test/${path}` })),
    ];
  });
}

/** Reads `[[exception]]` tables of `key = "text"` and `key = number`. Throws for anything else: the file is ours. */
export function parseExceptions(toml: string): Exception[] {
  const tables: Record<string, string | number>[] = [];
  toml.split('\n').forEach((line, i) => {
    const text = line.trim();
    if (text === '' || text.startsWith('#')) return;
    if (text === '[[exception]]') {
      tables.push({});
      return;
    }
    const [, key, quoted, number] = /^(\w+) = (?:"((?:[^"\\]|\\.)*)"|(\d+))$/.exec(text) ?? [];
    const table = tables.at(-1);
    if (key === undefined || table === undefined) throw new Error(`docs/exceptions.toml:${i + 1}: ${text}`);
    table[key] = number === undefined ? quoted!.replace(/\\(.)/g, '$1') : Number(number);
  });
  return tables.map((table, i) => {
    const missing = FIELDS.filter((field) => table[field] === undefined);
    if (missing.length > 0) throw new Error(`docs/exceptions.toml: exception ${i + 1} lacks ${missing.join(', ')}`);
    return table as unknown as Exception;
  });
}

const FIELDS = ['rfc', 'section', 'asks', 'does', 'why', 'where'] as const;

const CITATION = /RFC (\d{3,5})|§§? ?(\d+(?:\.\d+)*)(?:[–-](\d+(?:\.\d+)*))?|\bappendix ([A-Z](?:\.\d+)*)/g;

const isTest = (path: string): boolean => path.startsWith('test/');

/** Rooms whose subject is one standard: a bare § there is of it. */
const HOMES: Readonly<Record<string, number>> = {
  'src/core/ike/': 7296,
  'src/core/wire/': 7296,
  'test/core/ike/': 7296,
  'test/core/wire/': 7296,
  'test/simulation/': 7296,
  'src/core/esp/': 4303,
  'test/core/esp/': 4303,
};

function files(paths: readonly string[]): string {
  return [...new Set(paths)]
    .sort()
    .map((path) => `\`${path.replace(/^(?:src|test)\//, '').replace(path.startsWith('src/') ? /\.ts$/ : /^$/, '')}\``)
    .join(' ');
}

function bySection(a: string, b: string): number {
  const parts = (text: string): (number | string)[] =>
    text
      .replace(/^appendix /, '~.')
      .split('.')
      .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
  const [one, other] = [parts(a), parts(b)];
  for (let i = 0; i < Math.max(one.length, other.length); i++) {
    const [x, y] = [one[i] ?? -1, other[i] ?? -1];
    if (x === y) continue;
    if (typeof x === 'number' && typeof y === 'number') return x - y;
    return typeof x === 'number' ? -1 : typeof y === 'number' ? 1 : x < y ? -1 : 1;
  }
  return 0;
}

const HEAD = `# Standards, section by section

Which sections of which RFC the source cites at the lines that obey them, and which the tests cite. A section that is cited by source and
tests is one that somebody read, built and checked; one that is not cited need not be missing. This page is made from the comments:
remove it, and \`npx vitest run --project unit test/tools/compliance.test.ts\` writes it anew.
`;

/** What the RFCs are about, in a few words. */
const TITLES: Readonly<Record<number, string>> = {
  768: 'UDP',
  791: 'IPv4',
  792: 'ICMP',
  1034: 'Domain names, concepts',
  1035: 'Domain names, specification',
  1071: 'Internet checksum',
  1122: 'Requirements for hosts',
  1191: 'Path MTU discovery, IPv4',
  1624: 'Incremental update of the checksum',
  1661: 'PPP',
  1662: 'PPP in HDLC-like framing',
  1812: 'Requirements for routers',
  2018: 'TCP SACK',
  2104: 'HMAC',
  2253: 'Distinguished names as text',
  2404: 'HMAC-SHA-1-96',
  2408: 'ISAKMP of IKEv1',
  2409: 'IKEv1',
  2410: 'NULL encryption',
  2460: 'IPv6 (obsolete)',
  2474: 'Differentiated services field',
  2865: 'RADIUS',
  2883: 'TCP D-SACK',
  2923: 'TCP and path MTU discovery',
  3168: 'ECN',
  3279: 'Algorithms of certificates',
  3442: 'Classless static routes by DHCP',
  3465: 'TCP appropriate byte counting',
  3526: 'MODP groups',
  3566: 'AES-XCBC-MAC-96',
  3602: 'AES-CBC in ESP',
  3686: 'AES-CTR in ESP',
  3706: 'Dead peer detection of IKEv1',
  3715: 'IPsec and NAT',
  3748: 'EAP',
  3927: 'Link-local IPv4 addresses',
  3947: 'NAT traversal of IKEv1',
  3948: 'ESP in UDP',
  4055: 'RSA algorithms of certificates',
  4106: 'AES-GCM in ESP',
  4158: 'Building certificate paths',
  4193: 'Unique local IPv6 addresses',
  4291: 'IPv6 addresses',
  4301: 'Architecture of IPsec',
  4303: 'ESP',
  4304: 'Extended sequence numbers',
  4309: 'AES-CCM in ESP',
  4343: 'Case of domain names',
  4434: 'AES-XCBC-PRF-128',
  4443: 'ICMPv6',
  4478: 'Repeated authentication',
  4493: 'AES-CMAC',
  4494: 'AES-CMAC-96',
  4514: 'Distinguished names as text',
  4518: 'Preparation of strings in LDAP',
  4555: 'MOBIKE',
  4615: 'AES-CMAC-PRF-128',
  4648: 'Base16, Base32, Base64',
  4718: 'Clarifications of IKEv2 (obsolete)',
  4739: 'Multiple authentication rounds',
  4754: 'ECDSA in IKE',
  4787: 'NAT behaviour for UDP',
  4868: 'HMAC-SHA-2',
  4945: 'PKI profile of IKE',
  5077: 'TLS session resumption',
  5280: 'Certificates',
  5282: 'Combined-mode ciphers in IKE',
  5461: 'TCP and soft errors',
  5480: 'Elliptic curves in certificates',
  5681: 'TCP congestion control',
  5685: 'Redirect',
  5722: 'Overlapping IPv6 fragments',
  5723: 'Session resumption',
  5758: 'More algorithms of certificates',
  5903: 'ECP groups',
  5927: 'ICMP attacks against TCP',
  5930: 'AES-CTR in IKE',
  5937: 'Constraints of trust anchors',
  5952: 'IPv6 addresses as text',
  5961: 'Blind attacks against TCP',
  5998: 'EAP-only authentication',
  6023: 'Childless IKE SAs',
  6056: 'Ephemeral ports',
  6093: 'TCP urgent data',
  6125: 'Identities of services',
  6146: 'NAT64',
  6191: 'TIME-WAIT and timestamps',
  6298: 'TCP retransmission timer',
  6311: 'High availability of IKE',
  6335: 'Ports',
  6429: 'TCP with a window of zero',
  6437: 'IPv6 flow label',
  6479: 'Anti-replay without bit shifting',
  6528: 'TCP initial sequence numbers',
  6582: 'NewReno',
  6675: 'TCP loss recovery with SACK',
  6691: 'TCP MSS',
  6724: 'Choice of IPv6 addresses',
  6864: 'IPv4 identification field',
  6928: 'TCP initial window',
  6946: 'Atomic IPv6 fragments',
  6989: 'Checks of public values',
  7296: 'IKEv2',
  7323: 'TCP timestamps and window scaling',
  7383: 'IKE fragmentation',
  7413: 'TCP Fast Open',
  7427: 'Signature authentication',
  7468: 'PEM',
  7518: 'JSON web algorithms',
  7619: 'NULL authentication',
  7634: 'ChaCha20-Poly1305',
  7748: 'Curve25519 and Curve448',
  7815: 'Minimal IKEv2',
  8017: 'RSA',
  8019: 'Puzzles',
  8031: 'Curve25519 and Curve448 in IKE',
  8032: 'EdDSA',
  8200: 'IPv6',
  8201: 'Path MTU discovery, IPv6',
  8221: 'Algorithms of ESP and AH: what must be there',
  8247: 'Algorithms of IKE: what must be there',
  8410: 'EdDSA in certificates',
  8420: 'EdDSA in IKE',
  8504: 'Requirements for IPv6 nodes',
  8598: 'Split DNS',
  8784: 'Post-quantum pre-shared keys',
  8899: 'Path MTU discovery by packetisation',
  8985: 'RACK and tail loss probes',
  9000: 'QUIC',
  9110: 'HTTP semantics',
  9242: 'IKE_INTERMEDIATE',
  9293: 'TCP',
  9329: 'TCP encapsulation',
  9347: 'IP-TFS',
  9370: 'Multiple key exchanges',
  9395: 'IKEv1 deprecated',
  9406: 'HyStart++',
  9438: 'CUBIC',
  9464: 'Encrypted DNS',
  9478: 'Labelled IPsec',
  9530: 'Digest fields',
  9618: 'Policies of certificates',
};
