import { type Address, formatAddress, sameAddress } from '../bytes/ip-address.ts';

/** What carries IKE and ESP: datagrams, or the frames of a stream (RFC 9329). */
export type Transport = 'udp' | 'tcp';

/** The two ends of a way to the peer. An IKE SA is on one; with MOBIKE it may change to another. */
export interface Path {
  readonly local: Address;
  readonly remote: Address;
  /** IKE goes through the UDP-encapsulating socket, or a stream: behind the non-ESP marker. */
  readonly encap: boolean;
  /** UDP unless it says otherwise. Over TCP the two ends name one stream; port 0 of ours: it is still to be opened. */
  readonly transport?: Transport | undefined;
}

/** The way alone, of whatever else goes it. */
export const pathOf = ({ local, remote, encap, transport }: Path): Path => ({ local, remote, encap, transport });

export const samePath = (a: Path, b: Path): boolean =>
  a.encap === b.encap && isOverTcp(a) === isOverTcp(b) && sameAddress(a.local, b.local) && sameAddress(a.remote, b.remote);

export const pathKey = ({ local, remote, transport }: Path): string =>
  `${formatAddress(local)} ${formatAddress(remote)}${transport === 'tcp' ? ' tcp' : ''}`;

export const isOverTcp = ({ transport }: Pick<Path, 'transport'>): boolean => transport === 'tcp';

/** For values that say nothing of it where it is UDP. */
export const overTransport = (transport: Transport | undefined): { readonly transport?: 'tcp' } =>
  transport === 'tcp' ? { transport } : {};
