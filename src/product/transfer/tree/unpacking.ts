import { TransferError } from '../errors.ts';
import { PackReader, type Refused, type Unpacked } from './pack.ts';
import { refusedAlone, TreeSink, type TreeSinkOptions } from './sink.ts';

export interface UnpackingOptions extends TreeSinkOptions {
  /** The files that may come, each once. Absent: whatever comes. */
  readonly asked?: readonly string[];
  /** Segments in front of every path that are not wanted here. */
  readonly without?: number;
}

/** What became of a pack. Entries are meant by their number in it. */
export interface UnpackedAll {
  readonly files: number;
  readonly bytes: number;
  readonly renamed: readonly { readonly index: number; readonly path: string }[];
  readonly refused: readonly (Refused & { readonly path: string; readonly side: 'here' | 'there' })[];
  /** What was asked for and did not come. */
  readonly lacking: number;
}

/** A pack that goes into a folder while it comes in. */
export class Unpacking {
  readonly #reader = new PackReader();
  readonly #sink: TreeSink;
  readonly #asked: Set<string> | undefined;
  readonly #without: number;
  readonly #renamed: { readonly index: number; readonly path: string }[] = [];
  readonly #refused: (Refused & { readonly path: string; readonly side: 'here' | 'there' })[] = [];
  #index = 0;
  #files = 0;
  #bytes = 0;

  constructor({ asked, without = 0, ...options }: UnpackingOptions) {
    this.#sink = new TreeSink(options);
    this.#asked = asked && new Set(asked);
    this.#without = without;
  }

  /** @returns octets of the files that are whole with these @throws TransferError for what ends it */
  push(octets: Uint8Array): number {
    const before = this.#bytes;
    for (const unpacked of this.#reader.read(octets)) this.#take(unpacked, this.#index++);
    return this.#bytes - before;
  }

  /** No more comes. @throws TransferError where it ends in the middle of a file */
  end(): UnpackedAll {
    this.#reader.end();
    return { ...this.#counts(), renamed: this.#renamed, refused: this.#refused, lacking: this.#asked?.size ?? 0 };
  }

  /** @returns what is stored, whether it ended or broke off */
  close(): { readonly files: number; readonly bytes: number } {
    this.#sink.close();
    return this.#counts();
  }

  #take(unpacked: Unpacked, index: number): void {
    if ('refused' in unpacked) {
      if (this.#asked === undefined) throw new TransferError('a refusal in a pack that was sent', { code: 'TRANSFER_BAD_REQUEST' });
      const { path } = unpacked.refused;
      this.#expect(path);
      this.#refused.push({ ...unpacked.refused, index, side: 'there' });
      return;
    }
    const { entry, content } = unpacked;
    const whole = entry.path.join('/');
    if (this.#asked !== undefined && entry.kind !== 'file') throw unasked();
    this.#expect(whole);
    const here = { ...entry, path: entry.path.slice(this.#without) };
    try {
      const path = this.#sink.put(here, content);
      if (path.at(-1) !== here.path.at(-1)) this.#renamed.push({ index, path: path.join('/') });
    } catch (cause) {
      this.#refused.push({ ...refusedAlone(index, here, cause), path: whole, side: 'here' });
      return;
    }
    if (entry.kind === 'folder') return;
    this.#files++;
    this.#bytes += content?.length ?? 0;
  }

  #expect(path: string): void {
    if (this.#asked?.delete(path) === false) throw unasked();
  }

  #counts(): { readonly files: number; readonly bytes: number } {
    return { files: this.#files, bytes: this.#bytes };
  }
}

const unasked = (): TransferError =>
  new TransferError('the other end sent something that was not asked for', { code: 'TRANSFER_PROTOCOL', side: 'there' });
