import type { Reader } from '../bytes/reader.ts';
import type { Writer } from '../bytes/writer.ts';
import type { MessageForm } from './forms.ts';
import type { Payload, PayloadOf } from './payloads/types.ts';

export type PayloadKind = Payload['kind'];

/** Everything there is to know about one payload, in one place: what adds a payload to the codec is one of these. */
export interface PayloadDefinition<K extends PayloadKind> {
  /** IANA payload type. */
  readonly type: number;
  /** The RFC's own notation (RFC 7296 §1.2). */
  readonly notation: K;
  /** Where it is defined. */
  readonly section: string;
  /** In which messages it may stand, and how often. Everywhere else it is forbidden. */
  readonly occurs: readonly Occurrence[];
  /**
   * Reads the octets behind the generic payload header. The reader ends where the payload ends.
   * @param next the Next Payload field: for SK and SKF the type of the first payload inside.
   */
  parse(r: Reader, next: number): PayloadOf<K>;
  /** Writes the octets behind the generic payload header. */
  write(w: Writer, payload: PayloadOf<K>): void;
  /** For people. The first line stands beside the notation, the others beneath. */
  describe(payload: PayloadOf<K>): Description;
  /** An arbitrary well-formed value: tests, fuzzers and documentation draw theirs from here. */
  sample(gen: SampleSource): PayloadOf<K>;
}

/** One line, or a line with lines beneath it. */
export type Description = string | { readonly text: string; readonly lines: readonly Description[] };

/** Where arbitrary values come from; seeded, so that a failure can be repeated. */
export interface SampleSource {
  u8(): number;
  u16(): number;
  u32(): number;
  /** Both ends inclusive. */
  int(min: number, max: number): number;
  /** True once in `n` times. */
  oneIn(n: number): boolean;
  bytes(min: number, max?: number): Uint8Array;
  pick<T>(items: readonly T[]): T;
  many<T>(min: number, max: number, make: () => T): T[];
}

export type Cardinality = 'one' | 'optional' | 'many';

export interface Occurrence {
  readonly form: MessageForm;
  readonly times: Cardinality;
}

export const once = (...forms: MessageForm[]): Occurrence[] => forms.map((form) => ({ form, times: 'one' }));
export const optional = (...forms: MessageForm[]): Occurrence[] => forms.map((form) => ({ form, times: 'optional' }));
export const many = (...forms: MessageForm[]): Occurrence[] => forms.map((form) => ({ form, times: 'many' }));

export const definePayload = <K extends PayloadKind>(definition: PayloadDefinition<K>): PayloadDefinition<K> => definition;
