import { DataPlaneError } from '../../../core/bytes/index.ts';
import type { ChildSaSpec, KernelPolicy } from '../../../core/ike/effects.ts';
import { isThere } from '../../platform/linux/netlink/errors.ts';
import type { NewPolicy, XfrmTemplate } from '../../platform/linux/netlink/xfrm/policies.ts';
import type { XfrmDirection } from '../../platform/linux/netlink/xfrm/structs.ts';
import type { ShuntPolicy, TrapPolicy } from '../data-plane.ts';
import type { ChildStates, Way } from './child-states.ts';
import { EVERY_WAY, policyFor } from './passing.ts';
import { type PolicyTable, Rank } from './policy-table.ts';
import { matchesOf, type PolicyMatch } from './selectors.ts';

/** The CHILD_SA whose packets a policy is about. */
export interface Claimant {
  readonly spec: ChildSaSpec;
  readonly states: ChildStates;
  readonly matches: readonly PolicyMatch[];
  readonly line: { readonly reqid: number };
}

/** Which policies CHILD_SAs, traps and shunts ask for, and what stands in them; which of them the kernel has is `PolicyTable`'s business. */
export class PolicyClaims {
  readonly #table: PolicyTable;
  readonly #share: number;

  constructor(table: PolicyTable, share: number) {
    this.#table = table;
    this.#share = share;
  }

  /** What comes in by its SAs may go on. @throws DataPlaneError; the former ones stand then */
  inward(child: Claimant): void {
    this.#withCard(child, 'inbound', () => this.#table.claim(into(child), Rank.SENDING, this.#inward(child)));
  }

  /** @throws DataPlaneError; the former ones stand then */
  outward(child: Claimant, sends: boolean): void {
    const rank = sends ? Rank.SENDING : Rank.WAITING;
    this.#withCard(child, 'outbound', () => this.#table.claim(out(child), rank, this.#outward(child)));
  }

  /** What was to be protected once does not leave in clear afterwards; who was lent an address by us takes it along. */
  closeBehind({ spec, matches }: Claimant): void {
    const lent = matches.every(({ remote }) => spec.assigned.includes(remote.split('/')[0]!));
    if (!lent)
      this.#table.claim(
        shunt(spec, matches),
        Rank.SHUNT,
        matches.map((match) => this.#dropping(match, 'out', spec.packets?.kernel)),
      );
  }

  releaseOutward(child: Claimant): void {
    this.#table.release(out(child));
  }

  release(child: Claimant): void {
    this.releaseOutward(child);
    this.#table.release(into(child));
  }

  /** Packets that no SA carries yet ask for one, or wait. */
  trap(reqid: number, { action, localTs, remoteTs, kernel }: TrapPolicy): void {
    const matches = matchesOf(localTs, remoteTs);
    if (action === 'drop') {
      const policies = matches.flatMap((match) => EVERY_WAY.map((way) => this.#dropping(match, way, kernel)));
      this.#table.claim(trapped(reqid), Rank.SHUNT, policies);
      return;
    }
    // where the peer is, is known only to IKE: a template of transport mode needs no ends, and no SA ever fits it
    const template: XfrmTemplate = { protocol: 'esp', mode: 'transport', reqid };
    this.#table.claim(
      trapped(reqid),
      Rank.TRAP,
      matches.map((match) => this.#policy(match, 'out', [template], kernel)),
    );
  }

  untrap(reqid: number): void {
    this.#table.release(trapped(reqid));
  }

  /** @throws DataPlaneError; the former ones stand then */
  shunts(shunts: readonly ShuntPolicy[]): void {
    const policies = shunts.flatMap(({ action, localTs, remoteTs }) =>
      matchesOf(localTs, remoteTs).flatMap((match) =>
        EVERY_WAY.map(
          (way): NewPolicy => ({ ...policyFor(match, way, this.#share, [], true), action: action === 'bypass' ? 'allow' : 'block' }),
        ),
      ),
    );
    this.#table.claim(SHUNTS, Rank.CONFIGURED, policies);
  }

  /** A card that takes packets whole may refuse their policies: the SA may go on without it then, and so do they. */
  #withCard({ states }: Claimant, way: Way, claim: () => void): void {
    try {
      claim();
    } catch (error) {
      if (!(error instanceof DataPlaneError) || isThere(error) || !states.leaveCard(way, error)) throw error;
      claim();
    }
  }

  #outward(child: Claimant): readonly NewPolicy[] {
    const { local, remote } = child.states.ends;
    const { kernel } = child.spec.packets ?? {};
    const offload = child.states.card('outbound');
    return child.matches.map((match) => ({
      ...this.#policy(match, 'out', templates(child, local.ip, remote.ip), kernel),
      ...(offload === undefined ? {} : { offload }),
    }));
  }

  /** Whence a packet comes outside is its SA's business: the reqid is of one peer alone. */
  #inward(child: Claimant): readonly NewPolicy[] {
    const { local } = child.states.ends;
    const through = templates(child, undefined, local.ip);
    const { kernel } = child.spec.packets ?? {};
    const offload = child.states.card('inbound');
    return child.matches.flatMap((match) => {
      const policy = { ...this.#policy(match, 'in', through, kernel), ...(offload === undefined ? {} : { offload }) };
      // no card has policies for what is passed on
      return child.spec.mode === 'transport' ? [policy] : [policy, this.#policy(match, 'fwd', through, kernel)];
    });
  }

  #policy(match: PolicyMatch, direction: XfrmDirection, through: readonly XfrmTemplate[], kernel: KernelPolicy = {}): NewPolicy {
    const [ifId, mark] = direction === 'out' ? [kernel.ifIdOut, kernel.markOut] : [kernel.ifIdIn, kernel.markIn];
    return {
      ...policyFor(match, direction, this.#share, through),
      ...(ifId === undefined ? {} : { ifId }),
      ...(mark && { mark }),
    };
  }

  #dropping(match: PolicyMatch, direction: XfrmDirection, kernel?: KernelPolicy): NewPolicy {
    return { ...this.#policy(match, direction, [], kernel), action: 'block' };
  }
}

function templates({ spec, line }: Claimant, source: string | undefined, destination: string): readonly XfrmTemplate[] {
  const { protocol, mode, ipcomp } = spec;
  const ends = mode === 'transport' ? {} : { source, destination };
  const secured = { protocol: protocol === 'AH' ? 'ah' : 'esp', reqid: line.reqid } as const;
  if (ipcomp === undefined) return [{ ...secured, mode, ...ends }];
  // RFC 3173 §2.2: what would not become smaller comes without
  const optional = source === undefined ? { optional: true } : {};
  return [
    { protocol: 'comp', mode, reqid: line.reqid, ...ends, ...optional },
    { ...secured, mode: 'transport' },
  ];
}

const out = ({ spec }: Claimant): string => `out ${spec.id}`;
const into = ({ spec }: Claimant): string => `in ${spec.id}`;
const trapped = (reqid: number): string => `trap ${reqid}`;
const shunt = ({ connection, name }: ChildSaSpec, matches: readonly PolicyMatch[]): string =>
  `shunt ${JSON.stringify([connection, name, matches])}`;

/** Owner of what the configuration says of packets that no SA carries. */
const SHUNTS = 'shunts';
