/**
 * SipHash-2-4 (Aumasson and Bernstein, 2012), low 32 bits, on pairs of 32-bit halves: the keyed function behind initial sequence
 * numbers, ports and identifiers (RFC 6528 §3, RFC 6056 §3.3.3). Never for protecting data.
 */
export class KeyedHash {
  readonly #key: Int32Array;

  /** @param key 16 octets. */
  constructor(key: Uint8Array) {
    this.#key = new Int32Array(4);
    for (let i = 0; i < 4; i++) this.#key[i] = word(key, 4 * i, 16);
  }

  /** @returns 32 bits, signed. */
  hash(data: Uint8Array): number {
    const [k0l, k0h, k1l, k1h] = [this.#key[0]!, this.#key[1]!, this.#key[2]!, this.#key[3]!];
    // Each variable v of the paper is v[2i] (low) and v[2i + 1] (high).
    const v = STATE;
    v[0] = k0l ^ 0x70736575;
    v[1] = k0h ^ 0x736f6d65;
    v[2] = k1l ^ 0x6e646f6d;
    v[3] = k1h ^ 0x646f7261;
    v[4] = k0l ^ 0x6e657261;
    v[5] = k0h ^ 0x6c796765;
    v[6] = k1l ^ 0x79746573;
    v[7] = k1h ^ 0x74656462;
    const whole = data.length & ~7;
    for (let at = 0; at < whole; at += 8) absorb(v, word(data, at, 8), word(data, at + 4, 8));
    const left = data.length - whole;
    absorb(v, word(data, whole, left), word(data, whole + 4, left - 4) | (data.length << 24));
    v[4] = v[4]! ^ 0xff;
    for (let i = 0; i < 4; i++) round(v);
    return v[0]! ^ v[2]! ^ v[4]! ^ v[6]!;
  }
}

const STATE = new Int32Array(8);

function absorb(v: Int32Array, low: number, high: number): void {
  v[6] = v[6]! ^ low;
  v[7] = v[7]! ^ high;
  round(v);
  round(v);
  v[0] = v[0]! ^ low;
  v[1] = v[1]! ^ high;
}

function round(v: Int32Array): void {
  add(v, 0, 2);
  rotate(v, 2, 13);
  xor(v, 2, 0);
  rotate(v, 0, 32);
  add(v, 4, 6);
  rotate(v, 6, 16);
  xor(v, 6, 4);
  add(v, 0, 6);
  rotate(v, 6, 21);
  xor(v, 6, 0);
  add(v, 4, 2);
  rotate(v, 2, 17);
  xor(v, 2, 4);
  rotate(v, 4, 32);
}

function add(v: Int32Array, a: number, b: number): void {
  const low = (v[a]! >>> 0) + (v[b]! >>> 0);
  v[a] = low;
  v[a + 1] = v[a + 1]! + v[b + 1]! + (low > 0xffffffff ? 1 : 0);
}

function xor(v: Int32Array, a: number, b: number): void {
  v[a] = v[a]! ^ v[b]!;
  v[a + 1] = v[a + 1]! ^ v[b + 1]!;
}

function rotate(v: Int32Array, a: number, bits: number): void {
  const [low, high] = [v[a]!, v[a + 1]!];
  if (bits === 32) {
    v[a] = high;
    v[a + 1] = low;
    return;
  }
  v[a] = (low << bits) | (high >>> (32 - bits));
  v[a + 1] = (high << bits) | (low >>> (32 - bits));
}

/** Little-endian, of at most `available` octets. */
function word(data: Uint8Array, at: number, available: number): number {
  let value = 0;
  for (let i = Math.min(4, available) - 1; i >= 0; i--) value = (value << 8) | data[at + i]!;
  return value;
}
