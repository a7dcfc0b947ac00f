import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { Daemon, eventually, PATIENCE } from '../support/process.ts';
import type { Scope } from '../support/scope.ts';

/** Captures every UDP datagram on loopback, from outside of whoever sends there. */
export class LoopbackCapture {
  readonly path: string;
  readonly #daemon: Daemon;
  /** Open all the while, so that nobody who is captured has its port. */
  readonly #last = createSocket('udp4');

  /** Resolves when it captures. */
  static async start(scope: Scope, path: string): Promise<LoopbackCapture> {
    const capture = new LoopbackCapture(scope, path);
    await eventually(
      'dumpcap captures',
      () => /^File: /m.test(capture.#daemon.output) || !capture.#daemon.running,
      PATIENCE,
      () => capture.#daemon.output,
    );
    if (!capture.#daemon.running) throw new Error(`dumpcap did not start\n${capture.#daemon.output}`);
    capture.#last.bind(0, '127.0.0.1');
    await once(capture.#last, 'listening');
    scope.defer('socket', () => capture.#last.close());
    return capture;
  }

  private constructor(scope: Scope, path: string) {
    this.path = path;
    const args = ['-q', '-i', 'lo', '-f', 'udp', '-s', String(SNAPLEN), '-B', String(BUFFER), '-w', path];
    this.#daemon = new Daemon(scope, 'dumpcap', 'dumpcap', args);
  }

  /** Waits until all that was sent is in the file, and ends. @throws when the machine was too slow and datagrams are missing */
  async end(): Promise<void> {
    const mark = randomBytes(32);
    const last = Buffer.alloc(1024, mark);
    await eventually(
      'dumpcap writes the last datagram',
      async () => {
        // again and again: what dumpcap writes waits in a buffer until that is full
        for (let i = 0; i < 16; i++) this.#last.send(last, this.#last.address().port, '127.0.0.1');
        return (await tail(this.path)).includes(mark);
      },
      2 * PATIENCE,
      () => this.#daemon.output,
    );
    await this.#daemon.stop();
    const [, dropped] = /received\/dropped on interface .*: \d+\/(\d+)/.exec(this.#daemon.output) ?? [];
    if (dropped !== '0') throw new Error(`the capture is not whole\n${this.#daemon.output}`);
  }
}

async function tail(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const { buffer, bytesRead } = await file.read(Buffer.alloc(TAIL), 0, TAIL, Math.max(0, size - TAIL));
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** Octets at the end of the file among which the last datagram is looked for. */
const TAIL = 1 << 16;
/** Octets of a datagram that are kept: more than any of ours has. */
const SNAPLEN = 4096;
/** MiB in the kernel: all of a demo, for when dumpcap gets no turn. */
const BUFFER = 256;
