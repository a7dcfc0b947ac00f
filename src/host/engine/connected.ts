import { MultiMap } from '../../core/bytes/multi-map.ts';

/** Which IKE SAs a connection has: asking the core for all of them, whenever one changes, would cost more than the change. */
export class Connected {
  readonly #byConnection = new MultiMap<string, number>();
  readonly #connections = new Map<number, string>();

  add(connection: string, ikeSa: number): void {
    if (this.#connections.get(ikeSa) === connection) return;
    this.remove(ikeSa);
    this.#connections.set(ikeSa, connection);
    this.#byConnection.add(connection, ikeSa);
  }

  remove(ikeSa: number): void {
    const connection = this.#connections.get(ikeSa);
    if (connection === undefined) return;
    this.#connections.delete(ikeSa);
    this.#byConnection.delete(connection, ikeSa);
  }

  of(connection: string): readonly number[] {
    return [...this.#byConnection.of(connection)];
  }
}
