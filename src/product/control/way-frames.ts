import { concat, EMPTY, fromUtf8, MalformedMessage, utf8 } from '../../core/bytes/index.ts';

/**
 * What passes on the control socket for a UDP port: frames of a length (2 octets), the other end's port (2), the length of its name or literal (1),
 * that, and the datagram.
 */
export interface DatagramFrame {
  readonly host: string;
  readonly port: number;
  readonly data: Uint8Array;
}

/** @returns undefined for what does not fit into a frame, which no datagram is */
export function writeFrame({ host, port, data }: DatagramFrame): Uint8Array | undefined {
  const name = utf8(host);
  const length = 3 + name.length + data.length;
  if (length > 0xffff || name.length > 255) return undefined;
  return concat(Uint8Array.of(length >> 8, length & 0xff, port >> 8, port & 0xff, name.length), name, data);
}

/** Takes octets as they come, and gives frames. */
export class FrameReader {
  #rest: Uint8Array = EMPTY;

  /** @throws MalformedMessage */
  take(octets: Uint8Array): DatagramFrame[] {
    this.#rest = this.#rest.length === 0 ? octets : concat(this.#rest, octets);
    const frames: DatagramFrame[] = [];
    let at = 0;
    for (;;) {
      const rest = this.#rest.subarray(at);
      if (rest.length < 2) break;
      const length = (rest[0]! << 8) | rest[1]!;
      if (rest.length < 2 + length) break;
      const nameLength = rest[4] ?? 0;
      if (length < 3 || length < 3 + nameLength) throw new MalformedMessage('a frame that is shorter than what it holds');
      frames.push({
        port: (rest[2]! << 8) | rest[3]!,
        host: fromUtf8(rest.subarray(5, 5 + nameLength)),
        data: rest.slice(5 + nameLength, 2 + length),
      });
      at += 2 + length;
    }
    this.#rest = this.#rest.slice(at);
    return frames;
  }
}
