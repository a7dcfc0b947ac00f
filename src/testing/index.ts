export * from './capture.ts';
export * from './host.ts';
export * from './internet.ts';
export * from './link.ts';
export * from './nat.ts';
export * from './network.ts';
export * from './seeded.ts';
export * from './virtual-clock.ts';
