import { TimedOut, type TunnelwrightError } from '../bytes/errors.ts';
import type { Millis } from './effects.ts';
import type { IkeSa } from './ike-sa.ts';
import { newTimer, type Timer } from './timers.ts';
import type { World } from './world.ts';

/** One timer per connection that comes back by itself, and how often it tried in vain. */
export class Reconnects {
  readonly #timers = new Map<string, { readonly timer: Timer; failures: number }>();

  /** @returns when to try next: at once the first time, then ever later. */
  failed(connection: string, now: Millis): { readonly timer: Timer; readonly at: Millis } {
    const entry = this.#timers.get(connection) ?? { timer: newTimer('reconnect', connection), failures: 0 };
    this.#timers.set(connection, entry);
    const delay = Math.min(FIRST_DELAY * 2 ** entry.failures, LONGEST_DELAY);
    entry.failures++;
    return { timer: entry.timer, at: now + delay };
  }

  pending(connection: string): boolean {
    return this.#timers.has(connection);
  }

  /** The connection stands again, or the operator ended it. */
  settled(connection: string): Timer | undefined {
    const entry = this.#timers.get(connection);
    this.#timers.delete(connection);
    return entry?.timer;
  }
}

/**
 * What the policy wants when an IKE SA of ours ends without our doing: `dpdAction` when the peer fell silent, `closeAction` when it closed
 * (D04). Once begun, trying goes on until the connection stands.
 */
export function scheduleReconnect(world: World, sa: IkeSa, error: TunnelwrightError): void {
  const { connection } = sa;
  if (connection === undefined || sa.successor !== undefined) return;
  const wasUp = sa.establishedAt !== undefined;
  const silent = error instanceof TimedOut;
  const wanted = connection.children.some((c) => (silent ? c.dpdAction : c.closeAction) === 'start');
  const retries = !wasUp && sa.originalRole === 'initiator' && world.reconnects.pending(connection.name);
  if (!(wasUp && wanted) && !retries) return;
  const { timer, at } = world.reconnects.failed(connection.name, world.now);
  world.arm(timer, at);
}

const FIRST_DELAY: Millis = 500;
const LONGEST_DELAY: Millis = 30_000;
