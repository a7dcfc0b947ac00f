import { Attributes, type NetlinkMessage } from '../codec.ts';
import { HostReader } from '../host-order.ts';
import type { IpFamily } from '../ip.ts';
import { NetlinkMonitor } from '../monitor.ts';
import type { NetlinkOptions } from '../socket.ts';
import { parseAccounting, type XfrmAccounting } from './accounting.ts';
import { type MigrationEvent, parseMigration } from './migrate.ts';
import { parsePolicy, readPolicy, withTemplates, type XfrmPolicy } from './policies.ts';
import { parseState, readState, withAttributes, type XfrmState } from './states.ts';
import {
  protocolOf,
  readAddress,
  readSelector,
  readStateId,
  XFRM_MSG,
  XFRMA,
  type XfrmProtocol,
  type XfrmSelector,
  type XfrmStateId,
} from './structs.ts';

/** What the kernel tells of its SAs and policies by itself. Keys are in no event. */
export type XfrmEvent =
  /** A packet met a policy and found no SA. It waits, or was dropped (`net.core.xfrm_larval_drop`). */
  | {
      readonly kind: 'acquire';
      readonly policy: XfrmPolicy;
      /** Of the packet: its addresses, protocol and ports. */
      readonly selector: XfrmSelector;
      readonly source: string;
      readonly destination: string;
      readonly protocol: XfrmProtocol;
      /** Names the larval SA that stands for the one to come. */
      readonly sequence: number;
    }
  /** A limit of an SA was reached; a hard one deleted it. */
  | { readonly kind: 'expire'; readonly hard: boolean; readonly state: XfrmState }
  | { readonly kind: 'policy-expire'; readonly hard: boolean; readonly policy: XfrmPolicy }
  /** The peer sends ESP in UDP from another address or port than before, and authentic: its NAT gave it a new one. */
  | {
      readonly kind: 'mapping';
      readonly id: XfrmStateId;
      readonly reqid: number;
      readonly oldSource: string;
      readonly oldPort: number;
      readonly newSource: string;
      readonly newPort: number;
    }
  | ({ readonly kind: 'migrate' } & MigrationEvent)
  | { readonly kind: 'accounting'; readonly accounting: XfrmAccounting }
  | { readonly kind: 'report'; readonly protocol: XfrmProtocol; readonly selector: XfrmSelector }
  | { readonly kind: 'state'; readonly change: 'new' | 'updated' | 'deleted'; readonly state: XfrmState }
  | { readonly kind: 'states-flushed'; readonly protocol: XfrmProtocol | undefined }
  | { readonly kind: 'policy'; readonly change: 'new' | 'updated' | 'deleted'; readonly policy: XfrmPolicy }
  | { readonly kind: 'policies-flushed' };

export interface XfrmHandlers {
  readonly onEvent: (event: XfrmEvent) => void;
  /** Events were missed: read everything again. */
  readonly onLost: () => void;
}

/** Groups of what a data plane acts upon, and of what others do. */
export type XfrmGroup = keyof typeof GROUPS;

/** Hears of events of these groups. Needs CAP_NET_ADMIN. @throws DataPlaneError as `NetlinkSocket.open` does */
export function watchXfrm(
  groups: readonly XfrmGroup[],
  { onEvent, onLost }: XfrmHandlers,
  options: NetlinkOptions = {},
): Promise<NetlinkMonitor> {
  const onMessage = (message: NetlinkMessage): void => {
    const event = parseEvent(message);
    if (event !== undefined) onEvent(event);
  };
  return NetlinkMonitor.open(
    'xfrm',
    groups.map((group) => GROUPS[group]),
    { onMessage, onLost },
    options,
  );
}

/** Undefined for messages of other kinds, and of what is not IPsec. */
export function parseEvent({ type, body }: NetlinkMessage): XfrmEvent | undefined {
  switch (type) {
    case XFRM_MSG.ACQUIRE:
      return parseAcquire(body);
    case XFRM_MSG.EXPIRE:
      return parseExpire(body);
    case XFRM_MSG.POLEXPIRE:
      return parsePolicyExpire(body);
    case XFRM_MSG.MAPPING:
      return parseMapping(body);
    case XFRM_MSG.MIGRATE: {
      const migration = parseMigration(body);
      return migration && { kind: 'migrate', ...migration };
    }
    case XFRM_MSG.NEWAE: {
      const accounting = parseAccounting(body);
      return accounting && { kind: 'accounting', accounting };
    }
    case XFRM_MSG.REPORT:
      return parseReport(body);
    case XFRM_MSG.NEWSA:
    case XFRM_MSG.UPDSA: {
      const state = parseState(body);
      return state && { kind: 'state', change: type === XFRM_MSG.NEWSA ? 'new' : 'updated', state };
    }
    case XFRM_MSG.DELSA: {
      const { attributes, whole } = parseDeletion(body, STATE_ID, XFRMA.SA);
      const fixed = whole && readState(whole);
      return fixed && { kind: 'state', change: 'deleted', state: withAttributes(fixed, attributes) };
    }
    case XFRM_MSG.NEWPOLICY:
    case XFRM_MSG.UPDPOLICY: {
      const policy = parsePolicy(body);
      return policy && { kind: 'policy', change: type === XFRM_MSG.NEWPOLICY ? 'new' : 'updated', policy };
    }
    case XFRM_MSG.DELPOLICY: {
      const { attributes, whole } = parseDeletion(body, POLICY_ID, XFRMA.POLICY);
      const fixed = whole && readPolicy(whole);
      return fixed && { kind: 'policy', change: 'deleted', policy: withTemplates(fixed, attributes) };
    }
    case XFRM_MSG.FLUSHSA:
      return { kind: 'states-flushed', protocol: protocolOf(new HostReader(body, 'xfrm_usersa_flush').u8()) };
    case XFRM_MSG.FLUSHPOLICY:
      return { kind: 'policies-flushed' };
    default:
      return undefined;
  }
}

/** `struct xfrm_user_acquire`: 280 octets. */
function parseAcquire(body: Uint8Array): XfrmEvent | undefined {
  const reader = new HostReader(body, 'xfrm_user_acquire');
  const [to, protocol, from] = [reader.bytes(16), protocolOf(reader.skip(4).u8()), reader.skip(3).bytes(16)];
  const [selector, fixed] = [readSelector(reader), readPolicy(reader)];
  const sequence = reader.skip(12).u32();
  const attributes = Attributes.parse(reader.rest());
  if (protocol === undefined || selector === undefined || fixed === undefined) return undefined;
  const policy = withTemplates(fixed, attributes);
  // the ends are those of the first template, whose family they have
  const outer = policy.templates[0]?.destination ?? policy.templates[0]?.source;
  const family: IpFamily = outer === undefined ? selector.family : outer.includes(':') ? 6 : 4;
  return {
    kind: 'acquire',
    policy,
    selector,
    source: ipIn(from, family),
    destination: ipIn(to, family),
    protocol,
    sequence,
  };
}

/** `struct xfrm_user_expire`: 232 octets. */
function parseExpire(body: Uint8Array): XfrmEvent | undefined {
  const reader = new HostReader(body, 'xfrm_user_expire');
  const fixed = readState(reader);
  const hard = reader.u8() !== 0;
  const attributes = Attributes.parse(reader.skip(7).rest());
  return fixed && { kind: 'expire', hard, state: withAttributes(fixed, attributes) };
}

/** `struct xfrm_user_polexpire`: 176 octets. */
function parsePolicyExpire(body: Uint8Array): XfrmEvent | undefined {
  const reader = new HostReader(body, 'xfrm_user_polexpire');
  const fixed = readPolicy(reader);
  const hard = reader.u8() !== 0;
  const attributes = Attributes.parse(reader.skip(7).rest());
  return fixed && { kind: 'policy-expire', hard, policy: withTemplates(fixed, attributes) };
}

/** `struct xfrm_user_mapping`: 64 octets. */
function parseMapping(body: Uint8Array): XfrmEvent | undefined {
  const reader = new HostReader(body, 'xfrm_user_mapping');
  const id = readStateId(reader);
  const [reqid, from, to, oldPort, newPort] = [reader.u32(), reader.bytes(16), reader.bytes(16), reader.network16(), reader.network16()];
  if (id === undefined) return undefined;
  const { destination, spi, protocol, family } = id;
  return {
    kind: 'mapping',
    id: { destination, spi, protocol },
    reqid,
    oldSource: ipIn(from, family),
    oldPort,
    newSource: ipIn(to, family),
    newPort,
  };
}

/** `struct xfrm_user_report`: 60 octets. */
function parseReport(body: Uint8Array): XfrmEvent | undefined {
  const reader = new HostReader(body, 'xfrm_user_report');
  const protocol = protocolOf(reader.u8());
  const selector = readSelector(reader.skip(3));
  return protocol && selector && { kind: 'report', protocol, selector };
}

/** What was deleted is named first, and stands in an attribute beside those that it had. */
function parseDeletion(
  body: Uint8Array,
  head: number,
  type: number,
): { readonly attributes: Attributes; readonly whole: HostReader | undefined } {
  const attributes = Attributes.parse(new HostReader(body, 'a deletion').skip(head).rest());
  return { attributes, whole: attributes.reader(type) };
}

const ipIn = (octets: Uint8Array, family: IpFamily): string => readAddress(new HostReader(octets, 'xfrm_address_t'), family);

/** XFRMNLGRP. */
const GROUPS = { acquire: 1, expire: 2, states: 3, policies: 4, accounting: 5, reports: 6, migrations: 7, mappings: 8 } as const;
const STATE_ID = 24;
const POLICY_ID = 64;
