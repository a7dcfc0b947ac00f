export * from './packet-buffer.ts';
export * from './segment.ts';
export * from './segment-plain.ts';
export * from './vnet-header.ts';
