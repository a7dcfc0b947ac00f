import type { Address } from '../../core/bytes/index.ts';
import type { Millis, Notice } from '../../core/ike/effects.ts';
import type { Identification } from '../../core/wire/payloads/types.ts';
import type { ChildCounters } from '../../host/dataplane/index.ts';
import type { Engine, IkeSaStatus } from '../../host/engine/engine.ts';
import type { Unsubscribe } from '../../host/engine/events.ts';

/**
 * What a client had of the gateway, from its first CHILD_SA to the end of its IKE SA; rekeyings and moves are part of it, a new authentication
 * is a new one.
 * Numbers only grow: each record replaces the one before it.
 */
export interface AccountRecord {
  readonly kind: 'start' | 'interim' | 'stop';
  /** Tells the sessions of one gateway apart. */
  readonly session: number;
  readonly connection: string | undefined;
  readonly id: Identification | undefined;
  /** Inner addresses that it was given. */
  readonly addresses: readonly string[];
  /** Its outer address when the record was made; of a stop the one known last. */
  readonly remote: Address;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Milliseconds since its start. */
  readonly duration: Millis;
  /** By the name of the child in the configuration. */
  readonly children: readonly AccountedChild[];
  /** Why it ended; of a stop. */
  readonly reason?: string | undefined;
}

export interface AccountedChild {
  readonly name: string;
  /** From the client. Octets of inner packets. */
  readonly octetsIn: number;
  readonly packetsIn: number;
  /** To the client. */
  readonly octetsOut: number;
  readonly packetsOut: number;
}

/** Hears of every client. Nothing waits for it: what it returns or throws changes nothing, and is counted where it fails. */
export type Account = (record: AccountRecord) => unknown;

export interface AccountingOptions {
  readonly engine: Engine;
  readonly account: Account;
  /** Milliseconds between two interim records; 0: none. */
  readonly interim: Millis;
  /** Milliseconds since 1970. */
  readonly wall: () => number;
}

/** Keeps the books of a gateway's clients by its notices. */
export class Accounting {
  readonly #options: AccountingOptions;
  /** By IKE SA. */
  readonly #sessions = new Map<number, Session>();
  /** CHILD_SAs that carry something, by number. */
  readonly #children = new Map<number, { readonly session: Session; readonly name: string }>();
  readonly #stop: readonly Unsubscribe[];
  readonly #timer: NodeJS.Timeout | undefined;
  #next = 1;

  constructor(options: AccountingOptions) {
    this.#options = options;
    const { engine, interim } = options;
    this.#stop = [
      engine.events.on('notice', ({ notice }) => this.#note(notice)),
      engine.events.on('child-removed', ({ child, counters }) => this.#removed(child, counters)),
    ];
    if (interim > 0) this.#timer = setInterval(() => this.#tellInterim(), interim).unref();
  }

  /** Ends what is open. */
  close(): void {
    clearInterval(this.#timer);
    for (const stop of this.#stop) stop();
    for (const ikeSa of [...this.#sessions.keys()]) this.#end(ikeSa, 'the gateway was closed');
  }

  #note(notice: Notice): void {
    switch (notice.kind) {
      case 'ike-rekeyed':
        return this.#move(notice.from, notice.to);
      case 'ike-down':
        return this.#end(notice.ikeSa, notice.reason);
      case 'child-up':
        return this.#childUp(notice);
      case 'child-rekeyed': {
        const before = this.#children.get(notice.from);
        return this.#own(notice.to, before?.session, before?.name ?? '');
      }
      default:
    }
  }

  #childUp({ ikeSa, child, name }: Extract<Notice, { kind: 'child-up' }>): void {
    const known = this.#sessions.get(ikeSa);
    if (known !== undefined) return this.#own(child, known, name);
    const status = this.#options.engine.infoOf(ikeSa);
    if (status === undefined) return;
    const session: Session = {
      number: this.#next++,
      began: this.#options.engine.now(),
      last: status,
      children: new Set(),
      past: new Map(),
    };
    this.#sessions.set(ikeSa, session);
    this.#own(child, session, name);
    this.#tell('start', session);
  }

  #move(from: number, to: number): void {
    const session = this.#sessions.get(from);
    if (session === undefined) return;
    this.#sessions.delete(from);
    this.#sessions.set(to, session);
  }

  #own(child: number, session: Session | undefined, name: string): void {
    if (session === undefined) return;
    session.children.add(child);
    this.#children.set(child, { session, name });
  }

  #removed(child: number, counters: ChildCounters | undefined): void {
    const owned = this.#children.get(child);
    if (owned === undefined) return;
    this.#children.delete(child);
    owned.session.children.delete(child);
    addTo(owned.session.past, owned.name, counters);
  }

  #end(ikeSa: number, reason: string): void {
    const session = this.#sessions.get(ikeSa);
    if (session === undefined) return;
    this.#tell('stop', session, reason);
    this.#sessions.delete(ikeSa);
    for (const child of session.children) this.#children.delete(child);
  }

  #tellInterim(): void {
    for (const [ikeSa, session] of this.#sessions) {
      session.last = this.#options.engine.infoOf(ikeSa) ?? session.last;
      this.#tell('interim', session);
    }
  }

  #tell(kind: AccountRecord['kind'], session: Session, reason?: string): void {
    const { engine, account, wall } = this.#options;
    const { connection, remoteId, assigned, assignedToUs, remote } = session.last;
    const record: AccountRecord = {
      kind,
      session: session.number,
      connection,
      id: remoteId,
      addresses: assignedToUs ? [] : assigned,
      remote,
      at: wall(),
      duration: engine.now() - session.began,
      children: this.#childrenOf(session),
      reason,
    };
    const failed = (): void => engine.counters.add('errors', 'ACCOUNT_FAILED');
    // not in the turn of the engine, which is in the middle of an exchange
    setImmediate(() => void Promise.resolve(record).then(account).catch(failed));
  }

  #childrenOf(session: Session): readonly AccountedChild[] {
    const sums = new Map(session.past);
    for (const child of session.children) addTo(sums, this.#children.get(child)!.name, this.#options.engine.plane.counters(child));
    return [...sums.values()];
  }
}

interface Session {
  readonly number: number;
  /** Of the engine's clock. */
  readonly began: Millis;
  last: IkeSaStatus;
  readonly children: Set<number>;
  /** What CHILD_SAs carried that are gone, by name. */
  readonly past: Map<string, AccountedChild>;
}

function addTo(sums: Map<string, AccountedChild>, name: string, counters: ChildCounters | undefined): void {
  const before = sums.get(name);
  sums.set(name, {
    name,
    octetsIn: (before?.octetsIn ?? 0) + (counters?.inbound.bytes ?? 0),
    packetsIn: (before?.packetsIn ?? 0) + (counters?.inbound.packets ?? 0),
    octetsOut: (before?.octetsOut ?? 0) + (counters?.outbound.bytes ?? 0),
    packetsOut: (before?.packetsOut ?? 0) + (counters?.outbound.packets ?? 0),
  });
}
