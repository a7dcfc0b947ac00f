import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { generator } from './octets.ts';

/** What one end of a flow sent and received. Digests are SHA-256 in hex. */
export interface Flowed {
  readonly sent: string;
  readonly octetsSent: number;
  readonly received: string;
  readonly octetsReceived: number;
  /** Milliseconds between two arrivals at most. */
  readonly longestGap: number;
  readonly milliseconds: number;
}

/** Octets over a connection both ways, at a pace, until it is told to stop: what runs while something else happens to the path. */
export class Flow {
  readonly done: Promise<Flowed>;
  octetsReceived = 0;
  #stopped = false;
  #longestGap = 0;

  /** @param pace octets each second that are sent at most */
  constructor(connection: Duplex, seed: number, pace: number) {
    const began = performance.now();
    this.done = Promise.all([this.#send(connection, seed, pace), this.#receive(connection)]).then(([sent, received]) => ({
      ...sent,
      received,
      octetsReceived: this.octetsReceived,
      longestGap: Math.round(this.#longestGap),
      milliseconds: Math.round(performance.now() - began),
    }));
    this.done.catch(() => undefined);
  }

  /** Sends no more, and says so to the other end; it still reads to that one's end. */
  stop(): void {
    this.#stopped = true;
  }

  async #send(connection: Duplex, seed: number, pace: number): Promise<Pick<Flowed, 'sent' | 'octetsSent'>> {
    const digest = createHash('sha256');
    const next = generator(seed);
    const began = performance.now();
    let octetsSent = 0;
    // what a stall kept back is not sent all at once afterwards
    for (let due = began; !this.#stopped; due = Math.max(due + (BLOCK / pace) * 1000, performance.now() - BURST)) {
      const wait = due - performance.now();
      if (wait > 1) await sleep(wait);
      const block = next(BLOCK);
      digest.update(block);
      octetsSent += BLOCK;
      if (!connection.write(block)) await once(connection, 'drain');
    }
    connection.end();
    return { sent: digest.digest('hex'), octetsSent };
  }

  #receive(connection: Duplex): Promise<string> {
    const digest = createHash('sha256');
    let last = performance.now();
    return new Promise((resolve, reject) => {
      connection.on('data', (chunk: Uint8Array) => {
        digest.update(chunk);
        this.octetsReceived += chunk.length;
        this.#longestGap = Math.max(this.#longestGap, performance.now() - last);
        last = performance.now();
      });
      connection.once('end', () => resolve(digest.digest('hex')));
      connection.once('error', reject);
    });
  }
}

const BLOCK = 16 * 1024;
const BURST = 50;
