import { equalBytes } from '../../bytes/bytes.ts';
import { TimedOut } from '../../bytes/errors.ts';
import { Writer } from '../../bytes/writer.ts';
import { ExchangeType, type IkeHeader, type NotifyPayload, NotifyType, type Payload } from '../../wire/index.ts';
import type { Millis } from '../effects.ts';
import type { IkeSa } from '../ike-sa.ts';
import { findNotify, notify } from '../notifies.ts';
import type { Connection } from '../policy.ts';
import { exchange, type Inbound, type Routine } from '../routine.ts';
import type { World } from '../world.ts';
import { askToSkip, skipAsAsked, takeNothingOlder } from './replay-counter-sync.ts';

/** What both ends of an IKE SA announced of RFC 6311; the cluster members share it with everything else in the snapshot (§5). */
export interface CounterSync {
  readonly messageIds: boolean;
  readonly replayCounters: boolean;
  /** The highest M1 of the peer so far (§5.1); -1 before the first. */
  readonly seen: number;
}

/** RFC 6311 §6.3, from the point of view of whoever sends it. */
interface Synchronisation {
  readonly nonce: Uint8Array;
  readonly send: number;
  readonly receive: number;
}

/**
 * RFC 6311 §5: in IKE_AUTH both ends announce that they synchronise Message IDs and replay counters.
 *
 *     HDR, SK {..., N(IKEV2_MESSAGE_ID_SYNC_SUPPORTED), N(IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED)}  -->  <--  the same
 */
export const offerCounterSync = ({ counterSync }: Connection): Payload[] => (counterSync ? [notify(MESSAGE_IDS), notify(COUNTERS)] : []);

/** The initiator: what the responder says as well can be used. */
export function takeCounterSync(sa: IkeSa, { counterSync }: Connection, payloads: readonly Payload[]): void {
  const messageIds = findNotify(payloads, MESSAGE_IDS) !== undefined;
  const replayCounters = findNotify(payloads, COUNTERS) !== undefined;
  if (!counterSync || !(messageIds || replayCounters)) return;
  sa.sync = messageIds && replayCounters ? BOTH : { messageIds, replayCounters, seen: -1 };
}

/** The responder asserts nothing that the initiator did not. */
export function answerCounterSync(sa: IkeSa, connection: Connection, payloads: readonly Payload[]): Payload[] {
  takeCounterSync(sa, connection, payloads);
  return [...(sa.sync?.messageIds ? [notify(MESSAGE_IDS)] : []), ...(sa.sync?.replayCounters ? [notify(COUNTERS)] : [])];
}

/** A rekeyed IKE SA counts anew (RFC 7296 §2.18). */
export const inheritedSync = (sync: CounterSync | undefined): CounterSync | undefined => sync && { ...sync, seen: -1 };

/**
 * The member that took over, of whose counters none may be up to date (RFC 6311 §5.1, §5.2):
 *
 *     HDR(0), SK {N(IKEV2_MESSAGE_ID_SYNC), [N(IPSEC_REPLAY_COUNTER_SYNC)]}  -->  <--  HDR(0), SK {N(IKEV2_MESSAGE_ID_SYNC)}
 *
 * A peer drops what does not have a higher M1 than everything before, copies as well: so each attempt has numbers of its own.
 */
export function* synchronise(world: World, sa: IkeSa): Routine<void> {
  const { window } = sa;
  const until = world.now + (sa.connection?.retransmission.giveUp ?? 0);
  for (let attempt = 0; ; attempt++) {
    // M1: beyond what a former life may have used; P1: §5.1
    window.goOn(window.nextRequest + Math.max(window.sendSize, LEAP * 2 ** attempt), window.newest + 1);
    const asked = { nonce: world.random.secret(NONCE), send: window.nextRequest, receive: window.nextExpected };
    const skip = askToSkip(sa);
    try {
      const payloads = [written(asked), ...(skip ? [skip.notify] : [])];
      const options = { synchronises: (response: readonly Payload[]) => answers(asked, response), patience: FIRST_WAIT * 2 ** attempt };
      const response = yield* exchange(ExchangeType.INFORMATIONAL, payloads, options);
      const { send, receive } = synchronisationIn(response.payloads)!;
      window.goOn(Math.max(asked.send, receive), Math.max(asked.receive, send));
      if (skip) takeNothingOlder(world, sa, skip.by);
      return tell(world, sa, true);
    } catch (error) {
      if (!(error instanceof TimedOut) || sa.state === 'dead' || world.now >= until) throw error;
    }
  }
}

/** §5, case 2: the peer agreed to replay counters alone. */
export function* synchroniseCounters(world: World, sa: IkeSa): Routine<void> {
  const skip = askToSkip(sa);
  if (skip === undefined) return;
  yield* exchange(ExchangeType.INFORMATIONAL, [skip.notify]);
  takeNothingOlder(world, sa, skip.by);
}

/** A member that has sent its counters takes nothing until they are agreed on (§8.1, strict). */
export const isSynchronising = ({ window, sync }: IkeSa): boolean =>
  sync?.messageIds === true && window.awaiting(0)?.synchronises !== undefined;

/** Its Message ID is 0, wherever the window is (§5.1). */
export const maySynchronise = (sa: IkeSa, { exchange: type, messageId, flags }: IkeHeader): boolean =>
  messageId === 0 &&
  sa.sync?.messageIds === true &&
  type === ExchangeType.INFORMATIONAL &&
  !flags.response &&
  (sa.isEstablished || sa.is('replaced', 'deleting'));

export const isSynchronisation = ({ payloads }: Inbound): boolean => findNotify(payloads, NotifyType.IKEV2_MESSAGE_ID_SYNC) !== undefined;

/**
 * The peer of the cluster: the higher one of both ends' numbers counts (§5.1), and what is under way is not waited for any more (§9).
 * @returns the answer; undefined for what is to be dropped in silence
 */
export function respondSynchronisation(world: World, sa: IkeSa, { payloads }: Inbound): readonly Payload[] | undefined {
  const { window, sync } = sa;
  const asked = synchronisationIn(payloads);
  if (asked === undefined || sync === undefined || !payloads.every(isAllowed)) return undefined;
  // §5.1: not higher than what was seen, so replayed, or too old to be of use
  if (asked.send <= Math.max(sync.seen, window.newest)) return undefined;
  // what is installed again after a restart of ours could not be told yet how far to skip: the member asks again
  if (sa.children.some((child) => child.is('installing') && child.spec.resumed)) return undefined;
  sa.sync = { ...sync, seen: asked.send };
  window.goOn(Math.max(asked.receive, window.nextRequest), Math.max(asked.send, window.newest + 1));
  // §5.2: only behind the Message IDs, which may say that it is a replay
  skipAsAsked(world, sa, payloads);
  tell(world, sa, false);
  return [written({ nonce: asked.nonce, send: window.nextRequest, receive: window.nextExpected })];
}

const tell = (world: World, sa: IkeSa, byUs: boolean): void =>
  world.notice({ kind: 'synchronised', ikeSa: sa.id, connection: sa.connection?.name, byUs });

/** §5.1: a response without our nonce, or with anything else in it, is none. Nor is one that goes back behind what we asked for. */
function answers(asked: Synchronisation, payloads: readonly Payload[]): boolean {
  const found = synchronisationIn(payloads);
  return found !== undefined && payloads.length === 1 && equalBytes(found.nonce, asked.nonce) && found.receive >= asked.send;
}

const isAllowed = (payload: Payload): boolean =>
  payload.kind === 'N' && (payload.notify === NotifyType.IKEV2_MESSAGE_ID_SYNC || payload.notify === NotifyType.IPSEC_REPLAY_COUNTER_SYNC);

const written = ({ nonce, send, receive }: Synchronisation): NotifyPayload =>
  notify(NotifyType.IKEV2_MESSAGE_ID_SYNC, new Writer(DATA).bytes(nonce).u32(send).u32(receive).finish());

/** §6.3; octets of the message are gone with it, so the nonce is a copy. */
function synchronisationIn(payloads: readonly Payload[]): Synchronisation | undefined {
  const data = findNotify(payloads, NotifyType.IKEV2_MESSAGE_ID_SYNC)?.data;
  if (data?.length !== DATA) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, DATA);
  return { nonce: data.slice(0, NONCE), send: view.getUint32(NONCE), receive: view.getUint32(NONCE + 4) };
}

const MESSAGE_IDS = NotifyType.IKEV2_MESSAGE_ID_SYNC_SUPPORTED;
const COUNTERS = NotifyType.IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED;
/** Nearly every IKE SA has this one. */
const BOTH: CounterSync = { messageIds: true, replayCounters: true, seen: -1 };
/** §6.3. */
const NONCE = 4;
const DATA = 12;
/** More requests than a life sends between its last snapshot and its end; twice as many with each attempt, since there may have been lives between. */
const LEAP = 4096;
const FIRST_WAIT: Millis = 1000;
