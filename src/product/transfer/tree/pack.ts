import { createHash } from 'node:crypto';
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
/** Files of a pack that are read or written at one time. */
export const AT_ONCE = 16;

export interface Packed {
  readonly entry: TreeEntry;
  /** Of a file; its SHA-256 was right. */
  readonly content: Uint8Array | undefined;
}

/** One entry, ready to be sent. */
export function packed(entry: TreeEntry, content: Uint8Array = NOTHING): Uint8Array {
  const line = utf8(`${JSON.stringify(entry.kind === 'file' ? entryToJson(entry, sha256(content)) : entryToJson(entry))}\n`);
  if (content.length === 0) return line;
  const whole = new Uint8Array(line.length + content.length);
  whole.set(line);
  whole.set(content, line.length);
  return whole;
}

/** Why an entry that was asked for is not in the pack. */
export const packedRefusal = (path: string, error: TransferError): Uint8Array =>
  utf8(`${JSON.stringify({ kind: 'refusal', path, code: error.code, message: error.message })}\n`);

export type Unpacked = Packed | { readonly refused: { readonly path: string; readonly code: string; readonly message: string } };

/**
 * Takes a pack apart while it comes in; holds one file at a time.
 * @throws TransferError for what is no pack, is larger than one may be, or carries a file whose digest is wrong
 */
export async function* unpack(body: AsyncIterable<Uint8Array>): AsyncGenerator<Unpacked> {
  const input = new Input(body);
  for await (const json of linesOf(input)) {
    const refused = refusalOf(json);
    if (refused !== undefined) {
      yield { refused };
      continue;
    }
    const { entry, sha256: expected } = parseEntry(json);
    if (entry.kind !== 'file') yield { entry, content: undefined };
    else yield { entry, content: await contentOf(input, entry, expected) };
  }
}

async function contentOf(input: Input, { size, path }: TreeFile, expected: string | undefined): Promise<Uint8Array> {
  if (size > LARGEST_PACKED) throw tooMuch(`a file of ${size} octets`);
  const content = await input.take(size);
  if (sha256(content) !== expected) {
    throw new TransferError(`${path.join('/')}: what arrived is not what was announced (SHA-256 differs)`, {
      code: 'TRANSFER_DIGEST_MISMATCH',
    });
  }
  return content;
}

/**
 * What is asked for: a line of JSON for each.
 * @throws TransferError
 */
export async function* readLines(body: AsyncIterable<Uint8Array>): AsyncGenerator<unknown> {
  yield* linesOf(new Input(body));
}

async function* linesOf(input: Input): AsyncGenerator<unknown> {
  for (let count = 0; ; count++) {
    const line = await input.line();
    if (line === undefined) return;
    if (count >= MOST_PACKED) throw tooMuch(`more than ${MOST_PACKED} entries`);
    yield parseLine(line);
  }
}

/** The body that `readLines` reads. */
export const toLines = (values: readonly object[]): Uint8Array => utf8(values.map((value) => `${JSON.stringify(value)}\n`).join(''));

/** Lines and counted octets out of a body. */
class Input {
  readonly #body: AsyncIterator<Uint8Array>;
  #have: Uint8Array = NOTHING;
  #at = 0;

  constructor(body: AsyncIterable<Uint8Array>) {
    this.#body = body[Symbol.asyncIterator]();
  }

  /** Undefined at the end. */
  async line(): Promise<string | undefined> {
    for (let seen = 0; ; ) {
      const end = this.#have.indexOf(NEWLINE, this.#at + seen);
      if (end >= 0) {
        const line = fromUtf8(this.#have.subarray(this.#at, end));
        this.#at = end + 1;
        return line;
      }
      seen = this.#have.length - this.#at;
      if (seen > LONGEST_LINE) throw tooMuch(`a line of more than ${LONGEST_LINE} octets`);
      if (await this.#more()) continue;
      if (seen > 0) throw cutOff();
      return undefined;
    }
  }

  /** A copy; however small the pieces are that it comes in, each is moved once. */
  async take(count: number): Promise<Uint8Array> {
    const taken = new Uint8Array(count);
    for (let have = 0; ; ) {
      const piece = this.#have.subarray(this.#at, this.#at + count - have);
      taken.set(piece, have);
      have += piece.length;
      this.#at += piece.length;
      if (have === count) return taken;
      if (!(await this.#more())) throw cutOff();
    }
  }

  async #more(): Promise<boolean> {
    const { done, value } = await this.#body.next();
    if (done === true) return false;
    const rest = this.#have.length - this.#at;
    if (rest === 0) this.#have = value;
    else {
      const joined = new Uint8Array(rest + value.length);
      joined.set(this.#have.subarray(this.#at));
      joined.set(value, rest);
      this.#have = joined;
    }
    this.#at = 0;
    return true;
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

const sha256 = (content: Uint8Array): string => createHash('sha256').update(content).digest('hex');
const tooMuch = (what: string): TransferError => new TransferError(`${what} in one pack`, { code: 'TRANSFER_TOO_LARGE' });
const cutOff = (): TransferError => new TransferError('the pack ends in the middle of a file', { code: 'TRANSFER_BAD_REQUEST' });

const NOTHING = new Uint8Array(0);
const NEWLINE = 0x0a;
/** A path of 4096 characters, each escaped, and what stands around it. */
const LONGEST_LINE = 32 * 1024;
