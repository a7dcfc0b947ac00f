import { exitCodeOf } from '../src/cli/exit-codes.ts';
import {
  encryptionTransforms,
  explainKeyword,
  integrityTransforms,
  keyExchangeMethods,
  keywordOf,
  optIn,
  parseKeyword,
  prfTransforms,
} from '../src/core/crypto/index.ts';
import { refusedBy } from '../src/core/ike/notifies.ts';
import { NotifyType, printGrammar, TransformType } from '../src/core/wire/index.ts';
import { markdownTable } from '../src/product/config/markdown.ts';
import { DEFAULT_PROPOSALS, parseProposals } from '../src/product/config/proposals.ts';
import { type ErrorEntry, errorCatalogue, type SourceText } from './error-catalogue.ts';

/** docs/reference/errors.md: every stable code. @param sources every file below src */
export function errorsPage(sources: readonly SourceText[]): string {
  const entries = errorCatalogue(sources.filter(({ path }) => !path.startsWith('src/testing/')));
  const known = new Set(entries.map(({ code }) => code));
  const all = [...entries, ...refusals().filter(({ code }) => !known.has(code))];
  const sections = TREE.flatMap(([type, meaning]) => {
    const own = all.filter((entry) => entry.type === type).sort((a, b) => (a.code < b.code ? -1 : 1));
    return own.length === 0 ? [] : [`## ${type}`, '', meaning, '', ...own.flatMap(errorLines)];
  });
  const homeless = all.filter(({ type }) => !TREE.some(([name]) => name === type));
  if (homeless.length > 0)
    throw new Error(`classes that TREE does not know: ${homeless.map(({ code, type }) => `${code} ${type}`).join('; ')}`);
  return [ERRORS_HEAD, ...sections].join('\n');
}

/** docs/reference/grammar.md: which payloads stand in which message. */
export const grammarPage = (): string => `${GRAMMAR_HEAD}\n${printGrammar()}`;

/** docs/reference/transforms.md: every algorithm that can be negotiated. */
export function transformsPage(): string {
  const encryption = encryptionTransforms().map(({ id, name, aead, keyLengths, keyLengthAttribute, icvLength, forIke }) => {
    const lengths = keyLengthAttribute === 'absent' ? [undefined] : keyLengths;
    const words = lengths.map((keyLength) => word({ type: TransformType.ENCR, id, ...(keyLength === undefined ? {} : { keyLength }) }));
    return [
      words.join(' '),
      name,
      String(id),
      keyLengths[0] === 0 ? 'none' : keyLengths.join(', '),
      aead ? `${icvLength * 8} bits` : 'needs INTEG',
      forIke ? 'IKE, ESP' : 'ESP',
      ...role(words),
      standard(id, ENCRYPTION_RFC),
    ];
  });
  const prfs = prfTransforms().map(({ id, name, outputLength }) => {
    const words = [word({ type: TransformType.PRF, id })];
    return [words[0]!, name, String(id), `${outputLength * 8}`, ...role(words), standard(id, PRF_RFC)];
  });
  const macs = integrityTransforms().map(({ id, name, keyLength, icvLength, forEsp }) => {
    const words = [word({ type: TransformType.INTEG, id })];
    const uses = forEsp ? 'IKE, ESP, AH' : 'AH';
    return [words[0]!, name, String(id), `${keyLength * 8}`, `${icvLength * 8}`, uses, ...role(words), standard(id, INTEGRITY_RFC)];
  });
  const exchanges = keyExchangeMethods().map(({ id, name, initiatorLength, responderLength }) => {
    const words = [word({ type: TransformType.KE, id })];
    const octets = initiatorLength === responderLength ? `${initiatorLength}` : `${initiatorLength}, ${responderLength} back`;
    return [words[0]!, name, String(id), octets, ...role(words), standard(id, KEY_EXCHANGE_RFC)];
  });
  return [
    TRANSFORMS_HEAD,
    '## Encryption (transform type 1)',
    '',
    markdownTable([['keyword', 'IANA', 'id', 'key bits', 'ICV', 'for', 'role', 'standard'], ...encryption]),
    '',
    '## Pseudorandom functions (type 2)',
    '',
    markdownTable([['keyword', 'IANA', 'id', 'bits', 'role', 'standard'], ...prfs]),
    '',
    '## Integrity (type 3)',
    '',
    'With an encryption that has an ICV of its own none of these is proposed.',
    '',
    markdownTable([['keyword', 'IANA', 'id', 'key bits', 'ICV bits', 'for', 'role', 'standard'], ...macs]),
    '',
    '## Key exchange (type 4)',
    '',
    markdownTable([['keyword', 'IANA', 'id', 'octets', 'role', 'standard'], ...exchanges]),
    '',
    '## Sequence numbers (type 5)',
    '',
    markdownTable([
      ['keyword', 'IANA', 'id', 'role', 'standard'],
      ...([1, 0] as const).map((id) => [
        word({ type: TransformType.ESN, id }),
        id === 1 ? 'Extended Sequence Numbers' : 'No Extended Sequence Numbers',
        String(id),
        ...role([word({ type: TransformType.ESN, id })]),
        'RFC 4303 §2.2.1',
      ]),
    ]),
    '',
    '## Opt-in',
    '',
    'What a warning says when the transform is named. It stands in no default, and is answered only where we named it ourselves.',
    '',
    optInList(),
    '',
    '## Refused by name',
    '',
    'These words are understood in order to say why they are not taken.',
    '',
    refusedWords(),
    '',
  ].join('\n');
}

function errorLines({ code, type, messages, hints, rooms }: ErrorEntry): string[] {
  const exit = exitCodeOf({ type, code, ...(NOTIFIES.has(code) ? { notify: NOTIFIES.get(code) } : {}) });
  const says = [...new Set(messages.map(plain))].filter((text) => !/^…?$/.test(text));
  return [
    `### ${code}`,
    '',
    `Exit ${exit}, from ${rooms.map((room) => `\`${room}\``).join(', ')}.`,
    ...says.slice(0, MOST).map((text) => `- ${text}`),
    ...(says.length > MOST ? ['- and others'] : []),
    ...(hints.length === 0 ? [] : ['', ...hints.slice(0, MOST).map((hint) => `→ ${hint.replace(/\s+/g, ' ')}`)]),
    '',
  ].flatMap((line, i) => (i === 3 && says.length > 0 ? ['', line] : [line]));
}

/** What a peer may answer, by the numbers of its error notifies. */
function refusals(): ErrorEntry[] {
  return [...NOTIFIES.values()].map((notify) => {
    const { code, message, hint } = refusedBy({ kind: 'N', notify, protocol: 0, spi: new Uint8Array(0), data: new Uint8Array(0) }, '…');
    return { code, type: 'PeerRefused', messages: [message], hints: hint === undefined ? [] : [hint], rooms: ['core/ike'] };
  });
}

/** What is filled in front of a colon, or behind the last one, says nothing here. */
const plain = (text: string): string =>
  text.replace(/^…: /, '').replace(/(?::? ?…)?[.…]*$/, (end) => (end.startsWith(':') ? '' : end.replace(/\.$/, '')));

const NOTIFIES: ReadonlyMap<string, number> = new Map(
  Object.entries(NotifyType)
    .filter(([, number]) => number < 16_384)
    .map(([name, number]) => [`PEER_${name.toUpperCase()}`, number]),
);

const word = (transform: { readonly type: number; readonly id: number; readonly keyLength?: number }): string =>
  `\`${keywordOf(transform) ?? '?'}\``;

/** Whether a word is proposed by default, or has to be named, and whether naming it is enough. */
function role(words: readonly string[]): [string] {
  const texts = words.map((each) => each.replaceAll('`', ''));
  const defaults = Object.values(DEFAULT_PROPOSALS)
    .flat()
    .flatMap((proposal) => proposal.split('-'));
  const own = texts.filter((each) => defaults.includes(each));
  if (own.length > 0) return [own.length === texts.length ? 'default' : `default: ${own.join(', ')}`];
  const around = proposalWith(texts[0]!);
  const taken = (legacy: boolean) => (['IKE', 'ESP', 'AH'] as const).some((protocol) => parseProposals([around], protocol, legacy).ok);
  if (taken(false)) return [optIn(parseKeyword(texts[0]!)!) === undefined ? 'by name' : 'opt-in'];
  if (taken(true)) return ['legacy'];
  throw new Error(`${texts[0]} is in the tables of src/core/crypto, yet no proposal can name it`);
}

/** The shortest proposal that holds a transform. */
function proposalWith(text: string): string {
  const transform = parseKeyword(text);
  switch (transform?.type) {
    case TransformType.ENCR: {
      const known = encryptionTransforms().find(({ id }) => id === transform.id);
      if (known?.forIke === false) return known.aead ? text : `${text}-sha256`;
      return known?.aead ? `${text}-prfsha256-x25519` : `${text}-sha256-x25519`;
    }
    case TransformType.PRF:
      return `aes128gcm16-${text}-x25519`;
    case TransformType.INTEG:
      if (integrityTransforms().some(({ id, forEsp }) => id === transform.id && !forEsp)) return text;
      return `aes128-${text}-prfsha256-x25519`;
    case TransformType.ESN:
      return `aes128gcm16-${text}`;
    default:
      return `aes128gcm16-prfsha256-${text}`;
  }
}

/** One line for each reason, with all the words that it holds for. */
function optInList(): string {
  const transforms = [
    ...encryptionTransforms().flatMap(({ id, keyLengths, keyLengthAttribute }) =>
      (keyLengthAttribute === 'absent' ? [undefined] : keyLengths).map((keyLength) => ({
        type: TransformType.ENCR,
        id,
        ...(keyLength === undefined ? {} : { keyLength }),
      })),
    ),
    ...prfTransforms().map(({ id }) => ({ type: TransformType.PRF, id })),
    ...integrityTransforms().map(({ id }) => ({ type: TransformType.INTEG, id })),
    ...keyExchangeMethods().map(({ id }) => ({ type: TransformType.KE, id })),
  ];
  const rows = new Map<string, string[]>();
  for (const transform of transforms) {
    const why = optIn(transform)?.why;
    if (why !== undefined) rows.set(why, [...(rows.get(why) ?? []), word(transform)]);
  }
  return [...rows].map(([why, words]) => `- ${words.join(' ')}: ${why}.`).join('\n');
}

function standard(id: number, table: Readonly<Record<number, string>>): string {
  const text = table[id];
  if (text === undefined) throw new Error(`transform ${id} has no standard in tools/docs.ts`);
  return text;
}

function refusedWords(): string {
  const rows = REFUSED_WORDS.map((text) => {
    const why = explainKeyword(text);
    if (why === undefined) throw new Error(`${text} is spoken now: take it out of REFUSED_WORDS in tools/docs.ts`);
    return [`\`${text}\``, why.slice(text.length + 1)];
  });
  return markdownTable([['keyword', ''], ...rows]);
}

const MOST = 3;

/** The classes of src/core/bytes/errors.ts and of the rooms above, in the order of who has to act. */
const TREE: readonly (readonly [type: string, meaning: string])[] = [
  ['CliError', 'The command line was used wrongly, or what it names is not there.'],
  ['ConfigError', 'The configuration is wrong, or a file that it names. The message begins with file, line and column.'],
  ['AuthenticationFailure', 'Somebody could not prove who they are. The peer learns AUTHENTICATION_FAILED, whatever it was.'],
  [
    'CertificateFailure',
    'A certificate, or the path above it, does not prove what was asked. The peer learns AUTHENTICATION_FAILED here, too.',
  ],
  ['NegotiationFailure', 'Both ends behave, but want different things.'],
  ['PeerRefused', 'The peer said no; its notify is in the name.'],
  ['PeerViolation', 'The peer sent something well formed that the standard forbids there.'],
  ['MalformedMessage', 'Octets that no conforming peer or program writes.'],
  ['TimedOut', 'Nobody answered in time.'],
  ['TransferError', 'A file did not get across. Those that can be resumed end with exit code 8.'],
  ['ControlError', 'An instance could not be spoken to through its control socket.'],
  [
    'DataPlaneError',
    'The machine refused: a socket, a port, a device, a file; or a connection inside the tunnel failed, with the codes of `node:net`.',
  ],
  ['ApiMisuse', 'A public function was called wrongly.'],
  ['InternalError', 'A defect of Tunnelwright.'],
];

const ERRORS_HEAD = `# Errors

Every error has a stable \`code\`: scripts and programs may rely on it (\`error.code\` in the library and with \`--json\`). \`…\` stands for
what is filled in. The exit code is that of a command which ends with the error; one that can be resumed ends with 8, one that needs a
privilege with 9. This page is made from the source: \`npx vitest run --project unit test/tools/docs.test.ts -u\` writes it anew.
`;

const GRAMMAR_HEAD = `# Grammar of IKEv2 messages

What may stand in which message. \`[x]\` may be left out, \`x+\` may come again; in one bracket, all or none. Payloads
may come in any order; N, V and payloads of unknown type may stand anywhere. Printed from the payload definitions in \`src/core/wire/payloads\`.
`;

const TRANSFORMS_HEAD = `# Algorithms

What can be negotiated, by the keyword that stands for it in \`proposals\`, \`esp_proposals\`, \`--ike\` and \`--esp\`; several, joined by dashes, make
a proposal (\`aes256gcm16-prfsha384-x25519\`). **default**: proposed and accepted unless the configuration says otherwise. **by name**: where a
connection names it. **opt-in**: likewise, with a warning. **legacy**: likewise, and only with \`legacy: yes\` (\`--legacy\`). Printed from
\`src/core/crypto\`. What this machine's OpenSSL lacks is refused with that reason; \`tunnelwright version\` lists what it has.
`;

const ENCRYPTION_RFC: Readonly<Record<number, string>> = {
  3: 'RFC 2451',
  11: 'RFC 2410',
  12: 'RFC 3602',
  13: 'RFC 3686, 5930',
  14: 'RFC 4309, 5282',
  15: 'RFC 4309, 5282',
  16: 'RFC 4309, 5282',
  18: 'RFC 4106, 5282',
  19: 'RFC 4106, 5282',
  20: 'RFC 4106, 5282',
  21: 'RFC 4543',
  23: 'RFC 5529',
  24: 'RFC 5529',
  25: 'RFC 5529',
  26: 'RFC 5529',
  27: 'RFC 5529',
  28: 'RFC 7634',
  29: 'RFC 8750',
  30: 'RFC 8750',
  31: 'RFC 8750',
};
const PRF_RFC: Readonly<Record<number, string>> = {
  2: 'RFC 2104',
  4: 'RFC 4434',
  5: 'RFC 4868',
  6: 'RFC 4868',
  7: 'RFC 4868',
  8: 'RFC 4615',
};
const INTEGRITY_RFC: Readonly<Record<number, string>> = {
  2: 'RFC 2404',
  5: 'RFC 3566',
  8: 'RFC 4494',
  9: 'RFC 4543',
  10: 'RFC 4543',
  11: 'RFC 4543',
  12: 'RFC 4868',
  13: 'RFC 4868',
  14: 'RFC 4868',
  1026: 'private use (strongSwan)',
};
const KEY_EXCHANGE_RFC: Readonly<Record<number, string>> = {
  2: 'RFC 7296 B.2',
  5: 'RFC 3526',
  14: 'RFC 3526',
  15: 'RFC 3526',
  16: 'RFC 3526',
  17: 'RFC 3526',
  18: 'RFC 3526',
  19: 'RFC 5903',
  20: 'RFC 5903',
  21: 'RFC 5903',
  22: 'RFC 5114, 6989',
  23: 'RFC 5114, 6989',
  24: 'RFC 5114, 6989',
  25: 'RFC 5114',
  26: 'RFC 5114',
  27: 'RFC 6954',
  28: 'RFC 6954',
  29: 'RFC 6954',
  30: 'RFC 6954',
  31: 'RFC 8031',
  32: 'RFC 8031',
  35: 'draft-ietf-ipsecme-ikev2-mlkem',
  36: 'draft-ietf-ipsecme-ikev2-mlkem',
  37: 'draft-ietf-ipsecme-ikev2-mlkem',
};

const REFUSED_WORDS = [
  'des',
  'blowfish',
  'cast128',
  'idea',
  'rc5',
  'md5',
  'md5_128',
  'prfmd5',
  'sha1_160',
  'modp768',
  'chacha20poly1305compat',
  'camelliaxcbc',
  'sntrup761x25519',
  'ntru128',
  'newhope128',
];
