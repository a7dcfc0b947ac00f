import { type Address, formatAddress, sameAddress } from '../bytes/ip-address.ts';

/** The two ends of a way to the peer. An IKE SA is on one; with MOBIKE it may change to another. */
export interface Path {
  readonly local: Address;
  readonly remote: Address;
  /** IKE goes through the UDP-encapsulating socket. */
  readonly encap: boolean;
}

export const pathOf = ({ local, remote, encap }: Path): Path => ({ local, remote, encap });

export const samePath = (a: Path, b: Path): boolean =>
  a.encap === b.encap && sameAddress(a.local, b.local) && sameAddress(a.remote, b.remote);

export const pathKey = ({ local, remote }: Path): string => `${formatAddress(local)} ${formatAddress(remote)}`;
