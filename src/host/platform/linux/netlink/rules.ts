import { ApiMisuse } from '../../../../core/bytes/index.ts';
import { Attributes, MessageWriter, type NetlinkMessage, NLM_F } from './codec.ts';
import { HostReader } from './host-order.ts';
import { AF_UNSPEC, addressFamily, formatPrefix, type IpFamily, ipFamily, parsePrefix } from './ip.ts';
import { RTM } from './links.ts';
import type { NetlinkSocket } from './socket.ts';

/** What decides which table a packet is looked up in (rtnetlink(7), RTM_NEWRULE). Rules are asked by their priority, the lowest first. */
export interface Rule {
  readonly family: IpFamily;
  readonly priority: number;
  readonly action: RuleAction | number;
  /** 0 for an action without one. */
  readonly table: number;
  readonly from: string | undefined;
  readonly to: string | undefined;
  readonly mark: Mark | undefined;
  readonly inputLink: string | undefined;
  readonly outputLink: string | undefined;
  /** It is for packets that do not fit. */
  readonly inverted: boolean;
  /**
   * A route with so short a prefix does not count, and the next rule is asked: 0 passes over default routes, so that what lies nearer,
   * as the local network does, keeps its way beside a tunnel that takes everything.
   */
  readonly suppressPrefixLength: number | undefined;
  /** Who made it, as of routes; 0 where nobody said. */
  readonly protocol: number;
  /** Of `goto`: the priority to go on with. */
  readonly target: number | undefined;
}

export interface Mark {
  readonly value: number;
  /** All bits unless given. */
  readonly mask?: number;
}

/** Ports from the first to the last. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

export type RuleAction = 'table' | 'goto' | 'nop' | 'blackhole' | 'unreachable' | 'prohibit';

export interface NewRule {
  readonly family: IpFamily;
  readonly priority: number;
  /** `table` unless given, which then has to be there. */
  readonly action?: RuleAction;
  readonly table?: number;
  readonly from?: string;
  readonly to?: string;
  readonly mark?: Mark;
  readonly inputLink?: string;
  readonly outputLink?: string;
  readonly inverted?: boolean;
  readonly suppressPrefixLength?: number;
  /** A number of one's own finds again what a former run left behind. */
  readonly protocol?: number;
  readonly target?: number;
  /** Of the packet; with ports Linux 4.17. */
  readonly ipProtocol?: number;
  readonly sourcePorts?: PortRange;
  readonly destinationPorts?: PortRange;
}

/** @throws DataPlaneError `KERNEL_ENTRY_EXISTS` */
export function addRule(socket: NetlinkSocket, rule: NewRule): void {
  socket.request(ruleRequest(RTM.NEWRULE, NLM_F.CREATE | NLM_F.EXCL, rule), { attempt: `add the routing rule ${rule.priority}` });
}

/** Removes the one that fits all that is given. @throws DataPlaneError `KERNEL_ENTRY_MISSING` */
export function removeRule(socket: NetlinkSocket, rule: NewRule): void {
  socket.request(ruleRequest(RTM.DELRULE, 0, rule), { attempt: `remove the routing rule ${rule.priority}` });
}

export function listRules(socket: NetlinkSocket, family?: IpFamily): Rule[] {
  const request = new MessageWriter(RTM.GETRULE).u8(family === undefined ? AF_UNSPEC : addressFamily(family)).zero(11);
  return socket
    .dump(request, { attempt: 'list the routing rules' })
    .flatMap((message) => (message.type === RTM.NEWRULE ? (parseRule(message) ?? []) : []));
}

export const isRuleAction = (action: Rule['action']): action is RuleAction => typeof action === 'string';

/** RTM_NEWRULE and RTM_DELRULE; undefined for another family than IP. */
export function parseRule({ body }: NetlinkMessage): Rule | undefined {
  const head = new HostReader(body, 'fib_rule_hdr');
  const [family, toLength, fromLength, , table] = [ipFamily(head.u8()), head.u8(), head.u8(), head.u8(), head.u8()];
  const [action, flags] = [head.skip(2).u8(), head.u32()];
  const attributes = Attributes.parse(head.rest());
  if (family === undefined) return undefined;
  const [from, to] = [attributes.bytes(FRA.SRC), attributes.bytes(FRA.DST)];
  const mark = attributes.u32(FRA.FWMARK);
  const suppress = attributes.u32(FRA.SUPPRESS_PREFIXLEN);
  return {
    family,
    priority: attributes.u32(FRA.PRIORITY) ?? 0,
    action: ACTION_NAMES.get(action) ?? action,
    table: attributes.u32(FRA.TABLE) ?? table,
    from: from && formatPrefix(from, fromLength),
    to: to && formatPrefix(to, toLength),
    mark: mark === undefined ? undefined : { value: mark, mask: attributes.u32(FRA.FWMASK) ?? ALL_BITS },
    inputLink: attributes.text(FRA.IIFNAME),
    outputLink: attributes.text(FRA.OIFNAME),
    inverted: (flags & FIB_RULE_INVERT) !== 0,
    suppressPrefixLength: suppress === ALL_BITS ? undefined : suppress,
    protocol: attributes.u8(FRA.PROTOCOL) ?? 0,
    target: attributes.u32(FRA.GOTO),
  };
}

/** `struct fib_rule_hdr`. */
function ruleRequest(type: number, mode: number, rule: NewRule): MessageWriter {
  const { family, mark } = rule;
  const [from, to] = [prefixOf(rule.from, family), prefixOf(rule.to, family)];
  const action = rule.action ?? 'table';
  if (action === 'table' && rule.table === undefined) throw new ApiMisuse(`the routing rule ${rule.priority} needs a table`);
  const table = rule.table ?? 0;
  const request = new MessageWriter(type, mode)
    .u8(addressFamily(family))
    .u8(to?.length ?? 0)
    .u8(from?.length ?? 0)
    .u8(0)
    .u8(table < 256 ? table : 0)
    .zero(2)
    .u8(ACTIONS[action])
    .u32(rule.inverted ? FIB_RULE_INVERT : 0)
    .attributeU32(FRA.PRIORITY, rule.priority);
  if (table !== 0) request.attributeU32(FRA.TABLE, table);
  if (to !== undefined) request.attribute(FRA.DST, to.address);
  if (from !== undefined) request.attribute(FRA.SRC, from.address);
  if (mark !== undefined) request.attributeU32(FRA.FWMARK, mark.value).attributeU32(FRA.FWMASK, mark.mask ?? ALL_BITS);
  if (rule.inputLink !== undefined) request.attributeText(FRA.IIFNAME, rule.inputLink);
  if (rule.outputLink !== undefined) request.attributeText(FRA.OIFNAME, rule.outputLink);
  if (rule.suppressPrefixLength !== undefined) request.attributeU32(FRA.SUPPRESS_PREFIXLEN, rule.suppressPrefixLength);
  if (rule.protocol !== undefined) request.attributeU8(FRA.PROTOCOL, rule.protocol);
  if (rule.target !== undefined) request.attributeU32(FRA.GOTO, rule.target);
  if (rule.ipProtocol !== undefined) request.attributeU8(FRA.IP_PROTO, rule.ipProtocol);
  for (const [type, ports] of [
    [FRA.SPORT_RANGE, rule.sourcePorts],
    [FRA.DPORT_RANGE, rule.destinationPorts],
  ] as const)
    if (ports !== undefined) request.attribute(type, (range) => range.u16(ports.first).u16(ports.last));
  return request;
}

function prefixOf(text: string | undefined, family: IpFamily): ReturnType<typeof parsePrefix> | undefined {
  if (text === undefined) return undefined;
  const prefix = parsePrefix(text);
  if (prefix.family !== family) throw new ApiMisuse(`${text} is not of IPv${family}`, { code: 'NOT_A_PREFIX' });
  return prefix;
}

const ACTIONS: Readonly<Record<RuleAction, number>> = { table: 1, goto: 2, nop: 3, blackhole: 6, unreachable: 7, prohibit: 8 };
const ACTION_NAMES: ReadonlyMap<number, RuleAction> = new Map(
  Object.entries(ACTIONS).map(([name, number]) => [number, name as RuleAction]),
);
const FRA = {
  DST: 1,
  SRC: 2,
  IIFNAME: 3,
  GOTO: 4,
  PRIORITY: 6,
  FWMARK: 10,
  SUPPRESS_PREFIXLEN: 14,
  TABLE: 15,
  FWMASK: 16,
  OIFNAME: 17,
  PROTOCOL: 21,
  IP_PROTO: 22,
  SPORT_RANGE: 23,
  DPORT_RANGE: 24,
} as const;
const FIB_RULE_INVERT = 2;
const ALL_BITS = 0xffff_ffff;
