/**
 * Tunnelwright as a library: a VPN gateway and client inside your process, without privileges.
 *
 * ```ts
 * import { compile, configFrom, connect } from 'tunnelwright';
 *
 * const config = compile(configFrom({
 *   connections: {
 *     office: {
 *       remote_addrs: 'vpn.example.com',
 *       vips: '0.0.0.0',
 *       local: { auth: 'psk', id: 'alice@example.com' },
 *       remote: { auth: 'psk', id: 'vpn.example.com' },
 *       children: { net: { remote_ts: '10.0.0.0/8' } },
 *     },
 *   },
 *   secrets: { office: { kind: 'psk', secret_file: '/home/alice/office.key' } },
 * }));
 * const tunnel = await connect({ config });
 * const socket = await tunnel.connect({ host: '10.0.0.5', port: 80 });
 * socket.end('GET / HTTP/1.0\r\n\r\n');
 * for await (const chunk of socket) process.stdout.write(chunk);
 * await tunnel.close();
 * ```
 */

export {
  ApiMisuse,
  AuthenticationFailure,
  CertificateFailure,
  ConfigError,
  DataPlaneError,
  type ErrorDetails,
  InternalError,
  MalformedMessage,
  NegotiationFailure,
  PeerRefused,
  PeerViolation,
  TimedOut,
  TunnelwrightError,
} from './core/bytes/errors.ts';
export type { Address } from './core/bytes/ip-address.ts';
export type { ChildSaInfo, IkeSaInfo, Millis, Notice } from './core/ike/effects.ts';
export type { ChildCounters, DirectionCounters } from './host/dataplane/index.ts';
export type { AddressChoice, Authorise, ChooseAddress } from './host/engine/asks.ts';
export { CredentialStore } from './host/engine/credentials/credentials.ts';
export type { IkeSaStatus } from './host/engine/engine.ts';
export type { Destination } from './host/engine/inside.ts';
export type { AddressRequest } from './host/engine/leases.ts';
export type { StreamServer, StreamSocket } from './host/platform/stream-socket.ts';
export { Client, type ClientOptions, type ConnectOptions, connect, createClient, Tunnel } from './product/client/index.ts';
export { type CompiledConfig, compile, configFrom, type LoadedConfig, loadConfig } from './product/config/index.ts';
export {
  type Account,
  type AccountedChild,
  type AccountRecord,
  createGateway,
  Gateway,
  type GatewayOptions,
} from './product/gateway/index.ts';
export {
  createFetch,
  DatagramSocket,
  type Fetch,
  type Forward,
  type ForwardSpec,
  type LocalPort,
  openForward,
  openProxy,
  type ProxyOptions,
  ProxyUser,
  parseForward,
  type RemoteInfo,
  SecureWayAgent,
  type UdpPort,
  type Way,
  WayAgent,
  type WayListener,
  type WayTo,
  wayConnector,
} from './product/reach/index.ts';
