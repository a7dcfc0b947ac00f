import type { Network } from '../../interop/support/network.ts';
import type { Identity } from '../../interop/support/profile.ts';
import type { Scope } from '../../interop/support/scope.ts';
import type { Checks } from './checks.ts';

export type PathName = 'tunnelwright' | 'strongswan' | 'wireguard-go' | 'plain';

/** A way for packets between the protected networks of two hosts. Each has a pair of namespaces of its own, so that all stand at once. */
export interface Contestant {
  readonly name: PathName;
  /** Why it cannot take part here. */
  missing(): string | undefined;
  /** Packets pass when this has returned. What it started goes with the scope. */
  start(scope: Scope, place: Place): Promise<Path>;
}

export interface Place {
  /** Of this contestant alone. */
  readonly folder: string;
  /** The inside addresses are there already. */
  readonly network: Network;
  readonly identities: { readonly left: Identity; readonly right: Identity };
}

export interface Path {
  /** The process that handles packets on the left, then that on the right; none where the kernel does. */
  readonly daemons: readonly [] | readonly [number, number];
  /** What is done for every packet, as it is seen to; of ours alone. */
  checks?(): Promise<Checks>;
  /** For the text of a failure. */
  log(): string;
}

/** Both of ours and strongSwan's. */
export const IKE_SUITE = 'aes128gcm16-prfsha256-x25519';
export const ESP_SUITE = 'aes128gcm16';
