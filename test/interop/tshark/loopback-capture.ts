import { stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Daemon, eventually } from '../support/process.ts';
import type { Scope } from '../support/scope.ts';

/** Captures every UDP datagram on loopback, from outside of whoever sends there. */
export class LoopbackCapture {
  readonly path: string;
  readonly #daemon: Daemon;

  /** Resolves when it captures. */
  static async start(scope: Scope, path: string): Promise<LoopbackCapture> {
    const capture = new LoopbackCapture(scope, path);
    await eventually(
      'dumpcap captures',
      () => /^File: /m.test(capture.#daemon.output) || !capture.#daemon.running,
      10_000,
      () => capture.#daemon.output,
    );
    if (!capture.#daemon.running) throw new Error(`dumpcap did not start\n${capture.#daemon.output}`);
    return capture;
  }

  private constructor(scope: Scope, path: string) {
    this.path = path;
    const args = ['-q', '-i', 'lo', '-f', 'udp', '-s', String(SNAPLEN), '-B', String(BUFFER), '-w', path];
    this.#daemon = new Daemon(scope, 'dumpcap', 'dumpcap', args);
  }

  /** Waits until nothing more comes, and ends. @throws when the machine was too slow and datagrams are missing */
  async end(): Promise<void> {
    for (let size = -1, now = 0; size !== now; [size, now] = [now, (await stat(this.path)).size]) await sleep(300);
    await this.#daemon.stop();
    const [, dropped] = /received\/dropped on interface .*: \d+\/(\d+)/.exec(this.#daemon.output) ?? [];
    if (dropped !== '0') throw new Error(`the capture is not whole\n${this.#daemon.output}`);
  }
}

/** Octets of a datagram that are kept: more than any of ours has. */
const SNAPLEN = 4096;
/** MiB in the kernel: all of a demo, for when dumpcap gets no turn. */
const BUFFER = 256;
