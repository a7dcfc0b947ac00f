import type { AskResult, Command, Datagram, Effect, IkeSaInfo, Millis, Observation } from '../../core/ike/effects.ts';
import type { EndpointLoad } from '../../core/ike/load.ts';
import type { Connection } from '../../core/ike/policy.ts';

/**
 * What the engine needs of the IKE core (`core/ike/endpoint.ts`): bytes, time and answers in; effects out, pulled by `poll` until it has
 * none. Synchronous and without side effects of its own, so that any caller order replays.
 */
export interface IkeCore {
  receive(datagram: Datagram, now: Millis): void;
  /** Whether a first request was turned away without keeping anything of it; where not, `receive` takes it. Absent: `receive` takes all. */
  turnsAway?(datagram: Datagram, now: Millis): boolean;
  /** @returns the number of the IKE SA for `initiate` */
  command(command: Command, now: Millis): number | undefined;
  /** An id that was cancelled, answered or is past its deadline is ignored. */
  answer(ask: number, result: AskResult, now: Millis): void;
  observe(observation: Observation, now: Millis): void;
  /** Does what is due. */
  expire(now: Millis): void;
  /** When `expire` wants to be called; undefined: nothing is due ever. */
  nextDeadline(): Millis | undefined;
  poll(): Effect | undefined;
  info(): readonly IkeSaInfo[];
  infoOf(ikeSa: number): IkeSaInfo | undefined;
  load(): EndpointLoad;
  setConnections(connections: readonly Connection[]): void;
  /** IKE SAs and their children as plain data; holds keys. */
  snapshot(now: Millis): unknown;
  /** @param how exact: nothing happened since it was made, so that no counter is out of step */
  restore(snapshot: unknown, now: Millis, how?: { readonly exact?: boolean }): void;
}
