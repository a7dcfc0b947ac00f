import { ApiMisuse, DataPlaneError } from '../../../../../core/bytes/index.ts';
import { Attributes, MessageWriter, type NetlinkMessage, NLM_F } from '../codec.ts';
import type { Refusals } from '../errors.ts';
import { HostReader } from '../host-order.ts';
import { addressFamily, familyOf, ipFamily } from '../ip.ts';
import type { NetlinkSocket } from '../socket.ts';
import { readAlgorithms, writeAlgorithms, writeCompression, type XfrmAlgorithms, type XfrmKeys } from './algorithms.ts';
import { REFUSALS } from './refusals.ts';
import { isSmall, readReplay, writeReplay, type XfrmSequence } from './replay.ts';
import {
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
  writeMark,
  writeSelector,
  writeStateId,
  XFRM_MSG,
  XFRMA,
  type XfrmLifetime,
  type XfrmMark,
  type XfrmMode,
  type XfrmProtocol,
  type XfrmSelector,
  type XfrmStateId,
  type XfrmUse,
} from './structs.ts';

/** An SA of the kernel (RFC 4301 §4.4.2): one direction. */
export interface NewState extends XfrmStateId {
  readonly source: string;
  readonly mode: XfrmMode;
  /** By which policies find it. */
  readonly reqid: number;
  /** Of ESP and AH. */
  readonly keys?: XfrmKeys;
  /** What it may carry; a tunnel without one takes both families, transport all between its ends. */
  readonly selector?: XfrmSelector;
  readonly lifetime?: XfrmLifetime;
  /** Packets; no check unless given. With ESN the kernel wants one in both directions, and 32 is taken. */
  readonly replayWindow?: number;
  readonly esn?: boolean;
  /** Where it goes on from. */
  readonly sequence?: XfrmSequence;
  readonly encap?: XfrmEncap | undefined;
  readonly flags?: XfrmStateFlags;
  /** Octets up to which inner packets are filled (RFC 4303 §2.7). */
  readonly tfcPad?: number;
  /** Mark of what leaves it: of encrypted packets outbound, of decrypted ones inbound. */
  readonly setMark?: XfrmMark;
  readonly offload?: XfrmOffload;
  /** Seconds in which a new address of the peer is told once at most; every change unless given. */
  readonly mappingSeconds?: number;
}

/** ESP in UDP (RFC 3948) or TCP (RFC 9329). */
export interface XfrmEncap {
  /** `udp` unless given. */
  readonly kind?: 'udp' | 'tcp';
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export interface XfrmOffload {
  readonly link: number;
  readonly inbound: boolean;
  /** The device does policies and headers as well, not the cipher alone. Linux 6.2. */
  readonly packet: boolean;
}

export interface XfrmStateFlags {
  /** The ECN field is not copied out of what arrives (RFC 6040 has it copied). */
  readonly noEcn?: boolean;
  /** What arrives keeps the DSCP of its outer header. */
  readonly decapDscp?: boolean;
  /** Outer packets may be fragmented, and nobody is told of a smaller path MTU. */
  readonly noPmtuDisc?: boolean;
  readonly wildRecv?: boolean;
  /** ICMP errors about what the selector takes pass, too. */
  readonly icmp?: boolean;
  /** AH is a multiple of 32 bits, as RFC 4302 §2.6 has it over IPv4, and not of 64, as over IPv6. */
  readonly align4?: boolean;
  /** The outer header has a DSCP of 0 (RFC 4301 §5.1.2.1 lets one choose). */
  readonly dontEncapDscp?: boolean;
  /** The sequence number may begin anew, for keys by hand. Never with IKE (RFC 4303 §3.3.3). */
  readonly sequenceMayWrap?: boolean;
}

export interface XfrmState extends XfrmStateId {
  readonly source: string;
  readonly mode: XfrmMode;
  readonly reqid: number;
  readonly selector: XfrmSelector | undefined;
  readonly lifetime: Required<XfrmLifetime>;
  readonly use: XfrmUse;
  /** Packets that were too old or came twice, and whose ICV was wrong. */
  readonly replayed: number;
  readonly notAuthentic: number;
  readonly replayWindow: number;
  readonly esn: boolean;
  readonly sequence: XfrmSequence;
  readonly algorithms: XfrmAlgorithms;
  readonly encap: XfrmEncap | undefined;
  readonly flags: Required<XfrmStateFlags>;
  readonly setMark: XfrmMark | undefined;
  /** Seconds since the epoch; undefined where it was never used or the kernel does not say. */
  readonly lastUsed: number | undefined;
  readonly offload: XfrmOffload | undefined;
}

/** @throws DataPlaneError `KERNEL_LACKS_ESP`, `KERNEL_LACKS_AH`, `KERNEL_LACKS_IPCOMP`, `KERNEL_LACKS_ALGORITHM`, `KERNEL_ENTRY_EXISTS` */
export function addState(socket: NetlinkSocket, state: NewState): void {
  socket.request(stateRequest(XFRM_MSG.NEWSA, NLM_F.CREATE | NLM_F.EXCL, state), attempt('add', state));
}

/** Fills one that `allocateSpi` reserved, or changes lifetime, encapsulation, marks and selector of one that stands; keys stay as they are. */
export function updateState(socket: NetlinkSocket, state: NewState): void {
  socket.request(stateRequest(XFRM_MSG.UPDSA, NLM_F.REPLACE, state), attempt('update', state));
}

/** @throws DataPlaneError `KERNEL_ENTRY_MISSING` */
export function deleteState(socket: NetlinkSocket, id: XfrmStateId): void {
  socket.request(idRequest(XFRM_MSG.DELSA, id), attempt('delete', id));
}

/** @throws DataPlaneError `KERNEL_ENTRY_MISSING` */
export function getState(socket: NetlinkSocket, id: XfrmStateId): XfrmState {
  const [answer] = socket.request(idRequest(XFRM_MSG.GETSA, id), attempt('read', id));
  try {
    const state = answer && parseState(answer.body);
    if (state === undefined) throw new DataPlaneError(`the kernel gave no SA for ${described(id)}`, { code: 'KERNEL_ENTRY_MISSING' });
    return state;
  } finally {
    wipe(answer);
  }
}

/** Those of other programs as well. */
export function listStates(socket: NetlinkSocket): XfrmState[] {
  const answers = socket.dump(new MessageWriter(XFRM_MSG.GETSA), { attempt: "list the kernel's SAs" });
  try {
    return answers.flatMap(({ body }) => parseState(body) ?? []);
  } finally {
    answers.forEach(wipe);
  }
}

/** Removes all of a protocol, or all there are, whoever made them. */
export function flushStates(socket: NetlinkSocket, protocol?: XfrmProtocol): void {
  const request = new MessageWriter(XFRM_MSG.FLUSHSA).u8(protocol === undefined ? ANY_PROTOCOL : PROTOCOLS[protocol]);
  socket.request(request, { attempt: "remove the kernel's SAs" });
}

/**
 * Reserves an SPI that no other SA to `destination` has, for `updateState` to fill; it is given up again after 30 s or so
 * (`net.core.xfrm_acq_expires`).
 */
export function allocateSpi(
  socket: NetlinkSocket,
  state: Pick<NewState, 'source' | 'destination' | 'protocol' | 'mode' | 'reqid' | 'ifId' | 'mark'>,
  range: { readonly min: number; readonly max: number } = { min: 0xc000_0000, max: 0xcfff_ffff },
): number {
  const request = new MessageWriter(XFRM_MSG.ALLOCSPI);
  writeState(request, { ...state, spi: 0 });
  request.u32(range.min).u32(range.max);
  writeTags(request, state);
  const [answer] = socket.request(request, attempt('reserve an SPI for', { ...state, spi: 0 }));
  const reserved = answer && parseState(answer.body);
  if (reserved === undefined) throw new DataPlaneError('the kernel reserved no SPI', { code: 'KERNEL_REFUSED' });
  return reserved.spi;
}

/** `struct xfrm_usersa_info` and what stands behind it. Undefined for what is not IPsec. */
export function parseState(body: Uint8Array): XfrmState | undefined {
  const reader = new HostReader(body, 'xfrm_usersa_info');
  const fixed = readState(reader);
  if (fixed === undefined) return undefined;
  // ALLOCSPI and EXPIRE have more between the two, of which nothing is an attribute that we ask for
  const attributes = Attributes.parse(reader.rest());
  return withAttributes(fixed, attributes);
}

export type FixedState = NonNullable<ReturnType<typeof readState>>;

/** The 224 octets of `struct xfrm_usersa_info` alone. */
export function readState(reader: HostReader) {
  const selector = readSelector(reader);
  const [destination, spi, protocol, source] = [reader.bytes(16), reader.network32(), protocolOf(reader.u8()), reader.skip(3).bytes(16)];
  const [lifetime, use] = [readLifetime(reader), readUse(reader)];
  const [, replayed, notAuthentic] = [reader.u32(), reader.u32(), reader.u32()];
  const [, reqid, family, mode, replayWindow, flags] = [
    reader.u32(),
    reader.u32(),
    ipFamily(reader.u16()),
    modeOf(reader.u8()),
    reader.u8(),
    reader.u8(),
  ];
  reader.skip(7);
  if (family === undefined || protocol === undefined || mode === undefined) return undefined;
  const ip = (octets: Uint8Array): string => readAddress(new HostReader(octets, 'xfrm_address_t'), family);
  return {
    destination: ip(destination),
    source: ip(source),
    spi,
    protocol,
    mode,
    reqid,
    selector: (flags & FLAGS.AF_UNSPEC) === 0 && !isEmpty(selector) ? selector : undefined,
    lifetime,
    use,
    replayed,
    notAuthentic,
    replayWindow,
    esn: (flags & FLAGS.ESN) !== 0,
    flags,
  };
}

export function withAttributes(fixed: FixedState, attributes: Attributes): XfrmState {
  const { sequence, window } = readReplay(attributes);
  const encap = attributes.reader(XFRMA.ENCAP);
  const offload = attributes.reader(XFRMA.OFFLOAD_DEV);
  const setMark = attributes.u32(XFRMA.SET_MARK);
  const extra = attributes.u32(XFRMA.SA_EXTRA_FLAGS) ?? 0;
  return {
    ...fixed,
    replayWindow: window ?? fixed.replayWindow,
    sequence,
    algorithms: readAlgorithms(attributes),
    encap: encap && {
      kind: encap.u16() === ENCAP.tcp ? 'tcp' : 'udp',
      sourcePort: encap.network16(),
      destinationPort: encap.network16(),
    },
    flags: {
      ...(Object.fromEntries(STATE_FLAGS.map(([name, bit]) => [name, (fixed.flags & bit) !== 0])) as Required<XfrmStateFlags>),
      dontEncapDscp: (extra & EXTRA.DONT_ENCAP_DSCP) !== 0,
      sequenceMayWrap: (extra & EXTRA.OSEQ_MAY_WRAP) !== 0,
    },
    mark: readMark(attributes.reader(XFRMA.MARK)),
    setMark: setMark === undefined ? undefined : { value: setMark, mask: attributes.u32(XFRMA.SET_MARK_MASK) ?? 0xffff_ffff },
    ifId: attributes.u32(XFRMA.IF_ID),
    lastUsed: attributes.has(XFRMA.LASTUSED) ? Number(attributes.u64(XFRMA.LASTUSED)) : undefined,
    offload: offload && offloadOf(offload),
  };
}

/** `struct xfrm_usersa_id` with what else tells SAs of one SPI apart. */
export function idRequest(type: number, id: XfrmStateId): MessageWriter {
  const request = new MessageWriter(type);
  writeStateId(request, id);
  writeTags(request, id);
  return request;
}

export function writeTags(
  request: MessageWriter,
  { mark, ifId }: { readonly mark?: XfrmMark | undefined; readonly ifId?: number | undefined },
): void {
  if (mark !== undefined) request.attribute(XFRMA.MARK, writeMark(mark));
  if (ifId !== undefined && ifId !== 0) request.attributeU32(XFRMA.IF_ID, ifId);
}

/** `struct xfrm_encap_tmpl`; the original address, which only transport mode behind a NAT would use, is left out. */
export function writeEncap(request: MessageWriter, { kind = 'udp', sourcePort, destinationPort }: XfrmEncap): void {
  request.attribute(XFRMA.ENCAP, (writer) => writer.u16(ENCAP[kind]).network16(sourcePort).network16(destinationPort).zero(18));
}

/** `struct xfrm_user_offload`. */
export function writeOffload(request: MessageWriter, { link, inbound, packet }: XfrmOffload): void {
  const bits = (inbound ? OFFLOAD.INBOUND : 0) | (packet ? OFFLOAD.PACKET : 0);
  request.attribute(XFRMA.OFFLOAD_DEV, (writer) => writer.u32(link).u8(bits).zero(3));
}

function stateRequest(type: number, mode: number, state: NewState): MessageWriter {
  if ((state.protocol === 'comp') === (state.keys !== undefined))
    throw new ApiMisuse(state.keys ? 'IPComp takes no keys' : `an SA of ${state.protocol} needs keys`);
  const request = new MessageWriter(type, mode);
  writeState(request, state);
  if (state.keys) writeAlgorithms(request, state.keys);
  else writeCompression(request);
  writeReplay(request, replayOf(state));
  if (state.encap) writeEncap(request, state.encap);
  writeTags(request, state);
  writeExtras(request, state);
  return request;
}

function writeExtras(request: MessageWriter, { tfcPad, setMark, offload, mappingSeconds, flags = {} }: NewState): void {
  const extra = (flags.dontEncapDscp ? EXTRA.DONT_ENCAP_DSCP : 0) | (flags.sequenceMayWrap ? EXTRA.OSEQ_MAY_WRAP : 0);
  if (extra !== 0) request.attributeU32(XFRMA.SA_EXTRA_FLAGS, extra);
  if (tfcPad) request.attributeU32(XFRMA.TFCPAD, tfcPad);
  if (setMark) request.attributeU32(XFRMA.SET_MARK, setMark.value).attributeU32(XFRMA.SET_MARK_MASK, setMark.mask ?? 0xffff_ffff);
  if (mappingSeconds) request.attributeU32(XFRMA.MTIMER_THRESH, mappingSeconds);
  if (offload) writeOffload(request, offload);
}

/** `struct xfrm_usersa_info`. */
function writeState(request: MessageWriter, state: Omit<NewState, 'keys'>): void {
  const replay = replayOf(state);
  const family = addressFamily(familyOf(state.destination));
  if (state.selector) writeSelector(request, state.selector);
  else request.zero(SELECTOR);
  writeId(request, state.destination, state.spi, PROTOCOLS[state.protocol]);
  writeAddress(request, state.source);
  writeLifetime(request, state.lifetime);
  request.zero(USE + STATISTICS + 4);
  request
    .u32(state.reqid)
    .u16(family)
    .u8(MODES[state.mode])
    .u8(isSmall(replay) ? replay.window : 0)
    .u8(flagsOf(state))
    .zero(7);
}

function flagsOf({ flags = {}, esn, mode, selector }: Omit<NewState, 'keys'>): number {
  let bits = esn ? FLAGS.ESN : 0;
  for (const [name, bit] of STATE_FLAGS) if (flags[name]) bits |= bit;
  // without a selector the family of the inner packets is not that of the ends
  if (mode !== 'transport' && selector === undefined) bits |= FLAGS.AF_UNSPEC;
  return bits;
}

const replayOf = ({ replayWindow = 0, esn = false, sequence }: Omit<NewState, 'keys'>) => ({
  window: replayWindow || (esn ? 32 : 0),
  esn,
  ...(sequence ? { sequence } : {}),
});

const isEmpty = (selector: XfrmSelector | undefined): boolean =>
  selector === undefined ||
  (/\/0$/.test(selector.source ?? '/0') &&
    /\/0$/.test(selector.destination ?? '/0') &&
    !selector.protocol &&
    !selector.sourcePort &&
    !selector.destinationPort &&
    !selector.link);

function offloadOf(reader: HostReader): XfrmOffload {
  const [link, bits] = [reader.u32(), reader.u8()];
  return { link, inbound: (bits & OFFLOAD.INBOUND) !== 0, packet: (bits & OFFLOAD.PACKET) !== 0 };
}

/** It came with the keys. */
const wipe = (message: NetlinkMessage | undefined): void => void message?.body.fill(0);

const described = ({ protocol, spi, destination }: XfrmStateId): string =>
  `${protocol === 'comp' ? 'IPComp' : protocol.toUpperCase()} ${spi.toString(16).padStart(8, '0')} to ${destination}`;

const attempt = (verb: string, id: XfrmStateId): { readonly attempt: string; readonly refusals: Refusals } => ({
  attempt: `${verb} the kernel's SA ${described(id)}`,
  refusals: REFUSALS[id.protocol],
});

const STATE_FLAGS = [
  ['noEcn', 1],
  ['decapDscp', 2],
  ['noPmtuDisc', 4],
  ['wildRecv', 8],
  ['icmp', 16],
  ['align4', 64],
] as const;
const FLAGS = { AF_UNSPEC: 32, ESN: 128 } as const;
const EXTRA = { DONT_ENCAP_DSCP: 1, OSEQ_MAY_WRAP: 2 } as const;
const OFFLOAD = { INBOUND: 2, PACKET: 4 } as const;
/** UDP_ENCAP_ESPINUDP, TCP_ENCAP_ESPINTCP. */
const ENCAP = { udp: 2, tcp: 7 } as const;
/** IPSEC_PROTO_ANY. */
const ANY_PROTOCOL = 255;
const SELECTOR = 56;
const USE = 32;
const STATISTICS = 12;
