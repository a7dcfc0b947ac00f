import { hash } from 'node:crypto';
import { fromUtf8, utf8 } from '../../../core/bytes/index.ts';
import { TransferError } from '../errors.ts';
import { entryToJson, parseEntry, type TreeEntry, type TreeFile } from './entry.ts';

/*
 * A pack is many small files in one body: of each a line of JSON that says what it is, then its octets. Folders and links have none.
 */

/** Type of the body. */
export const PACK_TYPE = 'application/vnd.tunnelwright.pack';
/** Larger files travel alone, so that they can be resumed in the middle. */
export const LARGEST_PACKED = 256 * 1024;
/** Entries and octets of one pack: so little that it is no loss to send it again. */
export const MOST_PACKED = 1024;
export const LARGEST_PACK = 4 * 1024 * 1024;

/** Why an entry stayed where it is. */
export interface Refused {
  /** Its number among those that were to travel. */
  readonly index: number;
  readonly code: string;
  readonly message: string;
}

/** Puts entries one behind the other. */
export class PackWriter {
  #octets = new Uint8Array(FIRST_ROOM);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** @param content of a file; it is copied */
  add(entry: TreeEntry, content: Uint8Array = NOTHING): void {
    this.#append(lineOf(entry.kind === 'file' ? entryToJson(entry, sha256(content)) : entryToJson(entry)));
    this.#append(content);
  }

  /** All of it; the writer is not used any more. */
  written(): Uint8Array {
    return this.#octets.subarray(0, this.#length);
  }

  #append(octets: Uint8Array): void {
    const end = this.#length + octets.length;
    if (end > this.#octets.length) {
      const larger = new Uint8Array(2 * end);
      larger.set(this.written());
      this.#octets = larger;
    }
    this.#octets.set(octets, this.#length);
    this.#length = end;
  }
}

/** Why a file that was asked for is not in the pack. */
export const packedRefusal = (path: string, { code, message }: Refused): Uint8Array => lineOf({ kind: 'refusal', path, code, message });

export interface Packed {
  readonly entry: TreeEntry;
  /** Of a file; its SHA-256 was right. Valid until more of the pack comes. */
  readonly content: Uint8Array | undefined;
}

export type Unpacked = Packed | { readonly refused: { readonly path: string; readonly code: string; readonly message: string } };

/** Takes a pack apart while it comes in; holds what came of one file at a time. */
export class PackReader {
  readonly #input = new Input();
  #entries = 0;
  /** A file whose octets have not all come. */
  #begun: { readonly entry: TreeFile; readonly sha256: string | undefined } | undefined;

  /**
   * What is whole with these octets.
   * @throws TransferError for what is no pack, is larger than one may be, or carries a file whose digest is wrong
   */
  *read(octets: Uint8Array): Generator<Unpacked> {
    this.#input.push(octets);
    for (;;) {
      const begun = this.#begun;
      if (begun === undefined) {
        const unpacked = this.#next();
        if (unpacked === undefined) return;
        if (unpacked !== 'begun') yield unpacked;
        continue;
      }
      const content = this.#input.take(begun.entry.size);
      if (content === undefined) return;
      this.#begun = undefined;
      if (sha256(content) !== begun.sha256) throw mismatch(begun.entry);
      yield { entry: begun.entry, content };
    }
  }

  /** No more comes. @throws TransferError where it ends in the middle of a file */
  end(): void {
    if (this.#begun !== undefined || !this.#input.empty) throw cutOff();
  }

  #next(): Unpacked | 'begun' | undefined {
    const line = this.#input.line();
    if (line === undefined) return undefined;
    if (this.#entries++ >= MOST_PACKED) throw tooMany();
    const json = parseLine(line);
    const refused = refusalOf(json);
    if (refused !== undefined) return { refused };
    const { entry, sha256 } = parseEntry(json);
    if (entry.kind !== 'file') return { entry, content: undefined };
    if (entry.size > LARGEST_PACKED) throw tooMuch(`a file of ${entry.size} octets`);
    this.#begun = { entry, sha256 };
    return 'begun';
  }
}

/**
 * What is asked for: a line of JSON for each.
 * @throws TransferError
 */
export async function readLines(body: AsyncIterable<Uint8Array>): Promise<unknown[]> {
  const input = new Input();
  const lines: unknown[] = [];
  for await (const octets of body) {
    input.push(octets);
    for (let line = input.line(); line !== undefined; line = input.line()) {
      if (lines.length >= MOST_PACKED) throw tooMany();
      lines.push(parseLine(line));
    }
  }
  if (!input.empty) throw cutOff();
  return lines;
}

/** The body that `readLines` reads. */
export const toLines = (values: readonly object[]): Uint8Array => utf8(values.map((value) => `${JSON.stringify(value)}\n`).join(''));

/** Lines and counted octets out of a body. */
class Input {
  #octets = new Uint8Array(FIRST_ROOM);
  #at = 0;
  #end = 0;
  /** Octets that were looked at for the end of a line. */
  #seen = 0;

  get empty(): boolean {
    return this.#at === this.#end;
  }

  /** However small the pieces are that it comes in, few octets are moved more than twice. */
  push(octets: Uint8Array): void {
    const rest = this.#end - this.#at;
    const needed = rest + octets.length;
    if (this.#end + octets.length > this.#octets.length) {
      const room = 2 * needed > this.#octets.length ? new Uint8Array(2 * needed) : this.#octets;
      room.set(this.#octets.subarray(this.#at, this.#end));
      this.#octets = room;
      this.#at = 0;
    }
    this.#octets.set(octets, this.#at + rest);
    this.#end = this.#at + needed;
  }

  /** Undefined where its end has not come. */
  line(): string | undefined {
    const end = this.#octets.subarray(0, this.#end).indexOf(NEWLINE, this.#at + this.#seen);
    this.#seen = end < 0 ? this.#end - this.#at : 0;
    if ((end < 0 ? this.#seen : end - this.#at) > LONGEST_LINE) throw tooMuch(`a line of more than ${LONGEST_LINE} octets`);
    if (end < 0) return undefined;
    const line = fromUtf8(this.#octets.subarray(this.#at, end));
    this.#at = end + 1;
    return line;
  }

  /** Undefined where they have not all come; else valid until the next push. */
  take(count: number): Uint8Array | undefined {
    if (this.#end - this.#at < count) return undefined;
    this.#at += count;
    return this.#octets.subarray(this.#at - count, this.#at);
  }
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new TransferError('a line of the pack is not JSON', { code: 'TRANSFER_BAD_REQUEST', cause });
  }
}

function refusalOf(json: unknown): { path: string; code: string; message: string } | undefined {
  const { kind, path, code, message } = (json ?? {}) as Record<string, unknown>;
  if (kind !== 'refusal' || typeof path !== 'string' || typeof code !== 'string' || typeof message !== 'string') return undefined;
  return { path, code, message };
}

const lineOf = (json: object): Uint8Array => utf8(`${JSON.stringify(json)}\n`);
const sha256 = (content: Uint8Array): string => hash('sha256', content, 'hex');
const mismatch = ({ path }: TreeFile): TransferError =>
  new TransferError(`${path.join('/')}: what arrived is not what was announced (SHA-256 differs)`, { code: 'TRANSFER_DIGEST_MISMATCH' });
const tooMany = (): TransferError => tooMuch(`more than ${MOST_PACKED} entries`);
const tooMuch = (what: string): TransferError => new TransferError(`${what} in one pack`, { code: 'TRANSFER_TOO_LARGE' });
const cutOff = (): TransferError => new TransferError('the pack ends in the middle of a file', { code: 'TRANSFER_BAD_REQUEST' });

const NOTHING = new Uint8Array(0);
const NEWLINE = 0x0a;
/** Octets. */
const FIRST_ROOM = 64 * 1024;
/** A path of 4096 characters, each escaped, and what stands around it. */
const LONGEST_LINE = 32 * 1024;
