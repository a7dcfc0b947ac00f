import type { Notice } from '../../core/ike/effects.ts';
import { ExchangeType, nameOf } from '../../core/wire/iana.ts';

export type CounterFamily = (typeof FAMILIES)[number];

/** For status, metrics and tests: `drops` → `no-such-sa` → 3. */
export type CounterSnapshot = Readonly<Record<CounterFamily, Readonly<Record<string, number>>>>;

/** Events since the start, by family and label. */
export class Counters {
  readonly #families = {} as Record<CounterFamily, Map<string, { count: number }>>;

  constructor() {
    for (const family of FAMILIES) this.#families[family] = new Map();
  }

  /** Labels may stem from what a peer sent, so their number is bounded: past that they count as `other`. */
  add(family: CounterFamily, label: string, by = 1): void {
    const labels = this.#families[family];
    const known = labels.get(label) ?? (labels.size < MOST_LABELS ? undefined : labels.get('other'));
    if (known !== undefined) known.count += by;
    else labels.set(labels.size < MOST_LABELS ? label : 'other', { count: by });
  }

  get(family: CounterFamily, label: string): number {
    return this.#families[family].get(label)?.count ?? 0;
  }

  snapshot(): CounterSnapshot {
    const copy = {} as Record<CounterFamily, Record<string, number>>;
    for (const family of FAMILIES)
      copy[family] = Object.fromEntries([...this.#families[family]].map(([label, { count }]) => [label, count]));
    return copy;
  }

  count(notice: Notice): void {
    this.add('notices', notice.kind);
    if (notice.kind === 'drop') this.add('drops', notice.cause);
    else if (notice.kind === 'failed') this.add('errors', notice.error.code);
    else if (notice.kind === 'ike-down' && notice.error !== undefined) this.add('errors', notice.error.code);
    else if (notice.kind === 'retransmit') this.add('retransmissions', nameOf(ExchangeType, notice.exchange));
    else if (notice.kind === 'exchange') {
      this.add('exchanges', exchangeLabel(notice.exchange, notice.initiator));
    }
  }
}

/** One text for all exchanges of a kind: one that is made anew has to be hashed anew. */
function exchangeLabel(exchange: number, initiator: boolean): string {
  const texts = EXCHANGES[initiator ? 'begun' : 'answered'];
  const known = texts.get(exchange);
  if (known !== undefined) return known;
  const text = `${nameOf(ExchangeType, exchange)} ${initiator ? 'begun' : 'answered'}`;
  if (texts.size < MOST_LABELS) texts.set(exchange, text);
  return text;
}

const EXCHANGES = { begun: new Map<number, string>(), answered: new Map<number, string>() };
const FAMILIES = ['notices', 'drops', 'exchanges', 'retransmissions', 'errors', 'datagrams', 'streams', 'asks'] as const;
const MOST_LABELS = 100;
