import type { Attributes, MessageWriter } from '../codec.ts';
import { XFRMA } from './structs.ts';

/** Where the sequence numbers of an SA stand; with ESN all 64 bits of them (RFC 4303 §2.2.1). */
export interface XfrmSequence {
  /** The last that was sent. */
  readonly outbound: bigint;
  /** The highest that came in. */
  readonly inbound: bigint;
}

export interface XfrmReplay {
  /** Packets; 0 is no check. */
  readonly window: number;
  readonly esn: boolean;
  readonly sequence?: XfrmSequence;
}

/** The window fits the small structure, which every kernel has in the SA itself. */
export const isSmall = ({ window, esn }: XfrmReplay): boolean => !esn && window <= SMALL_WINDOW;

/** What does not fit into the SA: a large window, ESN, and where the numbers stand. */
export function writeReplay(request: MessageWriter, replay: XfrmReplay): void {
  const { outbound, inbound } = replay.sequence ?? { outbound: 0n, inbound: 0n };
  // which of the packets before the highest came is not known: none of them comes again
  const seen = inbound === 0n ? 0 : 0xff;
  if (isSmall(replay)) {
    // struct xfrm_replay_state
    if (replay.sequence)
      request.attribute(XFRMA.REPLAY_VAL, (writer) => writer.u32(low(outbound)).u32(low(inbound)).bytes(new Uint8Array(4).fill(seen)));
    return;
  }
  const words = Math.max(1, Math.ceil(replay.window / 32));
  // struct xfrm_replay_state_esn
  request.attribute(XFRMA.REPLAY_ESN_VAL, (writer) =>
    writer
      .u32(words)
      .u32(low(outbound))
      .u32(low(inbound))
      .u32(high(outbound))
      .u32(high(inbound))
      .u32(replay.window)
      .bytes(new Uint8Array(4 * words).fill(seen)),
  );
}

export function readReplay(attributes: Attributes): { readonly sequence: XfrmSequence; readonly window: number | undefined } {
  const esn = attributes.reader(XFRMA.REPLAY_ESN_VAL);
  if (esn !== undefined) {
    const [out, into, outHigh, intoHigh, window] = [esn.skip(4).u32(), esn.u32(), esn.u32(), esn.u32(), esn.u32()];
    return { sequence: { outbound: joined(outHigh, out), inbound: joined(intoHigh, into) }, window };
  }
  const small = attributes.reader(XFRMA.REPLAY_VAL);
  return { sequence: { outbound: BigInt(small?.u32() ?? 0), inbound: BigInt(small?.u32() ?? 0) }, window: undefined };
}

const low = (sequence: bigint): number => Number(sequence & 0xffff_ffffn);
const high = (sequence: bigint): number => Number((sequence >> 32n) & 0xffff_ffffn);
const joined = (highWord: number, lowWord: number): bigint => (BigInt(highWord) << 32n) | BigInt(lowWord);

const SMALL_WINDOW = 32;
