import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { isSha256, READ_SIZE } from './digest.ts';
import type { ByteRange } from './http-conditions.ts';
import type { PeerResponse } from './peer-http.ts';

/** Octets of a block; the last one of a file may be shorter. What is damaged is found, and moved again, in blocks. */
export const BLOCK = 2 ** 20;

/** The blocks of a file, in order. */
function* blocksOf(size: number): Generator<ByteRange> {
  for (let start = 0; start < size; start += BLOCK) yield { start, end: Math.min(size, start + BLOCK) };
}

/** Answers with the SHA-256 of every block of the first `size` octets: 64 hex digits and a line feed for each, while the file is being read. */
export async function answerBlocks(response: ServerResponse, file: FileHandle, size: number): Promise<void> {
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': Math.ceil(size / BLOCK) * LINE });
  const lines = async function* (): AsyncGenerator<string> {
    for (const block of blocksOf(size)) yield `${await digestOf(file, block)}\n`;
  };
  await pipeline(Readable.from(lines()), response);
}

/**
 * Finds the blocks in which a file here is not what the other end tells of its own.
 * @param told the answer of `answerBlocks` at the other end, of `length` octets
 * @param upTo octets to compare: `length`, or a multiple of `BLOCK`
 * @param onBytes called with the octets of each block that was read
 * @returns undefined where the other end does not tell
 */
export async function differingBlocks(
  told: PeerResponse,
  length: number,
  file: FileHandle,
  upTo: number,
  onBytes: (count: number) => void,
): Promise<readonly ByteRange[] | undefined> {
  // All of it before the reading here: over that a connection would be taken for lost.
  const text = await told.text(Math.ceil(length / BLOCK) * LINE);
  const digests = text.split('\n');
  const differing: ByteRange[] = [];
  for (const block of blocksOf(upTo)) {
    const digest = digests[block.start / BLOCK];
    if (told.status !== 200 || digest === undefined || !isSha256(digest)) return undefined;
    if (digest !== (await digestOf(file, block))) differing.push(block);
    onBytes(block.end - block.start);
  }
  return differing;
}

/** Blocks side by side are one range. */
export function joinedRanges(blocks: readonly ByteRange[]): ByteRange[] {
  const ranges: ByteRange[] = [];
  for (const { start, end } of [...blocks].sort((one, another) => one.start - another.start)) {
    const last = ranges.at(-1);
    if (last?.end === start) ranges[ranges.length - 1] = { start: last.start, end };
    else ranges.push({ start, end });
  }
  return ranges;
}

export const octetsOf = (ranges: readonly ByteRange[]): number => ranges.reduce((sum, { start, end }) => sum + end - start, 0);

/** Of a file that is shorter, the digest of what is there. */
async function digestOf(file: FileHandle, { start, end }: ByteRange): Promise<string> {
  const hash = createHash('sha256');
  const buffer = new Uint8Array(Math.min(READ_SIZE, end - start));
  for (let at = start; at < end; ) {
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, end - at), at);
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
  return hash.digest('hex');
}

/** 64 digits and the line feed. */
const LINE = 65;
