export type { Ping, PingOptions } from './ping.ts';
export { Endpoint, type FailureCode, type Millis, Ready } from './ready.ts';
export { type ConnectOptions, type ListenOptions, Stack, type StackOptions } from './stack.ts';
export type { TcpConnection } from './tcp/connection.ts';
export type { TcpListener } from './tcp/listener.ts';
export type { TcpState } from './tcp/state.ts';
export type { UdpDatagram, UdpEndpoint, UdpOptions } from './udp.ts';
