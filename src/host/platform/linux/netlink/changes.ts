import { type InterfaceAddress, parseAddress } from './addresses.ts';
import type { NetlinkMessage } from './codec.ts';
import { type Link, parseLink, RTM } from './links.ts';
import { NetlinkMonitor } from './monitor.ts';
import { parseRoute, type Route } from './routes.ts';
import { parseRule, type Rule } from './rules.ts';
import type { NetlinkOptions } from './socket.ts';

/** Something that was made, changed or (`gone`) removed, by whomever. */
export type NetworkChange = { readonly gone: boolean } & (
  | { readonly kind: 'link'; readonly link: Link }
  | { readonly kind: 'address'; readonly address: InterfaceAddress }
  | { readonly kind: 'route'; readonly route: Route }
  | { readonly kind: 'rule'; readonly rule: Rule }
);

export interface NetworkHandlers {
  readonly onChange: (change: NetworkChange) => void;
  /** Changes were missed: read everything again. */
  readonly onLost: () => void;
}

/** Hears of changes to links, addresses, routes and rules. No privilege is needed. @throws DataPlaneError as `NetlinkSocket.open` */
export function watchNetwork(
  kinds: readonly NetworkChange['kind'][],
  { onChange, onLost }: NetworkHandlers,
  options: NetlinkOptions = {},
): Promise<NetlinkMonitor> {
  const onMessage = (message: NetlinkMessage): void => {
    const change = parseChange(message);
    if (change !== undefined) onChange(change);
  };
  const groups = kinds.flatMap((kind) => GROUPS[kind]);
  return NetlinkMonitor.open('route', groups, { onMessage, onLost }, options);
}

/** Undefined for messages of other kinds and families. */
export function parseChange(message: NetlinkMessage): NetworkChange | undefined {
  switch (message.type) {
    case RTM.NEWLINK:
    case RTM.DELLINK:
      return { kind: 'link', gone: message.type === RTM.DELLINK, link: parseLink(message) };
    case RTM.NEWADDR:
    case RTM.DELADDR: {
      const address = parseAddress(message);
      return address && { kind: 'address', gone: message.type === RTM.DELADDR, address };
    }
    case RTM.NEWROUTE:
    case RTM.DELROUTE: {
      const route = parseRoute(message);
      return route && { kind: 'route', gone: message.type === RTM.DELROUTE, route };
    }
    case RTM.NEWRULE:
    case RTM.DELRULE: {
      const rule = parseRule(message);
      return rule && { kind: 'rule', gone: message.type === RTM.DELRULE, rule };
    }
    default:
      return undefined;
  }
}

/** RTNLGRP: IPv4's, then IPv6's. */
const GROUPS: Readonly<Record<NetworkChange['kind'], readonly number[]>> = {
  link: [1],
  address: [5, 9],
  route: [7, 11],
  rule: [8, 19],
};
