export * from './bytes.ts';
export * from './errors.ts';
export * from './ip-address.ts';
export * from './lists.ts';
export * from './ranges.ts';
export * from './reader.ts';
export * from './writer.ts';
