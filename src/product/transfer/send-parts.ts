import { BLOCK } from './blocks.ts';
import { TransferError } from './errors.ts';
import type { ByteRange } from './http-conditions.ts';
import { ConnectionLost, PeerHttp, type PeerResponse } from './peer-http.ts';
import type { ProgressMeter } from './progress.ts';
import { type Attempts, DEFAULT_RETRY, retrying } from './retry.ts';
import type { TransferOptions } from './send.ts';
import { formatMetadata, OCTETS, TUS_VERSION } from './server/tus-fields.ts';
import type { SourceFile } from './source-file.ts';
import { SYSTEM_TIMING } from './timing.ts';

/** So many parts of about the same size, of whole blocks. */
export function partsOf(size: number, count: number): ByteRange[] {
  const length = Math.ceil(size / count / BLOCK) * BLOCK;
  return Array.from({ length: Math.ceil(size / length) }, (_, i) => ({ start: i * length, end: Math.min(size, (i + 1) * length) }));
}

export interface PartOptions {
  readonly options: TransferOptions;
  readonly source: SourceFile;
  readonly range: ByteRange;
  /** Of the whole file. */
  readonly target: string;
  readonly sha256: string;
  readonly meter: ProgressMeter;
}

/** Sends a part of a file as a partial upload (tus concatenation), on a connection of its own and with retries of its own. @returns where it is */
export async function sendPart(part: PartOptions): Promise<string> {
  const { options, meter } = part;
  const peer = new PeerHttp(options);
  const sending = new PartSending(part, peer);
  const policy = { ...DEFAULT_RETRY, ...options.retry };
  try {
    return await retrying({ policy, timing: options.timing ?? SYSTEM_TIMING, meter, signal: options.signal }, (attempts) =>
      sending.attempt(attempts),
    );
  } finally {
    peer.close();
  }
}

class PartSending {
  readonly #part: PartOptions;
  readonly #peer: PeerHttp;
  readonly #length: number;
  /** Octets of it that the meter has; undefined before the other end was asked. */
  #counted: number | undefined;

  constructor(part: PartOptions, peer: PeerHttp) {
    this.#part = part;
    this.#peer = peer;
    this.#length = part.range.end - part.range.start;
  }

  async attempt(attempts: Attempts): Promise<string> {
    const { source, range, meter } = this.#part;
    const made = await this.#announce();
    const location = made.header('location');
    if (location === undefined || !location.startsWith('/'))
      throw new TransferError('the other end created an upload and did not say where', { code: 'TRANSFER_PROTOCOL', side: 'there' });
    const offset = Math.min(this.#length, made.number('upload-offset') ?? 0);
    this.#count(offset);
    attempts.progressed(offset);
    if (offset === this.#length) return location;
    meter.phase('sending');
    const octets = source.read({ start: range.start + offset, end: range.end }, (count) => {
      this.#count(this.#counted! + count);
      attempts.moved();
    });
    const fields = { 'Upload-Offset': String(offset), 'Content-Type': OCTETS };
    const response = await this.#request('PATCH', location, fields, octets, this.#length - offset);
    if (response.status !== 204 && response.status !== 409) throw await response.error(this.#part.target);
    await response.discard();
    if (response.number('upload-offset') !== this.#length) throw new ConnectionLost('the other end counts otherwise');
    return location;
  }

  /** The same announcement finds what was begun. */
  async #announce(): Promise<PeerResponse> {
    const { range, target, sha256 } = this.#part;
    const response = await this.#request('POST', '/inbox/', {
      'Upload-Length': String(this.#length),
      'Upload-Concat': 'partial',
      'Upload-Metadata': formatMetadata({ filename: target, sha256, part: `${range.start}-${range.end}` }),
    });
    if (response.status !== 201) throw await response.error(target);
    await response.discard();
    return response;
  }

  #count(octets: number): void {
    const { meter } = this.#part;
    if (this.#counted === undefined) meter.skip(octets);
    else meter.add(octets - this.#counted);
    this.#counted = octets;
  }

  #request(
    method: string,
    target: string,
    fields: Readonly<Record<string, string>>,
    body?: AsyncIterable<Uint8Array>,
    length = 0,
  ): Promise<PeerResponse> {
    const { signal } = this.#part.options;
    const headers = { 'Tus-Resumable': TUS_VERSION, ...fields };
    return this.#peer.request(method, target, { headers, signal, ...(body === undefined ? {} : { body, length }) });
  }
}
