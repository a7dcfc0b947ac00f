/** The largest of the values that came within the last so many rounds; three candidates are kept, the best and those that would follow it. */
export class WindowedMax {
  readonly #rounds: number;
  readonly #values = [0, 0, 0];
  readonly #at = [0, 0, 0];

  constructor(rounds: number) {
    this.#rounds = rounds;
  }

  get value(): number {
    return this.#values[0]!;
  }

  update(value: number, round: number): void {
    if (value >= this.#values[0]! || round - this.#at[2]! > this.#rounds) {
      this.#put(0, value, round);
      return;
    }
    if (value >= this.#values[1]!) this.#put(1, value, round);
    else if (value >= this.#values[2]!) this.#put(2, value, round);
    this.#age(value, round);
  }

  /** From a place on, nothing better is known. */
  #put(from: number, value: number, round: number): void {
    for (let i = from; i < 3; i++) {
      this.#values[i] = value;
      this.#at[i] = round;
    }
  }

  #age(value: number, round: number): void {
    if (round - this.#at[0]! > this.#rounds) {
      this.#values.copyWithin(0, 1);
      this.#at.copyWithin(0, 1);
      this.#put(2, value, round);
      if (round - this.#at[0]! <= this.#rounds) return;
      this.#values.copyWithin(0, 1);
      this.#at.copyWithin(0, 1);
    } else if (this.#at[1] === this.#at[0] && round - this.#at[0]! > this.#rounds / 4) this.#put(1, value, round);
    else if (this.#at[2] === this.#at[1] && round - this.#at[1]! > this.#rounds / 2) this.#put(2, value, round);
  }
}
