import { Attributes, MessageWriter, NLM_F } from '../codec.ts';
import { HostReader, type HostWriter } from '../host-order.ts';
import { addressFamily, familyOf, type IpFamily, ipFamily } from '../ip.ts';
import type { NetlinkSocket } from '../socket.ts';
import { writeOffload, writeTags } from './states.ts';
import {
  DIRECTIONS,
  directionOf,
  MODES,
  modeOf,
  PROTOCOLS,
  protocolOf,
  readAddress,
  readLifetime,
  readMark,
  readSelector,
  readUse,
  writeAddress,
  writeId,
  writeLifetime,
  writeSelector,
  XFRM_MSG,
  XFRMA,
  type XfrmDirection,
  type XfrmLifetime,
  type XfrmMark,
  type XfrmMode,
  type XfrmProtocol,
  type XfrmSelector,
  type XfrmUse,
} from './structs.ts';

/** An entry of the kernel's SPD (RFC 4301 §4.4.1). `fwd` is for what arrives and is passed on, and has to be made like `in`. */
export interface PolicyId {
  readonly direction: XfrmDirection;
  readonly selector: XfrmSelector;
  readonly mark?: XfrmMark | undefined;
  readonly ifId?: number | undefined;
}

export interface NewPolicy extends PolicyId {
  /** `block` drops, in both of its meanings; `allow` without templates lets pass in clear, with them only through SAs. */
  readonly action: 'allow' | 'block';
  /** The lower goes first. */
  readonly priority: number;
  /** Which SAs, in the order in which they are applied to a packet that leaves. */
  readonly templates?: readonly XfrmTemplate[];
  readonly lifetime?: XfrmLifetime;
  /** A socket may have its own policy in its place. */
  readonly localOk?: boolean;
  /** ICMP errors about what the selector takes pass, too. */
  readonly icmp?: boolean;
  /** Index of the interface whose card has the policy as well, for SAs that it takes whole. Linux 6.2. */
  readonly offload?: number | undefined;
}

/** What an SA has to be for a policy. */
export interface XfrmTemplate {
  /** The ends of a tunnel; of transport none are needed. */
  readonly source?: string | undefined;
  readonly destination?: string | undefined;
  readonly protocol: XfrmProtocol;
  readonly mode: XfrmMode;
  /** 0 is any. */
  readonly reqid: number;
  /** A certain SA; 0 is any. */
  readonly spi?: number;
  /** Inbound: a packet may come without, as one that was not worth compressing does (RFC 3173 §2.2). */
  readonly optional?: boolean;
}

export interface XfrmPolicy extends Omit<Required<NewPolicy>, 'mark' | 'ifId' | 'lifetime' | 'offload'> {
  /** The kernel's number of it. */
  readonly index: number;
  readonly mark: XfrmMark | undefined;
  readonly ifId: number | undefined;
  readonly offload: number | undefined;
  readonly lifetime: Required<XfrmLifetime>;
  readonly use: XfrmUse;
}

/** @param replace one for the same packets, if there is one. @throws DataPlaneError `KERNEL_ENTRY_EXISTS` */
export function addPolicy(socket: NetlinkSocket, policy: NewPolicy, replace = false): void {
  const type = replace ? XFRM_MSG.UPDPOLICY : XFRM_MSG.NEWPOLICY;
  const request = new MessageWriter(type, replace ? NLM_F.REPLACE : NLM_F.CREATE | NLM_F.EXCL);
  writePolicy(request, policy);
  writeTemplates(request, policy);
  writeTags(request, policy);
  if (policy.offload !== undefined) writeOffload(request, { link: policy.offload, inbound: false, packet: true });
  socket.request(request, { attempt: `add ${described(policy)}` });
}

/** @throws DataPlaneError `KERNEL_ENTRY_MISSING` */
export function deletePolicy(socket: NetlinkSocket, policy: PolicyId): void {
  socket.request(policyRequest(XFRM_MSG.DELPOLICY, policy), { attempt: `delete ${described(policy)}` });
}

/** @throws DataPlaneError `KERNEL_ENTRY_MISSING` */
export function getPolicy(socket: NetlinkSocket, policy: PolicyId): XfrmPolicy | undefined {
  const [answer] = socket.request(policyRequest(XFRM_MSG.GETPOLICY, policy), { attempt: `read ${described(policy)}` });
  return answer && parsePolicy(answer.body);
}

/** Those of other programs as well, but not those of sockets. */
export function listPolicies(socket: NetlinkSocket): XfrmPolicy[] {
  return socket
    .dump(new MessageWriter(XFRM_MSG.GETPOLICY), { attempt: "list the kernel's policies" })
    .flatMap(({ body }) => parsePolicy(body) ?? []);
}

/** Removes all there are, whoever made them. */
export function flushPolicies(socket: NetlinkSocket): void {
  socket.request(new MessageWriter(XFRM_MSG.FLUSHPOLICY), { attempt: "remove the kernel's policies" });
}

/** `struct xfrm_userpolicy_info` and what stands behind it. Undefined for what is of no IP packet. */
export function parsePolicy(body: Uint8Array): XfrmPolicy | undefined {
  const reader = new HostReader(body, 'xfrm_userpolicy_info');
  const fixed = readPolicy(reader);
  return fixed && withTemplates(fixed, Attributes.parse(reader.rest()));
}

export type FixedPolicy = NonNullable<ReturnType<typeof readPolicy>>;

/** 168 octets. */
export function readPolicy(reader: HostReader) {
  const selector = readSelector(reader);
  const [lifetime, use] = [readLifetime(reader), readUse(reader)];
  const [priority, index, direction, action, flags] = [reader.u32(), reader.u32(), directionOf(reader.u8()), reader.u8(), reader.u8()];
  reader.skip(5);
  // those of sockets have numbers of their own for the direction
  if (selector === undefined || direction === undefined) return undefined;
  return {
    selector,
    lifetime,
    use,
    priority,
    index,
    direction,
    action: action === ACTIONS.block ? ('block' as const) : ('allow' as const),
    localOk: (flags & FLAGS.LOCALOK) !== 0,
    icmp: (flags & FLAGS.ICMP) !== 0,
  };
}

export function withTemplates(fixed: FixedPolicy, attributes: Attributes): XfrmPolicy {
  return {
    ...fixed,
    templates: readTemplates(attributes),
    mark: readMark(attributes.reader(XFRMA.MARK)),
    ifId: attributes.u32(XFRMA.IF_ID),
    offload: attributes.reader(XFRMA.OFFLOAD_DEV)?.u32(),
  };
}

function readTemplates(attributes: Attributes): XfrmTemplate[] {
  const reader = attributes.reader(XFRMA.TMPL);
  const templates: XfrmTemplate[] = [];
  while (reader !== undefined && reader.remaining >= TEMPLATE) {
    const template = readTemplate(reader);
    if (template !== undefined) templates.push(template);
  }
  return templates;
}

/** 168 octets. */
export function writePolicy(writer: HostWriter, policy: NewPolicy): void {
  writeSelector(writer, policy.selector);
  writeLifetime(writer, policy.lifetime);
  writer
    .zero(USE)
    .u32(policy.priority)
    .u32(0)
    .u8(DIRECTIONS[policy.direction])
    .u8(ACTIONS[policy.action])
    .u8((policy.localOk ? FLAGS.LOCALOK : 0) | (policy.icmp ? FLAGS.ICMP : 0))
    .zero(5);
}

/** `struct xfrm_userpolicy_id`: 64 octets, and what else tells policies of one selector apart. */
export function policyRequest(type: number, policy: PolicyId): MessageWriter {
  const request = new MessageWriter(type);
  writeSelector(request, policy.selector);
  request.u32(0).u8(DIRECTIONS[policy.direction]).zero(3);
  writeTags(request, policy);
  return request;
}

function writeTemplates(request: MessageWriter, { templates = [], selector }: NewPolicy): void {
  if (templates.length === 0) return;
  request.attribute(XFRMA.TMPL, (writer) => {
    for (const template of templates) writeTemplate(writer, template, selector.family);
  });
}

/** `struct xfrm_user_tmpl`: 64 octets. Whatever algorithms the SA has will do. */
function writeTemplate(writer: HostWriter, template: XfrmTemplate, inner: IpFamily): void {
  const { source, destination, protocol, mode } = template;
  const family = destination === undefined ? inner : familyOf(destination);
  writeId(writer, destination, template.spi ?? 0, PROTOCOLS[protocol]);
  writer.u16(addressFamily(family)).zero(2);
  writeAddress(writer, source);
  writer
    .u32(template.reqid)
    .u8(MODES[mode])
    .u8(0)
    .u8(template.optional ? 1 : 0)
    .zero(1)
    .u32(ALL_BITS)
    .u32(ALL_BITS)
    .u32(ALL_BITS);
}

function readTemplate(reader: HostReader): XfrmTemplate | undefined {
  const [to, spi, protocol] = [reader.bytes(16), reader.network32(), protocolOf(reader.u8())];
  const family = ipFamily(reader.skip(3).u16());
  const from = reader.skip(2).bytes(16);
  const [reqid, mode, , optional] = [reader.u32(), modeOf(reader.u8()), reader.u8(), reader.u8()];
  reader.skip(13);
  if (family === undefined || protocol === undefined || mode === undefined) return undefined;
  const ip = (octets: Uint8Array): string | undefined =>
    octets.every((octet) => octet === 0) ? undefined : readAddress(new HostReader(octets, 'xfrm_address_t'), family);
  return { source: ip(from), destination: ip(to), protocol, mode, reqid, spi, optional: optional !== 0 };
}

const described = ({ direction, selector }: PolicyId): string => {
  const any = selector.family === 4 ? '0.0.0.0/0' : '::/0';
  return `the kernel's policy ${direction} from ${selector.source ?? any} to ${selector.destination ?? any}`;
};

const ACTIONS = { allow: 0, block: 1 } as const;
const FLAGS = { LOCALOK: 1, ICMP: 2 } as const;
const TEMPLATE = 64;
const USE = 32;
const ALL_BITS = 0xffff_ffff;
