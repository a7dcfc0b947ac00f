/**
 * Sequence numbers live in 32 bits and wrap (RFC 9293 §3.4). Here they are signed integers; a comparison holds while both are less
 * than 2^31 apart, which windows guarantee.
 */
export const seqAdd = (a: number, octets: number): number => (a + octets) | 0;

/** How far `a` is ahead of `b`; negative when it is behind. */
export const seqDiff = (a: number, b: number): number => (a - b) | 0;

export const seqLt = (a: number, b: number): boolean => ((a - b) | 0) < 0;
export const seqLe = (a: number, b: number): boolean => ((a - b) | 0) <= 0;
export const seqGt = (a: number, b: number): boolean => ((a - b) | 0) > 0;
export const seqGe = (a: number, b: number): boolean => ((a - b) | 0) >= 0;
export const seqMax = (a: number, b: number): number => (((a - b) | 0) >= 0 ? a : b);
export const seqMin = (a: number, b: number): number => (((a - b) | 0) <= 0 ? a : b);
