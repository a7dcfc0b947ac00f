import { PeerRefused, TimedOut } from '../../core/bytes/index.ts';
import type { IkeSaInfo, Millis, Notice } from '../../core/ike/effects.ts';
import type { Connection } from '../../core/ike/policy.ts';
import type { Clock } from '../platform/clock.ts';
import { isBeginning, isInstalled, isUp } from './books.ts';
import type { Engine, IkeSaStatus } from './engine.ts';
import { testRekey } from './rekey-test.ts';
import { connectionEnded, type Outcome, until } from './until.ts';

export interface UpRequest {
  readonly connection: string;
  readonly child?: string | undefined;
  /** Which else the connection says. */
  readonly testRekey?: boolean | undefined;
}

type CommandedEngine = Pick<Engine, 'command' | 'events' | 'infoOf' | 'initiate' | 'ofConnection' | 'ownerOf'>;

/** Brings connections up, and tells when they stand. */
export class Connecting {
  readonly #engine: CommandedEngine;
  readonly #clock: Clock;
  readonly #beginning = new Map<string, Promise<number>>();

  constructor(engine: CommandedEngine, clock: Clock) {
    this.#engine = engine;
    this.#clock = clock;
  }

  /** @throws what made it fail; the signal's reason when that ends it, the attempt being given up */
  async up(
    connection: Connection,
    { child, testRekey: asked }: UpRequest,
    signal?: AbortSignal,
  ): Promise<{ readonly ikeSa: IkeSaInfo; readonly took: Millis }> {
    const began = this.#clock.now();
    const tries = 'keyingTries' in connection && typeof connection.keyingTries === 'number' ? connection.keyingTries : 1;
    for (let attempt = 1; ; attempt++) {
      try {
        const stood = this.#complete(connection, child) !== undefined;
        const ikeSa = await this.#attempt(connection, child, signal);
        const took = stood && attempt === 1 ? 0 : this.#clock.now() - began;
        if (!(asked ?? (connection.testRekey === true && !stood))) return { ikeSa, took };
        await testRekey(this.#engine, connection.name, () => this.#clock.wall(), signal);
        return { ikeSa: this.#complete(connection, child) ?? ikeSa, took };
      } catch (error) {
        const timedOut = error instanceof TimedOut && (tries === 0 || attempt < tries);
        // RFC 4555 §3.9: one packet that was changed on the way is no reason to give up
        const changed = error instanceof PeerRefused && error.code === 'PEER_UNEXPECTED_NAT_DETECTED' && attempt < NAT_TRIES;
        if (!(timedOut || changed) || signal?.aborted === true) throw error;
      }
    }
  }

  async #attempt(connection: Connection, child: string | undefined, signal: AbortSignal | undefined): Promise<IkeSaInfo> {
    const { name } = connection;
    const standing = this.#complete(connection, child);
    if (standing !== undefined) return standing;
    signal?.throwIfAborted();
    const present = this.#engine.ofConnection(name).find((sa) => isUp(sa) || isBeginning(sa));
    let ikeSa = present?.id;
    if (present !== undefined && isUp(present)) {
      const wanted = child ?? connection.children[0]?.name;
      if (wanted !== undefined) this.#engine.command({ kind: 'create-child', ikeSa: present.id, child: wanted });
    } else ikeSa ??= await this.#begin(name, child);
    try {
      return await until(
        this.#engine.events,
        (notice) => {
          if (notice !== undefined && isFollowed(notice) && notice.ikeSa === ikeSa) ikeSa = notice.to ?? ikeSa;
          return this.#judge(connection, child, ikeSa!, notice);
        },
        signal,
      );
    } catch (error) {
      if (signal?.aborted && present === undefined) this.#engine.command({ kind: 'terminate', connection: name });
      throw error;
    }
  }

  /** Sockets may have to be opened first; whoever wants the same connection meanwhile gets the same IKE SA. */
  #begin(name: string, child: string | undefined): Promise<number> {
    let beginning = this.#beginning.get(name);
    if (beginning === undefined) {
      beginning = this.#engine.initiate(name, child).finally(() => this.#beginning.delete(name));
      this.#beginning.set(name, beginning);
    }
    return beginning;
  }

  #judge(connection: Connection, child: string | undefined, ikeSa: number, notice: Notice | undefined): Outcome<IkeSaInfo> {
    if (notice !== undefined && !concerns(notice, ikeSa)) return undefined;
    const complete = this.#complete(connection, child);
    if (complete !== undefined) return { done: complete };
    if (notice?.kind === 'failed') return { failed: notice.error };
    if (notice?.kind === 'ike-down') return { failed: notice.error ?? connectionEnded(connection.name, notice.reason) };
    const ended = notice === undefined && this.#engine.infoOf(ikeSa) === undefined;
    return ended ? { failed: connectionEnded(connection.name, 'it ended at once') } : undefined;
  }

  /** The IKE SA of a connection that is up with the child, or with any of its children, or with none where none is configured. */
  #complete({ name, children }: Connection, child: string | undefined): IkeSaStatus | undefined {
    const needsChild = child !== undefined || children.length > 0;
    const hasIt = (sa: IkeSaStatus): boolean => sa.children.some((c) => isInstalled(c) && (child === undefined || c.name === child));
    return this.#engine.ofConnection(name).find((sa) => isUp(sa) && (!needsChild || hasIt(sa)));
  }
}

type Followed = Extract<Notice, { kind: 'redirected' | 'not-resumed' | 'trying-address' | 'transport-chosen' }>;

/** Another IKE SA goes on: another gateway (RFC 5685), a ticket not taken (RFC 5723), another address (RFC 4555), TCP for UDP (RFC 9329). */
const isFollowed = (notice: Notice): notice is Followed =>
  notice.kind === 'redirected' || notice.kind === 'not-resumed' || notice.kind === 'trying-address' || notice.kind === 'transport-chosen';

const concerns = (notice: Notice, ikeSa: number): boolean => 'ikeSa' in notice && notice.ikeSa === ikeSa;

const NAT_TRIES = 5;
