import { EMPTY } from '../../core/bytes/bytes.ts';
import { lackOf } from '../../core/crypto/capabilities.ts';
import { explainKeyword, type KeywordTransform, keywordOf, knownKeywords, parseKeyword } from '../../core/crypto/keywords.ts';
import { optIn } from '../../core/crypto/opt-in.ts';
import { encryption, integrity } from '../../core/crypto/transforms.ts';
import { ADDITIONAL_KE_TYPES, chooseDistinct } from '../../core/ike/additional-ke.ts';
import { IntegrityId, KeyExchangeId, PrfId, ProtocolId, SequenceNumbersId, TransformType } from '../../core/wire/iana.ts';
import type { Proposal, Transform } from '../../core/wire/payloads/types.ts';
import { nearest } from './schema/section.ts';
import { invalid, type Parsed, quoted, valid } from './values.ts';

export type ProposalProtocol = 'IKE' | 'ESP' | 'AH';

/** Why a transform that a proposal names cannot be had here; undefined for what can. */
export type LackOf = (transform: KeywordTransform) => string | undefined;

/**
 * Reads proposals as operators write them: `aes256gcm16-prfsha384-x25519`, several divided by commas, `default` for ours. A PRF that is
 * absent follows from the integrity algorithm. What cannot work, or should not, is refused here and not at the peer.
 * @param legacy permits what can be broken
 * @param lack what this Node cannot do
 */
export function parseProposals(
  texts: readonly string[],
  protocol: ProposalProtocol,
  legacy: boolean,
  lack: LackOf = lackOf,
): Parsed<Proposal[]> {
  const proposals: Proposal[] = [];
  for (const text of texts.flatMap((part) => part.split(',')).map((part) => part.trim())) {
    if (text === '') return invalid('has an empty place between commas');
    const words = text === 'default' ? (DEFAULT_PROPOSALS[protocol] ?? []) : [text];
    if (words.length === 0) return invalid(`there are no default proposals for ${protocol}`, 'Write for instance sha256-x25519.');
    for (const word of words) {
      const proposal = parseProposal(word, protocol, legacy, lack);
      if (!proposal.ok) return proposal;
      proposals.push({ ...proposal.value, number: proposals.length + 1 });
    }
  }
  return proposals.length <= MAX_PROPOSALS ? valid(proposals) : invalid(`has ${proposals.length} proposals; ${MAX_PROPOSALS} fit`);
}

/** What whoever named them should know of the transforms that are used only when they are named; each once. */
export function optInWarnings(proposals: readonly Proposal[]): readonly { readonly message: string; readonly hint: string }[] {
  const warnings = new Map<string, string>();
  for (const transform of proposals.flatMap((proposal) => proposal.transforms)) {
    const entry = optIn(transform);
    if (entry !== undefined) warnings.set(`${keywordOf(transform)} ${entry.why}`, entry.hint);
  }
  return [...warnings].map(([message, hint]) => ({ message, hint }));
}

/** `aes256gcm16-prfsha384-x25519`: what `parseProposals` reads back. */
export const formatProposalWords = (proposal: Proposal): string => proposal.transforms.map((transform) => keywordOf(transform)).join('-');

function parseProposal(text: string, protocol: ProposalProtocol, legacy: boolean, lack: LackOf): Parsed<Proposal> {
  const transforms: KeywordTransform[] = [];
  for (const word of text.split('-').map((part) => part.trim().toLowerCase())) {
    const transform = parseWord(protocol === 'AH' ? word.replace(GMAC, '$&_ah') : word, text, legacy);
    if (!transform.ok) return transform;
    const lacking = lack(transform.value);
    if (lacking !== undefined) return invalid(`${quoted(word)} in ${quoted(text)} ${lacking}`, 'Leave it out, or run a Node that has it.');
    if (transforms.some((known) => keywordOf(known) === keywordOf(transform.value)))
      return invalid(`${quoted(word)} stands twice in ${quoted(text)}`);
    transforms.push(transform.value);
  }
  const fault = additionalFault(transforms, text);
  if (fault !== undefined) return fault;
  const complete = protocol === 'IKE' ? ikeTransforms(transforms, text) : childTransforms(transforms, text, protocol);
  return complete.ok ? valid({ number: 1, protocol: ProtocolId[protocol], spi: EMPTY, transforms: inOrder(complete.value) }) : complete;
}

function parseWord(word: string, text: string, legacy: boolean): Parsed<KeywordTransform> {
  const lengthless = /^(aes|camellia)(ctr|gcm|ccm|gmac)?\d{0,2}(iiv|_ah)?$/.exec(word);
  if (lengthless !== null && parseKeyword(word)?.keyLength === undefined)
    return invalid(
      `${quoted(word)} in ${quoted(text)} lacks the length of its key`,
      `Write ${lengthless[1]}256${word.slice(lengthless[1]!.length)} or ${lengthless[1]}128${word.slice(lengthless[1]!.length)}.`,
    );
  if (BARE_CIPHER.has(word))
    return invalid(`${quoted(word)} in ${quoted(text)} lacks the length of its key`, `Write ${word}256 or ${word}128.`);
  if (/^chacha20poly1305\d+$/.test(word))
    return invalid(`${quoted(word)} in ${quoted(text)} has a key length, and ChaCha20 has but one`, 'Write chacha20poly1305.');
  const transform = parseKeyword(word);
  if (transform === undefined) return invalid(...unknownWord(word, text));
  const entry = optIn(transform);
  if (entry?.legacy === true && !legacy)
    return invalid(
      `${quoted(word)} in ${quoted(text)} is off: it ${entry.why}`,
      `${entry.hint.replace(/\.$/, '')}, or set legacy: yes on this connection (--legacy).`,
    );
  return valid(transform);
}

function unknownWord(word: string, text: string): [message: string, hint?: string] {
  const known = explainKeyword(word);
  if (known !== undefined) return [`${known} (in ${quoted(text)})`];
  if (word === '') return [`${quoted(text)} has an empty place between dashes`];
  const meant = nearest(word, knownKeywords());
  return [
    `${quoted(word)} in ${quoted(text)} is no algorithm known here`,
    meant === undefined ? 'Write for instance aes256gcm16-prfsha384-x25519.' : `Did you mean ${meant}?`,
  ];
}

/** RFC 7296 §3.3.2: IKE needs ENCR, PRF, INTEG unless the cipher brings its own, and KE. */
function ikeTransforms(transforms: readonly KeywordTransform[], text: string): Parsed<readonly Transform[]> {
  const fault = cipherFault(transforms, text, 'IKE');
  if (fault !== undefined) return fault;
  if (has(transforms, TransformType.ESN))
    return invalid(`${quoted(text)} has sequence numbers in it, which IKE has not`, 'Leave esn and noesn to esp_proposals.');
  const [misplaced] = transforms.filter((t) => t.type === TransformType.ENCR && encryption(t.id)?.forIke === false);
  if (misplaced !== undefined)
    return encryption(misplaced.id)?.ivKind === 'implicit'
      ? invalid(
          `${quoted(text)} has ${keywordOf(misplaced)}, which is for ESP alone: IKE messages carry nothing to take the IV from (RFC 8750 §7)`,
          `Write ${keywordOf(misplaced).replace(/iiv$/, '')}.`,
        )
      : invalid(`${quoted(text)} would leave IKE unencrypted`, 'IKE needs a cipher, for instance aes256gcm16.');
  if (!transforms.some((t) => t.type === TransformType.KE && t.id !== KeyExchangeId.NONE))
    return invalid(`${quoted(text)} lacks a key exchange method`, `Write ${text}-x25519.`);
  // RFC 7296 §2.18: an initiator must not propose it, and a rekeying proposes what the first exchange did
  if (transforms.some((t) => t.type === TransformType.KE && t.id === KeyExchangeId.NONE))
    return invalid(`${quoted(text)} would make the key exchange optional, which IKE has not`, 'Leave none to esp_proposals.');
  if (has(transforms, TransformType.PRF)) return valid(transforms);
  const derived = transforms.flatMap((t) => (t.type === TransformType.INTEG ? (PRF_OF_INTEGRITY.get(t.id) ?? []) : []));
  if (derived.length === 0) return invalid(`${quoted(text)} lacks a PRF`, `Write ${text.replace('-', '-prfsha384-')}.`);
  return valid([...transforms, ...derived.map((id) => ({ type: TransformType.PRF, id }))]);
}

/** RFC 7296 §3.3.2: ESP needs ENCR, and INTEG unless the cipher brings its own; AH needs INTEG. Sequence numbers: both sizes, the larger first, unless said. */
function childTransforms(transforms: readonly KeywordTransform[], text: string, protocol: 'ESP' | 'AH'): Parsed<readonly Transform[]> {
  if (has(transforms, TransformType.PRF))
    return invalid(`${quoted(text)} has a PRF in it, which ${protocol} has not`, 'Leave prf… to proposals.');
  if (protocol === 'AH' && has(transforms, TransformType.ENCR))
    return invalid(`${quoted(text)} has a cipher in it, which AH has not`, 'Write for instance sha256-x25519, or use esp_proposals.');
  if (protocol === 'AH' && !has(transforms, TransformType.INTEG))
    return invalid(`${quoted(text)} lacks an integrity algorithm`, 'Write for instance sha256-x25519.');
  const fault = protocol === 'ESP' ? cipherFault(transforms, text, protocol) : undefined;
  if (fault !== undefined) return fault;
  return valid(has(transforms, TransformType.ESN) ? transforms : [...transforms, ...BOTH_SEQUENCE_NUMBERS]);
}

/** Combined-mode ciphers stand in proposals of their own, without INTEG (RFC 5282 §8); the others need it. */
function cipherFault(transforms: readonly KeywordTransform[], text: string, protocol: ProposalProtocol): Parsed<never> | undefined {
  const ciphers = transforms.filter((t) => t.type === TransformType.ENCR);
  const combined = ciphers.filter((t) => isCombined(t.id));
  const macs = transforms.filter((t) => t.type === TransformType.INTEG && t.id !== IntegrityId.NONE);
  const [mac] = macs;
  const ofAh = macs.find((t) => integrity(t.id)?.forEsp === false);
  if (ofAh !== undefined)
    return invalid(
      `${quoted(text)} has ${keywordOf(ofAh)}, which is an integrity algorithm of AH alone (RFC 4543 §5.3)`,
      protocol === 'ESP' ? `Write ${keywordOf(ofAh).replace(/_ah$/, '')} in the place of cipher and integrity.` : 'Write sha256.',
    );
  if (ciphers.length === 0) return invalid(`${quoted(text)} lacks a cipher`, 'Write for instance aes256gcm16 in front.');
  if (combined.length > 0 && combined.length < ciphers.length) {
    return invalid(
      `${quoted(text)} mixes ${keywordOf(combined[0]!)}, which brings its own integrity, with ciphers that do not`,
      'Make two proposals of it, divided by a comma.',
    );
  }
  if (combined.length > 0 && mac !== undefined) {
    const word = keywordOf(mac);
    const instead =
      protocol === 'IKE' && PRF_OF_INTEGRITY.has(mac.id) && !has(transforms, TransformType.PRF)
        ? `Write prf${word} in the place of ${word}.`
        : `Leave ${word} out.`;
    return invalid(`${quoted(text)} has ${word}, but ${keywordOf(combined[0]!)} brings its own integrity`, instead);
  }
  if (combined.length === 0 && mac === undefined)
    return invalid(
      `${quoted(text)} lacks an integrity algorithm, which ${keywordOf(ciphers[0]!)} needs`,
      `Write ${text.replace(keywordOf(ciphers[0]!), `${keywordOf(ciphers[0]!)}-sha256`)}.`,
    );
  return undefined;
}

/** RFC 9370 §2.2.1: further key exchanges follow a first one, and no method serves twice. */
function additionalFault(transforms: readonly KeywordTransform[], text: string): Parsed<never> | undefined {
  const methods = (type: number) => transforms.filter((t) => t.type === type).map((t) => t.id);
  const types = ADDITIONAL_KE_TYPES.filter((type) => has(transforms, type));
  if (types.length === 0) return undefined;
  const first = methods(TransformType.KE);
  if (!first.some((id) => id !== KeyExchangeId.NONE) || first.includes(KeyExchangeId.NONE))
    return invalid(`${quoted(text)} has additional key exchanges, but no first one that they could follow`, 'Add for instance x25519.');
  const idle = types.find((type) => methods(type).every((id) => id === KeyExchangeId.NONE));
  if (idle !== undefined)
    return invalid(
      `${quoted(text)} has ${keywordOf({ type: idle, id: KeyExchangeId.NONE })} and no method that it would make optional`,
      'Add for instance ke1_mlkem768.',
    );
  return chooseDistinct([first, ...types.map((type) => methods(type).filter((id) => id !== KeyExchangeId.NONE))]) === undefined
    ? invalid(`${quoted(text)} would need one key exchange method twice`, 'Give each of its key exchanges a method of its own (RFC 9370).')
    : undefined;
}

const has = (transforms: readonly Transform[], type: number): boolean => transforms.some((t) => t.type === type);
const isCombined = (id: number): boolean => encryption(id)?.aead === true;
const inOrder = (transforms: readonly Transform[]): Transform[] => [...transforms].sort((a, b) => a.type - b.type);

/** As swanctl.conf has it: one word for GMAC, the cipher of ESP and the integrity algorithm of AH. */
const GMAC = /^aes(128|192|256)?gmac$/;

const BARE_CIPHER: ReadonlySet<string> = new Set(['aes', 'camellia']);

/** As swanctl.conf has it: a proposal without a PRF uses the hash of its integrity algorithm. */
const PRF_OF_INTEGRITY: ReadonlyMap<number, number> = new Map([
  [IntegrityId.AUTH_HMAC_SHA1_96, PrfId.PRF_HMAC_SHA1],
  [IntegrityId.AUTH_HMAC_SHA2_256_128, PrfId.PRF_HMAC_SHA2_256],
  [IntegrityId.AUTH_HMAC_SHA2_384_192, PrfId.PRF_HMAC_SHA2_384],
  [IntegrityId.AUTH_HMAC_SHA2_512_256, PrfId.PRF_HMAC_SHA2_512],
  [IntegrityId.AUTH_AES_XCBC_96, PrfId.PRF_AES128_XCBC],
  [IntegrityId.AUTH_AES_CMAC_96, PrfId.PRF_AES128_CMAC],
  [IntegrityId.AUTH_HMAC_SHA2_256_96, PrfId.PRF_HMAC_SHA2_256],
]);

const BOTH_SEQUENCE_NUMBERS: readonly Transform[] = [
  { type: TransformType.ESN, id: SequenceNumbersId.ESN },
  { type: TransformType.ESN, id: SequenceNumbersId.NO_ESN },
];

/** Combined-mode ciphers first; behind them what Windows (with its profile), Apple and Cisco speak. */
export const DEFAULT_PROPOSALS: Readonly<Partial<Record<ProposalProtocol, readonly string[]>>> = {
  IKE: [
    'aes256gcm16-aes128gcm16-chacha20poly1305-prfsha384-prfsha256-x25519-ecp256-ecp384',
    'aes256-aes128-sha256-sha384-prfsha256-prfsha384-x25519-ecp256-modp2048-modp3072',
  ],
  ESP: [
    'aes256gcm16-aes128gcm16-chacha20poly1305-x25519-ecp256-ecp384-esn-noesn',
    'aes256-sha256-x25519-ecp256-modp2048-modp3072-esn-noesn',
  ],
};

/** RFC 7296 §3.3.1 numbers proposals with one octet. */
const MAX_PROPOSALS = 255;
