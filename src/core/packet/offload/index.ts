export * from './coalesce.ts';
export * from './coalesce-plain.ts';
export * from './packet-arithmetic.ts';
export * from './packet-buffer.ts';
export { RUN_BUFFER } from './run.ts';
export * from './segment.ts';
export * from './segment-plain.ts';
export * from './vnet-header.ts';
