import { isIpv6 } from '../../../core/bytes/index.ts';
import { IpProtocol } from '../../../core/packet/index.ts';
import { isThere } from '../../platform/linux/netlink/errors.ts';
import type { NewPolicy, XfrmTemplate } from '../../platform/linux/netlink/xfrm/policies.ts';
import type { XfrmDirection } from '../../platform/linux/netlink/xfrm/structs.ts';
import { type PolicyTable, priorityOf, Rank } from './policy-table.ts';
import { type PolicyMatch, selectorOf } from './selectors.ts';

/** What goes beside the SAs in clear (RFC 4301 §4.4.1, BYPASS), since without it the machine would lose its own link. */
export class Passing {
  readonly #policies: PolicyTable;
  readonly #share: number;
  readonly #neighbours: () => readonly string[];
  #networks: readonly string[] | undefined;
  #discovery = false;

  /** @param neighbours networks that this machine is on, as prefixes */
  constructor(policies: PolicyTable, share: number, neighbours: () => readonly string[]) {
    this.#policies = policies;
    this.#share = share;
    this.#neighbours = neighbours;
  }

  /** Before policies for these packets stand. */
  beside(matches: readonly PolicyMatch[]): void {
    // a tunnel that takes everything leaves the networks alone that this machine is on
    if (matches.some(({ remote }) => remote.endsWith('/0'))) {
      this.#networks ??= [];
      this.refresh();
    }
    if (this.#discovery || !matches.some(({ family }) => family === 6)) return;
    this.#discovery = true;
    // RFC 4861: without it IKE itself would not find its peer on a link, nor the next router
    for (const type of NEIGHBOUR_DISCOVERY) this.#pass(discovery(type), ['in', 'out']);
  }

  /** Networks come and go. */
  refresh(): void {
    const before = this.#networks;
    if (before === undefined) return;
    this.#networks = [...new Set(this.#neighbours())];
    for (const network of this.#networks) if (!before.includes(network)) this.#pass(everythingTo(network), EVERY_WAY);
    for (const network of before) if (!this.#networks.includes(network)) this.#policies.release(ownerOf(everythingTo(network)));
  }

  #pass(match: PolicyMatch, ways: readonly XfrmDirection[]): void {
    try {
      this.#policies.claim(
        ownerOf(match),
        Rank.PASSING,
        ways.map((way) => policyFor(match, way, this.#share, [])),
      );
    } catch (error) {
      // another program, or another of these planes, lets it pass already, or has its reasons not to
      if (!isThere(error)) throw error;
    }
  }
}

/** A policy of ours: through these SAs, or in clear where there is no template. @param first as in `priorityOf` */
export const policyFor = (
  match: PolicyMatch,
  direction: XfrmDirection,
  share: number,
  templates: readonly XfrmTemplate[],
  first = false,
): NewPolicy => ({
  direction,
  action: 'allow',
  priority: priorityOf(match.breadth, share, first),
  selector: selectorOf(match, direction),
  templates,
});

const ownerOf = (match: PolicyMatch): string => `pass ${JSON.stringify(match)}`;

/** From wherever it comes. */
function everythingTo(network: string): PolicyMatch {
  const [v6, bits] = isIpv6(network.split('/')[0]!) ? [true, 128] : [false, 32];
  const open = bits - Number(network.split('/')[1]);
  const any = { protocol: 0, localPort: undefined, remotePort: undefined } as const;
  return { ...any, family: v6 ? 6 : 4, local: v6 ? '::/0' : '0.0.0.0/0', remote: network, breadth: open * 1024 + bits * 4 + 3 };
}

/** Before all others: the narrowest there is. */
const discovery = (type: number): PolicyMatch => ({
  family: 6,
  local: '::/0',
  remote: '::/0',
  protocol: IpProtocol.IPV6_ICMP,
  localPort: { port: type },
  remotePort: undefined,
  breadth: 0,
});

export const EVERY_WAY: readonly XfrmDirection[] = ['out', 'in', 'fwd'];
/** Router and neighbour solicitations and advertisements, redirects. */
const NEIGHBOUR_DISCOVERY = [133, 134, 135, 136, 137];
