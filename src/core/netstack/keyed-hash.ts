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

/** SipRound of the paper. */
function round(v: Int32Array): void {
  const [p0l, p0h, p1l, p1h] = [v[0]!, v[1]!, v[2]!, v[3]!];
  const [p2l, p2h, p3l, p3h] = [v[4]!, v[5]!, v[6]!, v[7]!];
  const q0l = (p0l + p1l) | 0;
  const q0h = p0h + p1h + carry(p0l, p1l);
  const q2l = (p2l + p3l) | 0;
  const q2h = p2h + p3h + carry(p2l, p3l);
  const q1l = rotated(p1l, p1h, 13) ^ q0l;
  const q1h = rotated(p1h, p1l, 13) ^ q0h;
  const q3l = rotated(p3l, p3h, 16) ^ q2l;
  const q3h = rotated(p3h, p3l, 16) ^ q2h;
  // v0 was turned by 32: its halves have changed places
  const r0l = (q0h + q3l) | 0;
  const r0h = q0l + q3h + carry(q0h, q3l);
  const r2l = (q2l + q1l) | 0;
  const r2h = q2h + q1h + carry(q2l, q1l);
  v[0] = r0l;
  v[1] = r0h;
  v[2] = rotated(q1l, q1h, 17) ^ r2l;
  v[3] = rotated(q1h, q1l, 17) ^ r2h;
  v[4] = r2h;
  v[5] = r2l;
  v[6] = rotated(q3l, q3h, 21) ^ r0l;
  v[7] = rotated(q3h, q3l, 21) ^ r0h;
}

/** What the addition of two low halves leaves for the high ones. */
const carry = (a: number, b: number): number => ((a >>> 0) + (b >>> 0) > 0xffffffff ? 1 : 0);

/** The half `a` of a number whose other half is `b`, turned left by so many bits. */
const rotated = (a: number, b: number, bits: number): number => (a << bits) | (b >>> (32 - bits));

/** Little-endian, of at most `available` octets. */
function word(data: Uint8Array, at: number, available: number): number {
  let value = 0;
  for (let i = Math.min(4, available) - 1; i >= 0; i--) value = (value << 8) | data[at + i]!;
  return value;
}
