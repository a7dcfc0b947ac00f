import { TunnelwrightError } from '../../core/bytes/index.ts';
import type { Notice } from '../../core/ike/effects.ts';
import { TokenBucket } from '../../core/ike/token-bucket.ts';
import type { Clock } from '../platform/clock.ts';
import { defectOf } from './asks.ts';
import { Counters } from './counters.ts';
import type { EngineEvents } from './engine-types.ts';
import { Emitter } from './events.ts';

/** What happens is counted, and told to whoever listens; what goes wrong as well. Nothing here throws. */
export class Reports {
  readonly events = new Emitter<EngineEvents>((error) => this.#onListenerError(error));
  readonly counters = new Counters();
  readonly #clock: Clock;
  readonly #shownDrops = new TokenBucket(DROPS_SHOWN_AT_ONCE, DROPS_SHOWN_PER_SECOND);
  #blamingListener = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  tell(notice: Notice): void {
    this.counters.count(notice);
    // Anybody can make us drop datagrams; logs must not grow at their pace.
    if (notice.kind === 'drop' && !this.#shownDrops.take(this.#clock.now())) this.counters.add('notices', 'drop, not shown');
    else this.events.emit('notice', { at: this.#clock.wall(), notice });
  }

  /** Our own mistake. */
  defect(what: string, error: unknown): void {
    this.tell({ kind: 'failed', ikeSa: undefined, connection: undefined, what, error: defectOf(what, error) });
  }

  fail(connection: string | undefined, what: string, error: unknown): void {
    if (!(error instanceof TunnelwrightError)) this.defect(what, error);
    else this.tell({ kind: 'failed', ikeSa: undefined, connection, what, error });
  }

  /** Told to all listeners once; one that fails at that too is only counted. */
  #onListenerError(error: unknown): void {
    this.counters.add('errors', 'LISTENER_FAILED');
    if (this.#blamingListener) return;
    this.#blamingListener = true;
    this.defect('a listener', error);
    this.#blamingListener = false;
  }
}

const DROPS_SHOWN_AT_ONCE = 100;
const DROPS_SHOWN_PER_SECOND = 10;
