/** Every IKEv2 registry of IANA as an open table. Unknown numbers are kept and printed as numbers; only the critical bit may reject. */
export * from './iana/configuration.ts';
export * from './iana/eap.ts';
export * from './iana/header.ts';
export * from './iana/identities.ts';
export * from './iana/notify.ts';
export * from './iana/registry.ts';
export * from './iana/traffic.ts';
export * from './iana/transforms.ts';
