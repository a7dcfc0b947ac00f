/**
 * Copies and one's complement sums over one memory, 16 octets at a time: WebAssembly, since JavaScript has no such instructions. Offsets are
 * from the beginning of the memory; leaving it is a RangeError or a RuntimeError, not a wrong sum.
 */
export interface PacketArithmetic {
  /** As `sumOctets` has it: of up to 65535 octets at any offset, folded. */
  sum(at: number, length: number): number;
  /** Copies what does not overlap, and returns its sum. */
  copySum(from: number, to: number, length: number): number;
  copy(from: number, to: number, length: number): void;
}

export interface PacketMemory {
  readonly buffer: ArrayBuffer;
  /** Undefined where this machine or this Node has no such instructions. */
  readonly arithmetic: PacketArithmetic | undefined;
}

/** Memory of so many octets at least, zeroed, which stays where it is. */
export function openPacketMemory(octets: number): PacketMemory {
  const pages = Math.ceil(octets / PAGE);
  try {
    compiled ??= new WebAssembly.Module(PROGRAM);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const { exports } = new WebAssembly.Instance(compiled, { host: { memory } });
    return { buffer: memory.buffer, arithmetic: exports as unknown as PacketArithmetic };
  } catch {
    // No WebAssembly (--jitless), no vectors, or no room for the address space that it sets aside.
    return { buffer: new ArrayBuffer(octets), arithmetic: undefined };
  }
}

/** The part of the standard's interface that is used. */
declare const WebAssembly: {
  readonly Module: new (program: Uint8Array) => object;
  readonly Memory: new (pages: { readonly initial: number; readonly maximum: number }) => { readonly buffer: ArrayBuffer };
  readonly Instance: new (
    module: object,
    imports: { readonly host: { readonly memory: object } },
  ) => { readonly exports: Readonly<Record<string, unknown>> };
};

let compiled: object | undefined;
const PAGE = 65_536;

// What follows writes the program down: names and numbers are those of the WebAssembly specification, chapter 5 (binary format).

type Code = readonly number[];

const unsigned = (value: number): Code => (value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)]);
const list = (items: readonly Code[]): Code => [...unsigned(items.length), ...items.flat()];
const sized = (code: Code): Code => [...unsigned(code.length), ...code];
const name = (text: string): Code => sized([...text].map((letter) => letter.charCodeAt(0)));
const section = (id: number, code: Code): Code => [id, ...sized(code)];

const I32 = 0x7f;
const V128 = 0x7b;
const END = 0x0b;
const get = (local: number): Code => [0x20, local];
const set = (local: number): Code => [0x21, local];
/** Below 64, so that one octet says it. */
const small = (value: number): Code => [0x41, value];
const FFFF: Code = [0x41, 0xff, 0xff, 0x03];
const ADD = 0x6a;
const SUB = 0x6b;
const AND = 0x71;
const OR = 0x72;
const SHL = 0x74;
const SHR_U = 0x76;
const LT_U = 0x49;
const LOAD8_U: Code = [0x2d, 0, 0];
const LOAD16_U: Code = [0x2f, 0, 0];
const STORE8: Code = [0x3a, 0, 0];
const STORE16: Code = [0x3b, 0, 0];
const loadVector = (offset: number): Code => [0xfd, 0x00, 0, offset];
const storeVector = (offset: number): Code => [0xfd, 0x0b, 0, offset];
const EXTRACT_LANE: Code = [0xfd, 0x1b];
/** i32x4.extadd_pairwise_i16x8_u: four sums of two words each, which no carry is lost from. */
const ADD_PAIRS: Code = [0xfd, 0x7f];
const ADD_VECTORS: Code = [0xfd, 0xae, 0x01];

const loop = (...body: readonly Code[]): Code => [0x02, 0x40, 0x03, 0x40, ...body.flat(), 0x0c, 0, END, END];
const leaveIf = (...condition: readonly Code[]): Code => [...condition.flat(), 0x0d, 1];

/** `sum`, or with a place to copy to `copySum`. Parameters come first among the locals. */
function summing(copies: boolean): Code {
  const [from, to, left] = copies ? [0, 1, 2] : [0, -1, 1];
  const [even, odd, words, sum] = [left! + 1, left! + 2, left! + 3, left! + 4];
  const advance = (octets: number): Code => [
    ...[...get(from!), ...small(octets), ADD, ...set(from!)],
    ...(copies ? [...get(to!), ...small(octets), ADD, ...set(to!)] : []),
    ...[...get(left!), ...small(octets), SUB, ...set(left!)],
  ];
  const addVector = (offset: number, into: number): Code => [
    ...[...get(from!), ...loadVector(offset), ...set(words)],
    ...(copies ? [...get(to!), ...get(words), ...storeVector(offset)] : []),
    ...[...get(into), ...get(words), ...ADD_PAIRS, ...ADD_VECTORS, ...set(into)],
  ];
  const addScalar = (load: Code, store: Code): Code => [
    ...(copies ? [...get(to!), ...get(from!), ...load, ...store] : []),
    ...[...get(sum), ...get(from!), ...load, ADD, ...set(sum)],
  ];
  const lane = (number: number): Code => [...get(even), ...EXTRACT_LANE, number];
  const fold: Code = [...get(sum), ...FFFF, AND, ...get(sum), ...small(16), SHR_U, ADD, ...set(sum)];
  const code: Code = [
    // In the byte order of the memory, as it may be swapped at the end (RFC 1071 §2 (B)).
    ...loop(leaveIf(get(left!), small(32), [LT_U]), addVector(0, even), addVector(16, odd), advance(32)),
    ...loop(leaveIf(get(left!), small(16), [LT_U]), addVector(0, even), advance(16)),
    ...loop(leaveIf(get(left!), small(2), [LT_U]), addScalar(LOAD16_U, STORE16), advance(2)),
    ...loop(leaveIf(get(left!), small(1), [LT_U]), addScalar(LOAD8_U, STORE8), advance(1)),
    ...[...get(even), ...get(odd), ...ADD_VECTORS, ...set(even)],
    ...[...lane(0), ...lane(1), ADD, ...lane(2), ADD, ...lane(3), ADD, ...get(sum), ADD, ...set(sum)],
    ...fold,
    ...fold,
    ...[...get(sum), ...small(8), SHL, ...FFFF, AND, ...get(sum), ...small(8), SHR_U, OR, END],
  ];
  const locals = list([
    [3, V128],
    [1, I32],
  ]);
  return sized([...locals, ...code]);
}

/** memory.copy, which may overlap. */
const COPY: Code = sized([0, ...get(1), ...get(0), ...get(2), 0xfc, 0x0a, 0, 0, END]);

const PROGRAM = Uint8Array.from([
  ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...section(
    1,
    list([
      [0x60, 2, I32, I32, 1, I32],
      [0x60, 3, I32, I32, I32, 1, I32],
      [0x60, 3, I32, I32, I32, 0],
    ]),
  ),
  ...section(2, list([[...name('host'), ...name('memory'), 2, 0, 1]])),
  ...section(3, list([[0], [1], [2]])),
  ...section(
    7,
    list([
      [...name('sum'), 0, 0],
      [...name('copySum'), 0, 1],
      [...name('copy'), 0, 2],
    ]),
  ),
  ...section(10, list([summing(false), summing(true), COPY])),
]);
