import type { Address } from '../../bytes/ip-address.ts';
import type { Millis, MobikeInfo } from '../effects.ts';
import type { Path } from '../path.ts';

/** One message of the peer, by the IKE SA of the line that it came on: later IKE SAs have higher numbers. */
interface MessageRef {
  readonly ikeSa: number;
  readonly messageId: number;
}

/** What MOBIKE knows of an IKE SA and of those that it was rekeyed from, which share this record (RFC 4555 §1.3, §3.4). */
export interface Mobike {
  /** We sent the first IKE_SA_INIT of the line: we choose the addresses (RFC 4555 §2.1). */
  readonly decides: boolean;
  /** The peer's addresses as it told last: the one in the IP header, then the others. Inside of a NAT they are not worth much. */
  peerAddresses: readonly string[];
  /** Own additional addresses as the peer knows them. */
  told: readonly string[];
  /** The peer knows `nat-echo.ts`. */
  echoes: boolean;
  /** Counts changes of address: an answer to what was asked before the last one decides nothing. */
  generation: number;
  /** UPDATE_SA_ADDRESSES is owed (`pending_update` of RFC 4555 §3.5). */
  updateDue: boolean;
  /** Addresses at which the peer has shown that it receives (§3.7), oldest first. */
  verified: readonly string[];
  /** Where the children's traffic goes while it is not where the IKE SA is; `encap` is of ESP. */
  traffic: Path | undefined;
  /** Where the peer was before it told of another address: what it sent from there may be under way until then. `again`: its newest packet came from there. */
  left: { readonly remote: Address; readonly until: Millis; again: boolean } | undefined;
  /** How the peer saw our address when it was asked last: NAT_DETECTION_DESTINATION_IP (§3.8). */
  seenAs: Uint8Array | undefined;
  seenAt: Millis;
  /** The newest UPDATE_SA_ADDRESSES and the newest list of addresses of the peer. */
  newestUpdate: MessageRef;
  newestList: MessageRef;
  /** Paths that the peer refuses, and until when we believe it. */
  refused: Map<string, Millis> | undefined;
  /** Answers UNEXPECTED_NAT_DETECTED in a row (§3.9). */
  natRetries: number;
  /** How long the next test of a better path waits. */
  testAfter: Millis;
  /** Which of the other paths is probed next. */
  turn: number;
}

/** @param primary where the peer is now: it has answered from there */
export function newMobike(decides: boolean, primary: string, now: Millis): Mobike {
  const addresses = [primary];
  return {
    decides,
    peerAddresses: addresses,
    told: NO_ADDRESSES,
    echoes: false,
    generation: 0,
    updateDue: false,
    verified: addresses,
    traffic: undefined,
    left: undefined,
    seenAs: undefined,
    seenAt: now,
    newestUpdate: NONE,
    newestList: NONE,
    refused: undefined,
    natRetries: 0,
    testAfter: FIRST_TEST,
    turn: 0,
  };
}

/** Requests may overtake one another where the window is wider than one (§3.5, §3.6). */
export const isNewer = (message: MessageRef, than: MessageRef): boolean =>
  message.ikeSa > than.ikeSa || (message.ikeSa === than.ikeSa && message.messageId > than.messageId);

export function noteVerified(mobike: Mobike, ip: string): void {
  mobike.verified = [...mobike.verified.filter((known) => known !== ip), ip].slice(-MOST_VERIFIED);
}

export const mobikeInfo = ({ decides, peerAddresses, echoes }: Mobike): MobikeInfo => ({
  decides,
  peerAddresses: peerAddresses.slice(1),
  echoes,
});

/** The facts that outlive a restart. */
export interface MobikeSnapshot {
  readonly decides: boolean;
  readonly peerAddresses: readonly string[];
  readonly told: readonly string[];
  readonly echoes: boolean;
  readonly verified: readonly string[];
  readonly traffic: Path | undefined;
}

export const snapshotMobike = ({ decides, peerAddresses, told, echoes, verified, traffic }: Mobike): MobikeSnapshot => ({
  decides,
  peerAddresses,
  told,
  echoes,
  verified,
  traffic,
});

export function restoreMobike({ decides, peerAddresses, told, echoes, verified, traffic }: MobikeSnapshot, now: Millis): Mobike {
  return { ...newMobike(decides, '', now), peerAddresses, told, echoes, verified, traffic };
}

/** After it a better path that was dead is tried again, then ever later. */
export const FIRST_TEST: Millis = 10_000;

const NONE: MessageRef = { ikeSa: -1, messageId: -1 };
const MOST_VERIFIED = 16;
const NO_ADDRESSES: readonly string[] = [];
