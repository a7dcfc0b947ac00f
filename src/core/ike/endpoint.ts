import { execute } from './commands.ts';
import type { AskResult, Command, Datagram, Effect, IkeSaInfo, Millis, Observation } from './effects.ts';
import { EndpointWorld } from './endpoint-world.ts';
import type { EndpointLoad } from './load.ts';
import { observe } from './observations.ts';
import type { Connection } from './policy.ts';
import { restoreEndpoint } from './restore.ts';
import { type EndpointSnapshot, snapshotEndpoint } from './snapshot.ts';
import { fire } from './timeouts.ts';
import type { EndpointOptions } from './world.ts';

/**
 * The whole IKEv2 control plane of one host: many IKE SAs, both roles. Synchronous and deterministic: it owns no socket, no clock and no
 * luck. Everything comes in by a call that carries `now`; everything that should happen is pulled with `poll()`.
 *
 * ```ts
 * endpoint.receive(datagram, now);
 * for (let effect = endpoint.poll(); effect; effect = endpoint.poll()) perform(effect);
 * wakeAt(endpoint.nextDeadline());
 * ```
 */
export class Endpoint {
  readonly #world: EndpointWorld;

  /** @param world one that a simulation watches, or that errs on purpose */
  constructor(options: EndpointOptions, world = new EndpointWorld(options)) {
    this.#world = world;
  }

  /** A datagram of IKE, its non-ESP marker taken off. Never throws for what is in it. */
  receive(datagram: Datagram, now: Millis): void {
    this.#world.now = now;
    this.#world.receive(datagram);
  }

  /**
   * What `receive` does with a first request that costs nothing to turn away, alone: nothing of the datagram is kept or changed, so that its
   * octets may stand where they came in.
   * @returns false when there is more to it: then `receive` takes it
   */
  turnsAway(datagram: Datagram, now: Millis): boolean {
    this.#world.now = now;
    return this.#world.halfOpen.turnsAway(this.#world, datagram);
  }

  /** @returns the id of the IKE SA that `initiate` made. Throws ApiMisuse for names and ids that do not exist. */
  command(command: Command, now: Millis): number | undefined {
    this.#world.now = now;
    return execute(this.#world, command);
  }

  /** @returns false when nobody waits for this answer any more. */
  answer(askId: number, result: AskResult, now: Millis): boolean {
    this.#world.now = now;
    return this.#world.asks.answer(askId, result);
  }

  observe(observation: Observation, now: Millis): void {
    this.#world.now = now;
    observe(this.#world, observation);
  }

  /** Fires every timer that is due. */
  expire(now: Millis): void {
    this.#world.now = now;
    for (let timer = this.#world.timers.due(now); timer; timer = this.#world.timers.due(now)) fire(this.#world, timer);
  }

  nextDeadline(): Millis | undefined {
    return this.#world.timers.next();
  }

  poll(): Effect | undefined {
    return this.#world.effects.take();
  }

  info(): IkeSaInfo[] {
    return [...this.#world.ikeSas.values()].map((sa) => sa.info());
  }

  /** Of one IKE SA, without looking at the others. */
  infoOf(ikeSa: number): IkeSaInfo | undefined {
    return this.#world.ikeSas.get(ikeSa)?.info();
  }

  /** For gauges, and for whoever watches that nothing grows without end. */
  load(): EndpointLoad {
    const { ikeSas, halfOpen, timers, asks, strangers } = this.#world;
    let fragmentOctets = 0;
    let children = 0;
    let requests = 0;
    let waiting = 0;
    for (const { reassembly, children: own, window, jobs, deferred, active } of ikeSas.values()) {
      if (reassembly) fragmentOctets += reassembly.requests.octets + reassembly.responses.octets;
      children += own.length;
      requests += window.size;
      waiting += jobs.length + deferred.length + active.length;
    }
    return {
      ikeSas: ikeSas.size,
      halfOpen: halfOpen.size,
      children,
      timers: timers.size,
      asks: asks.size,
      requests,
      jobs: waiting,
      fragmentOctets,
      strangers: strangers.counts,
    };
  }

  /** Later connections use these; SAs that stand keep what they were made with. */
  setConnections(connections: readonly Connection[]): void {
    this.#world.connections = connections;
  }

  /**
   * Established IKE SAs and their children as plain data, keys included: treat it as a secret.
   * @param now how old they are; without it, as of the last call
   */
  snapshot(now: Millis = this.#world.now): EndpointSnapshot {
    this.#world.now = now;
    return snapshotEndpoint(this.#world);
  }

  /**
   * Takes a snapshot over; Message IDs go on, counter IVs skip ahead so that none is used twice. Peers that agreed to it (RFC 6311) are asked first where both
   * go on: for them it may be older, or another process's.
   * @param exact nothing was sent or received since it was made: exchanges that were under way go on where they were
   */
  restore(snapshot: EndpointSnapshot, now: Millis, { exact = false }: { readonly exact?: boolean } = {}): void {
    this.#world.now = now;
    restoreEndpoint(this.#world, snapshot, exact);
  }
}
