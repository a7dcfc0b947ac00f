import { DataPlaneError, formatIp, rangeToPrefixes } from '../../core/bytes/index.ts';
import { IpProtocol } from '../../core/packet/index.ts';
import type { AddressRangeSelector } from '../../core/wire/payloads/types.ts';
import { unlessMissing, unlessThere } from '../platform/linux/netlink/errors.ts';
import { addRule, isRuleAction, listRules, type NewRule, type PortRange, removeRule } from '../platform/linux/netlink/rules.ts';
import type { NetlinkSocket } from '../platform/linux/netlink/socket.ts';
import type { ShuntPolicy } from './data-plane.ts';

/**
 * Shunts (RFC 4301 §4.4.1: BYPASS and DISCARD) as routing rules. They are asked before the rules that lead into a tunnel: what is to bypass it
 * goes on behind those, as if there were no tunnel, and what is to be discarded goes no further. They stay when this process is killed, until the next plane
 * sweeps.
 */
export class ShuntRules {
  readonly #netlink: NetlinkSocket;
  readonly #table: number;
  readonly #ownMark: number | undefined;
  #standing = new Map<string, NewRule>();

  /**
   * @param table of the plane: by this number its rules are known
   * @param ownMark of what the tunnel itself sends, which no shunt is for
   */
  constructor(netlink: NetlinkSocket, table: number, ownMark?: number) {
    this.#netlink = netlink;
    this.#table = table;
    this.#ownMark = ownMark;
  }

  /** These and no others from now on. @throws DataPlaneError; the former ones stand then, and some of the new may */
  set(shunts: readonly ShuntPolicy[]): void {
    const wanted = new Map(this.#rulesOf(shunts).map((rule) => [JSON.stringify(rule), rule]));
    for (const [key, rule] of wanted) if (!this.#standing.has(key)) unlessThere(() => addRule(this.#netlink, rule));
    const former = this.#standing;
    this.#standing = wanted;
    // what they lead behind goes last
    for (const [key, rule] of [...former].reverse()) if (!wanted.has(key)) unlessMissing(() => removeRule(this.#netlink, rule));
  }

  close(): void {
    this.set([]);
  }

  #rulesOf(shunts: readonly ShuntPolicy[]): NewRule[] {
    const table = this.#table;
    const rules = shunts.flatMap((shunt) => matchesOf(shunt).map((match): NewRule => ({ ...match, table, ...ACTIONS[shunt.action] })));
    const families = new Set(rules.map(({ family }) => family));
    const around = [...families].flatMap((family): NewRule[] => [
      // where those go on that pass the tunnel
      { family, priority: BEHIND, table, action: 'nop' },
      ...(this.#ownMark === undefined ? [] : [{ family, priority: OWN_FIRST, table, mark: { value: this.#ownMark }, ...PAST }]),
    ]);
    return [...around, ...rules];
  }
}

/** What lives before ours left behind. @param isStale whether a table is of a plane that is gone */
export function sweepShunts(netlink: NetlinkSocket, isStale: (table: number) => boolean): void {
  for (const { family, priority, table, action, target } of listRules(netlink)) {
    if (priority < OWN_FIRST || priority > BEHIND || !isStale(table) || !isRuleAction(action) || action === 'table') continue;
    unlessMissing(() => removeRule(netlink, { family, priority, table, action, ...(target === undefined ? {} : { target }) }));
  }
}

type RuleMatch = Pick<NewRule, 'family' | 'priority' | 'from' | 'to' | 'ipProtocol' | 'sourcePorts' | 'destinationPorts'>;

/** @throws DataPlaneError `SELECTORS_UNSUPPORTED` */
function matchesOf({ localTs, remoteTs, child }: ShuntPolicy): RuleMatch[] {
  const matches: RuleMatch[] = [];
  for (const local of localTs)
    for (const remote of remoteTs) {
      if (!('start' in local && 'start' in remote) || local.type !== remote.type) continue;
      if (local.protocol !== 0 && remote.protocol !== 0 && local.protocol !== remote.protocol) continue;
      const rest = restOf(local, remote, child);
      for (const to of prefixesOf(remote))
        for (const from of prefixesOf(local)) {
          const open = 8 * remote.start.length - to.prefix;
          matches.push({
            ...rest,
            family: local.type === TS_IPV4 ? 4 : 6,
            // of several the narrower goes first
            priority: FIRST_PRIORITY + open,
            ...(to.prefix === 0 ? {} : { to: to.text }),
            ...(from.prefix === 0 ? {} : { from: from.text }),
          });
          if (matches.length > MOST_RULES)
            throw unsupported(child, `needs more than ${MOST_RULES} routing rules`, 'Name prefixes in place of ranges.');
        }
    }
  return matches;
}

function restOf(local: AddressRangeSelector, remote: AddressRangeSelector, child: string): Omit<RuleMatch, 'family' | 'priority'> {
  const protocol = local.protocol || remote.protocol;
  const [sourcePorts, destinationPorts] = [portsOf(local), portsOf(remote)];
  if (protocol === 0) return {};
  const looksAtPorts = sourcePorts !== undefined || destinationPorts !== undefined;
  if (looksAtPorts && (protocol === IpProtocol.ICMP || protocol === IpProtocol.IPV6_ICMP))
    throw unsupported(child, 'names types of ICMP, which routing rules do not know', 'Name the protocol as a whole: [icmp].');
  return {
    ipProtocol: protocol,
    ...(sourcePorts === undefined ? {} : { sourcePorts }),
    ...(destinationPorts === undefined ? {} : { destinationPorts }),
  };
}

const portsOf = ({ startPort, endPort }: AddressRangeSelector): PortRange | undefined =>
  startPort === 0 && endPort === 0xffff ? undefined : { first: startPort, last: endPort };

const prefixesOf = (ts: AddressRangeSelector): readonly { readonly text: string; readonly prefix: number }[] =>
  rangeToPrefixes(ts).map(({ start, prefix }) => ({ text: `${formatIp(start)}/${prefix}`, prefix }));

const unsupported = (child: string, why: string, hint: string): DataPlaneError =>
  new DataPlaneError(`the shunt ${child} ${why}`, { code: 'SELECTORS_UNSUPPORTED', backend: 'tun', hint });

const TS_IPV4 = 7;
const MOST_RULES = 512;
/** By the bits that the remote prefix leaves open, up to 128 behind it. */
const FIRST_PRIORITY = 4360;
/** Before the rules of tunnels (4500), and behind them (4511). */
const OWN_FIRST = FIRST_PRIORITY - 1;
const BEHIND = 4520;
const PAST = { action: 'goto', target: BEHIND } as const;
/** Local programs hear at once that it is not permitted. */
const ACTIONS = { bypass: PAST, discard: { action: 'prohibit' } } as const;
