/**
 * The simulator: real endpoints on a simulated internet, in virtual time.
 *
 * ```ts
 * const { a, b, net } = establishedPair({ seed: 7, link: { delay: 20, jitter: 30 } });
 * a.rekeyChild();
 * net.exchange('a → b  CREATE_CHILD_SA request { N(REKEY_SA), SA, KE, Ni, TSi, TSr }');
 * net.settle(); // virtual time runs until nothing is due
 * expectOneChild(a, b).bornIn('a');
 * expectTrafficBothWays(net, a, b); // real ESP: the keys agree
 * expectInvariants(net); // no key, SPI, IV or sequence number served twice
 * ```
 *
 * A failure shows what happened, message by message, and the seed that replays it.
 */
export * from './capture.ts';
export * from './capture-file.ts';
export * from './expectations.ts';
export * from './failure.ts';
export * from './host.ts';
export * from './internet.ts';
export * from './link.ts';
export * from './nat.ts';
export * from './network.ts';
export * from './pair.ts';
export * from './peer.ts';
export * from './policies.ts';
export * from './seeded.ts';
export * from './seeded-keys.ts';
export * from './simulated-answers.ts';
export * from './simulated-plane.ts';
export * from './streams.ts';
export * from './transcript.ts';
export * from './udp-relay.ts';
export * from './virtual-clock.ts';
