import type { FuzzTarget } from './engine.ts';
import { configurationTargets } from './targets/configuration.ts';
import { endpointTargets } from './targets/endpoint.ts';
import { packetTargets } from './targets/packets.ts';
import { pkiTargets } from './targets/pki.ts';
import { stackTargets } from './targets/stack.ts';
import { wireTargets } from './targets/wire.ts';

/** Every parser that meets octets of strangers. */
export const TARGETS: readonly FuzzTarget[] = [
  ...wireTargets,
  ...pkiTargets,
  ...packetTargets,
  ...endpointTargets,
  ...configurationTargets,
  ...stackTargets,
];
