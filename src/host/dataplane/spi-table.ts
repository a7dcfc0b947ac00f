/** What stands under an inbound SPI (RFC 4301 §4.4.2). Half of all SPIs are numbers that V8 makes objects of, unless they are taken as signed. */
export class SpiTable<Entry> {
  readonly #entries = new Map<number, Entry>();

  has(spi: number): boolean {
    return this.#entries.has(spi | 0);
  }

  get(spi: number): Entry | undefined {
    return this.#entries.get(spi | 0);
  }

  set(spi: number, entry: Entry): void {
    this.#entries.set(spi | 0, entry);
  }

  delete(spi: number): void {
    this.#entries.delete(spi | 0);
  }
}
