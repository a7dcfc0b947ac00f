import { NegotiationFailure, PeerRefused, TimedOut, type TunnelwrightError } from '../bytes/errors.ts';
import { NotifyType } from '../wire/index.ts';
import type { Millis } from './effects.ts';
import type { IkeSa } from './ike-sa.ts';
import { putOffReconnect } from './tasks/redirect.ts';
import { newTimer, type Timer } from './timers.ts';
import type { World } from './world.ts';

/** One timer per connection that comes back by itself, and how often it tried in vain. */
export class Reconnects {
  readonly #entries = new Map<string, { readonly timer: Timer; failures: number; trying: boolean }>();
  /** Those that the operator brought down: should the peer bring one up, its end brings nothing back. */
  readonly #down = new Set<string>();

  /**
   * @param stood how long the IKE SA that ended was up: one that ends as soon as it stands is no success
   * @param least not before
   * @returns when to try next: soon the first time, then ever later.
   */
  failed(connection: string, now: Millis, stood: Millis, least: Millis): { readonly timer: Timer; readonly at: Millis } {
    const entry = this.#entries.get(connection) ?? { timer: newTimer('reconnect', connection), failures: 0, trying: true };
    this.#entries.set(connection, entry);
    if (stood >= STEADY) entry.failures = 0;
    const delay = Math.max(least, Math.min(FIRST_DELAY * 2 ** entry.failures, LONGEST_DELAY));
    entry.failures++;
    entry.trying = true;
    return { timer: entry.timer, at: now + delay };
  }

  pending(connection: string): boolean {
    return this.#entries.get(connection)?.trying === true;
  }

  /** The connection stands again; whether it stays is to be seen. */
  stands(connection: string): Timer | undefined {
    const entry = this.#entries.get(connection);
    if (entry) entry.trying = false;
    return entry?.timer;
  }

  /** The operator wants it down, until somebody wants it up again. */
  broughtDown(connection: string): void {
    this.#down.add(connection);
  }

  wanted(connection: string): void {
    this.#down.delete(connection);
  }

  isDown(connection: string): boolean {
    return this.#down.has(connection);
  }

  /** There is no more to try. */
  settled(connection: string): Timer | undefined {
    const entry = this.#entries.get(connection);
    this.#entries.delete(connection);
    return entry?.timer;
  }
}

/**
 * What the policy wants when an IKE SA of ours ends without our doing: `dpdAction` when the peer fell silent, `closeAction` when it closed
 * (D04). Once begun, trying goes on until the connection stands.
 */
export function scheduleReconnect(world: World, sa: IkeSa, error: TunnelwrightError): void {
  const { connection } = sa;
  const { of: old, by } = sa.reauth;
  const next = by?.heir;
  // another IKE SA stands in for this one: the one that was to be replaced, or the one that was to replace it
  const other = old?.heir.isEstablished || (next !== undefined && !next.is('lingering', 'dead'));
  if (connection === undefined || sa.unwanted || world.reconnects.isDown(connection.name)) return;
  if (sa.successor !== undefined || other || putOffReconnect(world, sa, error)) return;
  const wasUp = (sa.establishedAt ?? old?.establishedAt) !== undefined;
  const silent = error instanceof TimedOut;
  const wanted = connection.children.some((c) => (silent ? c.dpdAction : c.closeAction) === 'start');
  const retries = !wasUp && sa.originalRole === 'initiator' && world.reconnects.pending(connection.name);
  if ((!(wasUp && wanted) && !retries) || standsOtherwise(world, sa)) return;
  const stood = world.now - (sa.establishedAt ?? world.now);
  const { timer, at } = world.reconnects.failed(connection.name, world.now, stood, lacksAddress(error) ? ADDRESS_DELAY : 0);
  world.arm(timer, at);
}

/** Another IKE SA with the same peer took over (§2.4): to come back beside it would end that one in turn, and so on. */
function standsOtherwise(world: World, { connection, remoteId }: IkeSa): boolean {
  if (remoteId === undefined) return false;
  return [...world.provenAs(remoteId)].some((other) => other.connection?.name === connection?.name && other.isEstablished);
}

/** A pool that is used up, or a gateway that assigns nothing. */
const lacksAddress = (error: TunnelwrightError): boolean =>
  (error instanceof PeerRefused || error instanceof NegotiationFailure) &&
  (error.notify === NotifyType.INTERNAL_ADDRESS_FAILURE || error.notify === NotifyType.FAILED_CP_REQUIRED);

const FIRST_DELAY: Millis = 500;
const LONGEST_DELAY: Millis = 30_000;
/** RFC 7296 §3.15.4: several minutes, as only other clients give addresses back. */
const ADDRESS_DELAY: Millis = 180_000;
const STEADY: Millis = 60_000;
