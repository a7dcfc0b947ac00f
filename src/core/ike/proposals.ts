import { NegotiationFailure } from '../bytes/errors.ts';
import { effectiveKeyLength, encryption, integrity, keyExchange, keywordOf, prf } from '../crypto/index.ts';
import { formatProposal, NotifyType, type Proposal, ProtocolId, type Transform, TransformType } from '../wire/index.ts';
import { ADDITIONAL_KE_TYPES, additionalOf, chooseDistinct, withFallbacks } from './additional-ke.ts';
import type { AdditionalKe, ChildSuite, IkeSuite } from './keys.ts';

/**
 * RFC 7296 §2.7 and §3.3: the responder picks one proposal and from it one transform of each type. We follow our own order of
 * preference, not the initiator's: some clients offer their weakest first.
 */
interface Selected {
  /** What goes back: the initiator's proposal number, one transform per type; the SPI is the caller's. */
  readonly proposal: Proposal;
  /** The initiator's SPI in that proposal. */
  readonly peerSpi: Uint8Array;
}

export interface SelectedIke extends Selected {
  readonly suite: IkeSuite;
}

export interface SelectedChild extends Selected {
  readonly suite: ChildSuite;
}

export function selectIke(ours: readonly Proposal[], theirs: readonly Proposal[]): SelectedIke | undefined {
  for (const own of ours) {
    for (const offer of theirs) {
      if (offer.protocol !== ProtocolId.IKE) continue;
      const chosen = intersect(own, offer, IKE_TYPES);
      const suite = chosen && ikeSuiteOf(chosen);
      if (suite)
        return {
          proposal: {
            number: offer.number, // §3.3.1: of the proposal that is accepted
            protocol: offer.protocol,
            spi: offer.spi,
            transforms: chosen,
          },
          peerSpi: offer.spi,
          suite,
        };
    }
  }
  return undefined;
}

/** @param withKe whether this exchange can carry a key exchange; in IKE_AUTH transforms of type 4 mean nothing (RFC 7296 §1.2). */
export function selectChild(ours: readonly Proposal[], theirs: readonly Proposal[], withKe: boolean): SelectedChild | undefined {
  const types = withKe ? CHILD_TYPES_WITH_KE : CHILD_TYPES;
  for (const own of ours) {
    for (const offer of theirs) {
      if (offer.protocol !== own.protocol || !isChildSpi(offer.spi)) continue;
      const chosen = intersect(own, offer, types);
      const suite = chosen && childSuiteOf(offer.protocol, chosen);
      if (suite)
        return {
          proposal: { number: offer.number, protocol: offer.protocol, spi: offer.spi, transforms: chosen },
          peerSpi: offer.spi,
          suite,
        };
    }
  }
  return undefined;
}

/**
 * What the responder chose must be one of what we offered, with one transform per type (RFC 7296 §3.3: an initiator MUST check).
 * @returns undefined when it is not.
 */
export function acceptIke(offered: readonly Proposal[], answer: readonly Proposal[]): SelectedIke | undefined {
  const [chosen] = answer;
  if (answer.length !== 1 || !chosen || hasTwoOfOneType(chosen)) return undefined; // §3.3.6: one, in which nothing is left open
  const own = offered.find((p) => p.number === chosen.number);
  return own && selectIke([own], [chosen]);
}

export function acceptChild(offered: readonly Proposal[], answer: readonly Proposal[], withKe: boolean): SelectedChild | undefined {
  const [chosen] = answer;
  if (answer.length !== 1 || !chosen || hasTwoOfOneType(chosen)) return undefined;
  const own = offered.find((p) => p.number === chosen.number);
  return own && selectChild([own], [chosen], withKe);
}

/** Numbers proposals from 1 and puts our SPI in (RFC 7296 §3.3.1). */
export function offer(proposals: readonly Proposal[], spi: Uint8Array): Proposal[] {
  return withFallbacks(proposals).map((p, i) => ({
    ...p,
    number: i + 1,
    spi,
  }));
}

/** Proposals for a child created in IKE_AUTH, which carries no key exchange of its own. */
export function withoutKe(proposals: readonly Proposal[]): readonly Proposal[] {
  const known = WITHOUT_KE.get(proposals);
  if (known !== undefined) return known;
  const stripped = proposals.map((p) => ({ ...p, transforms: p.transforms.filter((t) => !isKe(t.type)) }));
  const distinct = stripped.filter((p, i) => stripped.findIndex((q) => sameTransforms(p, q)) === i);
  WITHOUT_KE.set(proposals, distinct);
  return distinct;
}

/** Child proposals for CREATE_CHILD_SA under a PFS policy: `prefer` lets the peer fall back to no key exchange. */
export function withPfs(proposals: readonly Proposal[], pfs: 'require' | 'prefer' | 'off'): readonly Proposal[] {
  if (pfs === 'off') return withoutKe(proposals);
  const withKe = proposals.filter((p) => keMethods(p).length > 0);
  if (pfs === 'require') return withKe;
  return withKe.length === 0 ? [...proposals] : [...withKe, ...withoutKe(proposals)];
}

export const keMethods = (proposal: Proposal): number[] =>
  proposal.transforms.filter((t) => t.type === TransformType.KE && t.id !== 0).map((t) => t.id);

/** The proposal with this key exchange method alone; nothing when it does not have it. */
export function onlyMethod(proposal: Proposal, method: number): Proposal[] {
  return keMethods(proposal).includes(method)
    ? [{ ...proposal, transforms: proposal.transforms.filter((t) => t.type !== TransformType.KE || t.id === method) }]
    : [];
}

/** The method whose public value goes into the first message: the first one of the first proposal that we can compute. */
export function firstKeMethod(proposals: readonly Proposal[]): number | undefined {
  return proposals.flatMap(keMethods).find((id) => keyExchange(id) !== undefined);
}

/** `aes256gcm16/prfsha384/x25519`. */
export function suiteText(suite: IkeSuite): string {
  const known = TEXTS.get(suite);
  if (known !== undefined) return known;
  const text = inCommonText(suite);
  TEXTS.set(suite, text);
  return text;
}

/** Suites of equal parts have one text. */
function inCommonText(suite: IkeSuite): string {
  const { encryption: cipher, keyLength, integrity: mac, prf: f, keyExchange: ke, additional = [] } = suite;
  const key = `${cipher} ${keyLength} ${mac} ${f} ${ke} ${additional.map(({ type, method }) => `${type}:${method}`).join(' ')}`;
  const known = SUITE_TEXTS.get(key);
  if (known !== undefined) return known;
  const text = composeSuiteText(suite);
  if (SUITE_TEXTS.size < MOST_SUITES) SUITE_TEXTS.set(key, text);
  return text;
}

function composeSuiteText(suite: IkeSuite): string {
  const parts = [keywordOf({ type: TransformType.ENCR, id: suite.encryption, ...(suite.keyLength ? { keyLength: suite.keyLength } : {}) })];
  if (suite.integrity !== 0) parts.push(keywordOf({ type: TransformType.INTEG, id: suite.integrity }));
  parts.push(keywordOf({ type: TransformType.PRF, id: suite.prf }), keyExchangesText(suite));
  return parts.join('/');
}

export function childSuiteText(suite: ChildSuite): string {
  const known = TEXTS.get(suite);
  if (known !== undefined) return known;
  const text = composeChildSuiteText(suite);
  TEXTS.set(suite, text);
  return text;
}

function composeChildSuiteText(suite: ChildSuite): string {
  const parts: string[] = [];
  if (suite.encryption !== 0)
    parts.push(keywordOf({ type: TransformType.ENCR, id: suite.encryption, ...(suite.keyLength ? { keyLength: suite.keyLength } : {}) }));
  if (suite.integrity !== 0) parts.push(keywordOf({ type: TransformType.INTEG, id: suite.integrity }));
  if (suite.keyExchange !== 0) parts.push(`pfs ${keyExchangesText(suite)}`);
  return parts.join('/');
}

/** `x25519/ke1_mlkem768`. */
const keyExchangesText = ({ keyExchange: first, additional = [] }: Pick<IkeSuite, 'keyExchange' | 'additional'>): string =>
  [{ type: TransformType.KE, method: first }, ...additional].map(({ type, method }) => keywordOf({ type, id: method })).join('/');

/** Says which side wants what, so that the operator sees the difference without a second log. */
export function noProposalChosen(what: string, ours: readonly Proposal[], theirs: readonly Proposal[]): NegotiationFailure {
  const list = (ps: readonly Proposal[]) =>
    shorten(
      ps
        .slice(0, MOST_SHOWN)
        .map((p) => formatProposal(p))
        .join('; '),
    ) || 'nothing';
  return new NegotiationFailure(`no common ${what} proposal: the peer offers ${list(theirs)}; we accept ${list(ours)}`, {
    code: 'NO_PROPOSAL_CHOSEN',
    notify: NotifyType.NO_PROPOSAL_CHOSEN,
    section: 'RFC 7296 §2.7',
    hint: 'Configure one suite that both ends have.',
  });
}

/** What a stranger offers must not fill the log. */
const shorten = (text: string): string => (text.length > LONGEST_LIST ? `${text.slice(0, LONGEST_LIST)}…` : text);

/** One transform per type that both have; types that only one of them has make the proposals incompatible. */
function intersect(own: Proposal, theirs: Proposal, types: readonly number[]): Transform[] | undefined {
  for (const { type, id } of theirs.transforms) if (!types.includes(type) && !meansNothing(type, id)) return undefined;
  const chosen: Transform[] = [];
  let aead = false;
  for (const type of types) {
    if (isKe(type)) continue;
    if (type === TransformType.INTEG && aead) {
      // RFC 5282 §8: with a combined-mode cipher integrity is absent or NONE
      if (!allowsNone(theirs.transforms, type)) return undefined;
      continue;
    }
    const match = firstCommon(own.transforms, theirs.transforms, type);
    if (match === undefined && isMissed(type, own.transforms, theirs.transforms)) return undefined;
    if (match !== undefined) chosen.push(match);
    if (type === TransformType.ENCR) aead = match !== undefined && encryption(match.id)?.aead === true;
  }
  if (!types.includes(TransformType.KE)) return chosen;
  const keyExchanges = intersectKe(own.transforms, theirs.transforms);
  return keyExchanges && [...chosen, ...keyExchanges];
}

/** RFC 7296 §3.3.6: a transform type that we do not know makes the whole proposal unacceptable; types that mean nothing in this exchange do not. */
const meansNothing = (type: number, id: number): boolean => isKe(type) || (KNOWN_TYPES.includes(type) && id === 0);

/** What stands first in our own list. Each connection of each peer is asked for it: without a closure. */
function firstCommon(own: readonly Transform[], theirs: readonly Transform[], type: number): Transform | undefined {
  for (const mine of own) {
    if (mine.type !== type) continue;
    for (const offered of theirs) if (sameTransform(mine, offered)) return mine;
  }
  return undefined;
}

/** Key exchanges are chosen together, because no method may be chosen twice (RFC 9370 §2.2.1). */
function intersectKe(own: readonly Transform[], theirs: readonly Transform[]): Transform[] | undefined {
  const types = KE_TYPES.filter((type) => hasType(own, type) || hasType(theirs, type));
  const lists = types.map((type) => {
    const common = own.filter((m) => m.type === type && theirs.some((o) => sameTransform(m, o))).map((t) => t.id);
    return common.includes(0) || !impliesNone(type, own, theirs) ? common : [...common, 0];
  });
  const chosen = chooseDistinct(lists);
  // RFC 7296 §3.3.6: what was chosen is said, NONE as well where it was offered by name; else the type is left out
  return chosen?.flatMap((id, i) => (id !== 0 || theirs.some((t) => t.type === types[i] && t.id === 0) ? [{ type: types[i]!, id }] : []));
}

/** One of both has a transform of this type, and there is none in common. */
const isMissed = (type: number, mine: readonly Transform[], offered: readonly Transform[]): boolean =>
  (hasType(mine, type) || hasType(offered, type)) && !impliesNone(type, mine, offered);

/** RFC 7296 §3.3.3: types that may be left out stand for NONE (KE, INTEG) or for no ESN. */
function impliesNone(type: number, mine: readonly Transform[], offered: readonly Transform[]): boolean {
  const optional = isKe(type) || type === TransformType.INTEG || type === TransformType.ESN;
  return optional && allowsNone(mine, type) && allowsNone(offered, type);
}

const hasType = (transforms: readonly Transform[], type: number): boolean => transforms.some((t) => t.type === type);

const allowsNone = (transforms: readonly Transform[], type: number): boolean =>
  !hasType(transforms, type) || transforms.some((t) => t.type === type && t.id === 0);

/** RFC 4303 §2.1: zero never goes on the wire, 1–255 are reserved. */
const isChildSpi = (spi: Uint8Array): boolean => spi.length === 4 && (spi[0] !== 0 || spi[1] !== 0 || spi[2] !== 0);

function sameTransform(a: Transform, b: Transform): boolean {
  // RFC 7296 §3.3.6: with an attribute that we do not know it is another one
  if (b.attributes !== undefined && b.attributes.length > 0) return false;
  return a.type === b.type && a.id === b.id && a.keyLength === b.keyLength;
}

const sameTransforms = (a: Proposal, b: Proposal): boolean =>
  a.protocol === b.protocol &&
  a.transforms.length === b.transforms.length &&
  a.transforms.every((t, i) => sameTransform(t, b.transforms[i]!));

const hasTwoOfOneType = (p: Proposal): boolean => new Set(p.transforms.map((t) => t.type)).size !== p.transforms.length;

const additional = (transforms: readonly Transform[]): { additional?: readonly AdditionalKe[] } => {
  const list = additionalOf(transforms) ?? [];
  return list.length === 0 ? {} : { additional: list };
};

const idOf = (transforms: readonly Transform[], type: number): number => transforms.find((t) => t.type === type)?.id ?? 0;

function ikeSuiteOf(transforms: readonly Transform[]): IkeSuite | undefined {
  const cipher = transforms.find((t) => t.type === TransformType.ENCR);
  const suite = {
    encryption: cipher?.id ?? 0,
    keyLength: cipher?.keyLength,
    integrity: idOf(transforms, TransformType.INTEG),
    prf: idOf(transforms, TransformType.PRF),
    keyExchange: idOf(transforms, TransformType.KE),
    ...additional(transforms),
  };
  if (additionalOf(transforms) === undefined) return undefined;
  const transform = encryption(suite.encryption);
  // RFC 7296 §3.14, §5: some ciphers are for ESP alone
  if (transform?.forIke !== true) return undefined;
  // RFC 7296 §2.18: NONE is no key exchange for an IKE SA, be it the first or a rekeyed one
  if (keyExchange(suite.keyExchange) === undefined) return undefined;
  // RFC 7296 §3.3.3: IKE needs all four, except that a combined-mode cipher brings its own integrity
  if (prf(suite.prf) === undefined) return undefined;
  // RFC 7296 §3.3.5: a Key Length where the cipher has several, and none where it has one
  if (effectiveKeyLength(transform, suite.keyLength) === undefined) return undefined;
  return (transform.aead ? suite.integrity === 0 : integrity(suite.integrity)?.forEsp === true) ? inCommon(suite, IKE_SUITES) : undefined;
}

function childSuiteOf(protocol: number, transforms: readonly Transform[]): ChildSuite | undefined {
  const cipher = transforms.find((t) => t.type === TransformType.ENCR);
  const suite: ChildSuite = {
    protocol: protocol === ProtocolId.AH ? 'AH' : 'ESP',
    encryption: cipher?.id ?? 0,
    keyLength: cipher?.keyLength,
    integrity: idOf(transforms, TransformType.INTEG),
    esn: idOf(transforms, TransformType.ESN) === 1,
    keyExchange: idOf(transforms, TransformType.KE),
    ...additional(transforms),
  };
  if (suite.keyExchange !== 0 && keyExchange(suite.keyExchange) === undefined) return undefined;
  // further key exchanges follow a first one, and are nothing without it
  if (additionalOf(transforms) === undefined || (suite.keyExchange === 0 && suite.additional !== undefined)) return undefined;
  const mac = integrity(suite.integrity);
  if (suite.protocol === 'AH') return suite.encryption === 0 && mac !== undefined ? suite : undefined;
  const transform = encryption(suite.encryption);
  if (transform === undefined || effectiveKeyLength(transform, suite.keyLength) === undefined) return undefined;
  // RFC 4543 §5.3: GMAC as integrity is for AH alone
  return (transform.aead ? suite.integrity === 0 : mac?.forEsp === true) ? inCommon(suite, CHILD_SUITES) : undefined;
}

/** The same few suites are chosen for thousands of SAs, which have each of them in common then. */
function inCommon<T extends IkeSuite | ChildSuite>(suite: T, known: T[]): T {
  if (suite.additional !== undefined) return suite;
  const names = Object.keys(suite) as (keyof T)[];
  const same = known.find((one) => names.every((name) => one[name] === suite[name]));
  if (same === undefined && known.length < MOST_SUITES) known.push(suite);
  return same ?? suite;
}

const MOST_SHOWN = 8;
const LONGEST_LIST = 1000;
const KE_TYPES: readonly number[] = [TransformType.KE, ...ADDITIONAL_KE_TYPES];
const isKe = (type: number): boolean => KE_TYPES.includes(type);
const IKE_TYPES: readonly number[] = [TransformType.ENCR, TransformType.PRF, TransformType.INTEG, ...KE_TYPES];
const CHILD_TYPES: readonly number[] = [
  TransformType.ENCR,
  TransformType.INTEG,
  TransformType.ESN, // RFC 7296 §3.3.3
];
const CHILD_TYPES_WITH_KE: readonly number[] = [...CHILD_TYPES, ...KE_TYPES];
const KNOWN_TYPES: readonly number[] = [...IKE_TYPES, ...CHILD_TYPES];
/** Those of a policy are asked for with every child of it. */
const WITHOUT_KE = new WeakMap<readonly Proposal[], readonly Proposal[]>();
/** Most SAs share their suite with others (`inCommon`), and each look at them asks for its text. */
const TEXTS = new WeakMap<IkeSuite | ChildSuite, string>();
/** A gateway tells the same few suites thousands of times. */
const SUITE_TEXTS = new Map<string, string>();
const MOST_SUITES = 256;
const IKE_SUITES: IkeSuite[] = [];
const CHILD_SUITES: ChildSuite[] = [];
