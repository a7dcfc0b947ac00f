export * from './inbound.ts';
export * from './outbound.ts';
export * from './replay-window.ts';
export * from './udp-encap.ts';
