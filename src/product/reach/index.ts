export type { LocalPort } from '../../host/platform/local-ports.ts';
export type { UdpPort, Way, WayListener, WayTo } from '../../host/platform/way.ts';
export { SecureWayAgent, WayAgent, wayConnector } from './agents.ts';
export { DatagramSocket, type RemoteInfo } from './datagram-socket.ts';
export { createFetch, type Fetch } from './fetch.ts';
export { type Forward, openForward } from './forward.ts';
export { type ForwardSpec, parseForward } from './forward-spec.ts';
export { openProxy, type ProxyOptions } from './proxy.ts';
export { ProxyUser } from './proxy-user.ts';
