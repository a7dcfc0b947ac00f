/** Which IKE SAs a connection has: asking the core for all of them, whenever one changes, would cost more than the change. */
export class Connected {
  readonly #byConnection = new Map<string, Set<number>>();
  readonly #connections = new Map<number, string>();

  add(connection: string, ikeSa: number): void {
    if (this.#connections.get(ikeSa) === connection) return;
    this.remove(ikeSa);
    this.#connections.set(ikeSa, connection);
    const ikeSas = this.#byConnection.get(connection) ?? new Set();
    this.#byConnection.set(connection, ikeSas.add(ikeSa));
  }

  remove(ikeSa: number): void {
    const connection = this.#connections.get(ikeSa);
    if (connection === undefined) return;
    this.#connections.delete(ikeSa);
    const ikeSas = this.#byConnection.get(connection);
    ikeSas?.delete(ikeSa);
    if (ikeSas?.size === 0) this.#byConnection.delete(connection);
  }

  of(connection: string): readonly number[] {
    return [...(this.#byConnection.get(connection) ?? [])];
  }
}
