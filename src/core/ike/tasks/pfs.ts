import { NegotiationFailure, PeerRefused } from '../../bytes/errors.ts';
import { keywordOf } from '../../crypto/index.ts';
import { type NotifyPayload, NotifyType, type Proposal, TransformType } from '../../wire/index.ts';
import { isAdditionalKe } from '../additional-ke.ts';
import type { ChildSa } from '../child-sa.ts';
import { refusedBy } from '../notifies.ts';
import type { ChildPolicy } from '../policy.ts';
import { keMethods, selectChild, withoutKe, withPfs } from '../proposals.ts';

/**
 * PFS is agreed nowhere before the first rekeying: IKE_AUTH makes the first child without a key exchange of its own (RFC 7296 §1.2), so two
 * ends that differ run well for an hour and break then. Where that shows, it is said what differs and what to set.
 *
 * @returns why the peer's CREATE_CHILD_SA fits none of the policies, if the key exchange alone is in the way
 */
export function pfsMismatch(policies: readonly ChildPolicy[], offered: readonly Proposal[]): NegotiationFailure | undefined {
  const policy = policies.find((p) => selectChild(withoutKe(p.proposals), withoutKe(offered), false) !== undefined);
  if (policy === undefined) return undefined;
  const { name, pfs } = policy;
  const theirs = methods(offered);
  const ours = methods(withPfs(policy.proposals, pfs));
  if (theirs.length === 0)
    return new NegotiationFailure(
      `the peer asks for CHILD_SA ${name} without a key exchange, and pfs: require of this child insists on one`,
      {
        code: 'PFS_MISSING',
        ...COMMON,
        hint: `Turn PFS on at the peer with ${oneOf(ours)}, or set pfs: prefer for ${name} here.`,
      },
    );
  if (pfs === 'off')
    return new NegotiationFailure(
      `the peer insists on a key exchange for CHILD_SA ${name} (${list(theirs)}), which pfs: off of this child rules out`,
      { code: 'PFS_DEMANDED', ...COMMON, hint: `Set pfs: prefer for ${name} here, or turn PFS off at the peer.` },
    );
  return new NegotiationFailure(
    `CHILD_SA ${name} has no key exchange method in common: the peer offers ${list(theirs)}; we accept ${list(ours) || 'none'}`,
    {
      code: 'PFS_GROUPS',
      ...COMMON,
      hint: `Add ${oneOf(theirs)} to esp_proposals of ${name} here, or ${ours.length > 0 ? `${oneOf(ours)} at the peer` : 'turn PFS off at the peer'}.`,
    },
  );
}

/** The responder chose no key exchange where this child insists on one. */
export const pfsDeclined = ({ name }: ChildPolicy): NegotiationFailure =>
  new NegotiationFailure(`the peer answered CHILD_SA ${name} without a key exchange, and pfs: require of this child insists on one`, {
    code: 'PFS_MISSING',
    ...COMMON,
    hint: `Turn PFS on at the peer, or set pfs: prefer for ${name} here.`,
  });

/** What a refusal of CREATE_CHILD_SA means: a suite that was good in IKE_AUTH and is refused now is refused for its key exchange. */
export function childRefusal(
  answer: NotifyPayload,
  policy: ChildPolicy,
  offered: readonly Proposal[],
  rekeys: ChildSa | undefined,
): PeerRefused {
  const what = rekeys ? `rekeying CHILD_SA ${policy.name}` : `CHILD_SA ${policy.name}`;
  if (answer.notify !== NotifyType.NO_PROPOSAL_CHOSEN || rekeys === undefined) return refusedBy(answer, what);
  const ours = methods(offered);
  const tried = ours.length === 0 ? 'no key exchange' : policy.pfs === 'require' ? list(ours) : `${list(ours)}, or none`;
  const { keyExchange, additional = [] } = rekeys.suite;
  const agreed = [methodName(keyExchange), ...additional.map(({ type, method: id }) => keywordOf({ type, id }))].join('-');
  const before =
    keyExchange === 0 ? 'the same algorithms stand since IKE_AUTH, where no key exchange is asked' : `${agreed} was good before`;
  return new PeerRefused(`the peer refused ${what}: ${before}, so it differs about PFS; we offered ${tried}`, {
    code: 'PFS_REFUSED',
    notify: answer.notify,
    section: 'RFC 7296 §1.3.3',
    hint: ADVICE[ours.length === 0 ? 'off' : policy.pfs](policy.name),
  });
}

const ADVICE: Readonly<Record<ChildPolicy['pfs'], (child: string) => string>> = {
  off: (child) =>
    `The peer insists on PFS: set pfs: prefer for ${child} here with the method of the peer in its esp_proposals, or turn PFS off there.`,
  prefer: (child) => `The peer insists on another method: put the PFS group of the peer into the esp_proposals of ${child} here.`,
  require: (child) => `The peer has PFS off or another group: set it there, or set pfs: prefer for ${child} here.`,
};

/** As esp_proposals has them, with the additional key exchanges that a proposal wants behind the first (RFC 9370). */
function methods(proposals: readonly Proposal[]): string[] {
  const all = proposals.flatMap((proposal) => {
    const more = proposal.transforms
      .filter(({ type, id }) => isAdditionalKe(type) && id !== NONE)
      .map(({ type, id }) => keywordOf({ type, id }));
    return keMethods(proposal).map((id) => [methodName(id), ...more].join('-'));
  });
  return [...new Set(all)];
}

/** By the word that esp_proposals knows it under. */
const methodName = (id: number): string => keywordOf({ type: TransformType.KE, id });
const list = (words: readonly string[]): string => words.slice(0, MOST_SHOWN).join(', ');
const oneOf = (words: readonly string[]): string => (words.length > 1 ? `one of ${list(words)}` : list(words));

const COMMON = { notify: NotifyType.NO_PROPOSAL_CHOSEN, section: 'RFC 7296 §1.3' } as const;
const MOST_SHOWN = 8;
const NONE = 0;
