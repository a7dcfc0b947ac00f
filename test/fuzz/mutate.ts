import type { Draws } from './draws.ts';

/**
 * One to four changes to an input. They are those that parsers stumble over: lengths and counts at their limits, cut ends, parts that
 * come twice or from another input, single bits.
 */
export function mutate(input: Uint8Array, others: readonly Uint8Array[], draws: Draws): Uint8Array {
  let data: Uint8Array = input.slice();
  for (let changes = 1 + draws.below(4); changes > 0; changes--) data = draws.pick(MUTATORS)(data, others, draws);
  return data.length > LONGEST ? data.slice(0, LONGEST) : data;
}

type Mutator = (data: Uint8Array, others: readonly Uint8Array[], draws: Draws) => Uint8Array;

const MUTATORS: readonly Mutator[] = [
  function flipBit(data, _others, draws) {
    if (data.length > 0) data[draws.below(data.length)]! ^= 1 << draws.below(8);
    return data;
  },
  function setOctet(data, _others, draws) {
    if (data.length > 0) data[draws.below(data.length)] = draws.pick(OCTETS);
    return data;
  },
  function setBigEndian16(data, _others, draws) {
    const at = draws.below(Math.max(1, data.length - 1));
    const value = draws.oneIn(2) ? draws.pick(WORDS) : data.length + draws.below(9) - 4;
    data.set([(value >> 8) & 0xff, value & 0xff].slice(0, data.length - at), at);
    return data;
  },
  function setBigEndian32(data, _others, draws) {
    const at = draws.below(Math.max(1, data.length - 3));
    const value = draws.pick(LONGS);
    data.set([value >>> 24, (value >> 16) & 0xff, (value >> 8) & 0xff, value & 0xff].slice(0, data.length - at), at);
    return data;
  },
  function nudge16(data, _others, draws) {
    if (data.length < 2) return data;
    const at = draws.below(data.length - 1);
    const value = ((data[at]! << 8) | data[at + 1]!) + draws.below(9) - 4;
    data[at] = (value >> 8) & 0xff;
    data[at + 1] = value & 0xff;
    return data;
  },
  function cutEnd(data, _others, draws) {
    return data.slice(0, draws.below(data.length + 1));
  },
  function removePart(data, _others, draws) {
    const [from, to] = part(data, draws);
    return join(data.subarray(0, from), data.subarray(to));
  },
  function repeatPart(data, _others, draws) {
    const [from, to] = part(data, draws);
    const times = draws.oneIn(8) ? 64 : 1 + draws.below(3);
    return join(data.subarray(0, to), ...Array.from({ length: times }, () => data.subarray(from, to)), data.subarray(to));
  },
  function spliceOther(data, others, draws) {
    const other = draws.pick(others);
    const [from, to] = part(other, draws);
    const at = draws.below(data.length + 1);
    return join(data.subarray(0, at), other.subarray(from, to), data.subarray(draws.oneIn(2) ? at : Math.min(data.length, at + to - from)));
  },
  function appendOctets(data, _others, draws) {
    return join(data, draws.octets(draws.below(64)));
  },
  function fillPart(data, _others, draws) {
    const [from, to] = part(data, draws);
    return data.fill(draws.pick(OCTETS), from, to);
  },
  function nest(data, _others, draws) {
    // A part that holds itself, many times over: recursion and quadratic work.
    const [from, to] = part(data, draws);
    const head = data.subarray(from, Math.min(to, from + 4));
    return join(data.subarray(0, from), ...Array.from({ length: 256 }, () => head), data.subarray(from));
  },
];

function part(data: Uint8Array, draws: Draws): [from: number, to: number] {
  const from = draws.below(data.length + 1);
  const longest = draws.oneIn(4) ? data.length - from : Math.min(32, data.length - from);
  return [from, from + draws.below(longest + 1)];
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const p of parts) {
    whole.set(p, at);
    at += p.length;
  }
  return whole;
}

const OCTETS = [0x00, 0x01, 0x02, 0x04, 0x1f, 0x20, 0x24, 0x30, 0x7f, 0x80, 0x81, 0x84, 0xa0, 0xfe, 0xff];
const WORDS = [0, 1, 3, 4, 5, 7, 8, 27, 28, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xfffb, 0xfffe, 0xffff];
const LONGS = [0, 1, 4, 27, 28, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff];
/** The longest UDP datagram. */
const LONGEST = 65_507;
