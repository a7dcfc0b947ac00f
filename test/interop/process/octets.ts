import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';

export interface Exchanged {
  readonly sent: string;
  readonly received: string;
  readonly octetsReceived: number;
}

/** Sends octets over a connection while it reads what the other end sends, both to the end; digests are SHA-256 in hex. */
export async function exchangeOctets(connection: Duplex, octets: number, seed: number): Promise<Exchanged> {
  const [sent, received] = await Promise.all([send(connection, octets, seed), receive(connection)]);
  return { sent, ...received };
}

async function send(connection: Duplex, octets: number, seed: number): Promise<string> {
  const digest = createHash('sha256');
  const next = generator(seed);
  for (let left = octets; left > 0; ) {
    const block = next(Math.min(left, BLOCK));
    digest.update(block);
    left -= block.length;
    if (!connection.write(block)) await once(connection, 'drain');
  }
  connection.end();
  return digest.digest('hex');
}

/** By events: an asynchronous iterator would destroy the connection at its end, while this end may still send. */
function receive(connection: Duplex): Promise<{ received: string; octetsReceived: number }> {
  const digest = createHash('sha256');
  let octetsReceived = 0;
  return new Promise((resolve, reject) => {
    connection.on('data', (chunk: Uint8Array) => {
      digest.update(chunk);
      octetsReceived += chunk.length;
    });
    connection.once('end', () => resolve({ received: digest.digest('hex'), octetsReceived }));
    connection.once('error', reject);
  });
}

/** Octets that do not compress and never repeat a block, so that a lost or doubled segment shows in the digest (xorshift32). */
export function generator(seed: number): (length: number) => Uint8Array {
  let state = seed >>> 0 || 1;
  return (length) => {
    const words = new Uint32Array(Math.ceil(length / 4));
    for (let i = 0; i < words.length; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      words[i] = state;
    }
    return new Uint8Array(words.buffer, 0, length);
  };
}

const BLOCK = 64 * 1024;
