import { setTimeout as sleep } from 'node:timers/promises';
import type { ControlClient } from '../product/control/client.ts';

/**
 * Whether all is there that goes with an instance in another process: the instance, and each port of ours in its tunnels. `tell` hears it once
 * each way, however many go and come back one by one.
 */
export class Presence {
  readonly #away = new Set<unknown>();
  readonly #tell: (there: boolean) => void;

  constructor(tell: (there: boolean) => void) {
    this.#tell = tell;
  }

  get there(): boolean {
    return this.#away.size === 0;
  }

  note(what: unknown, there: boolean): void {
    const before = this.there;
    if (there) this.#away.delete(what);
    else this.#away.add(what);
    if (this.there !== before) this.#tell(this.there);
  }

  /** Follows the instance itself until the signal ends it. Never rejects. */
  async follow(client: ControlClient, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await untilItEnds(client, signal);
      if (signal.aborted) return;
      this.note(client, false);
      await untilItAnswers(client, signal);
      if (!signal.aborted) this.note(client, true);
    }
  }
}

/** Its events, which nobody reads here, end with it. */
async function untilItEnds(client: ControlClient, signal: AbortSignal): Promise<void> {
  try {
    for await (const _event of client.events({}, signal));
  } catch {
    // killed, or we are to stop
  }
}

async function untilItAnswers(client: ControlClient, signal: AbortSignal): Promise<void> {
  for (let answers = false; !answers && !signal.aborted; ) {
    await sleep(ASK_EVERY, undefined, { signal }).catch(() => undefined);
    answers = await client.version(signal).then(
      () => true,
      () => false,
    );
  }
}

/** Milliseconds. */
const ASK_EVERY = 1000;
