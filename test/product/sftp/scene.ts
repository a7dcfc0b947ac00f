import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Duplex, duplexPair } from 'node:stream';
import { onTestFinished } from 'vitest';
import { newEd25519Key } from '../../../src/product/sftp/ed25519-key.ts';
import { KnownHosts } from '../../../src/product/sftp/known-hosts.ts';
import { SftpLink } from '../../../src/product/sftp/link.ts';
import type { Credential } from '../../../src/product/sftp/login.ts';
import { SftpServer, type SftpServerEvent, type SftpServerOptions } from '../../../src/product/sftp/server.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';

/** Waits so short that broken connections take no time. */
export const QUICK = { initial: 1, longest: 4, giveUp: 60_000 } as const;

export const HOST_KEY = newEd25519Key();

/** A folder of this test alone, removed afterwards. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'sftp-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');
export const octets = (length: number, seed = 1): Uint8Array => new SeededRandom(seed).bytes(length);

/** A server over a folder, and who knocks at it. */
export class Scene {
  /** What clients see as `/`. */
  readonly served = join(folder(), 'served');
  /** Beside it, and out of bounds. */
  readonly secret = join(dirname(this.served), 'secret');
  readonly ours = folder();
  readonly knownHosts = new KnownHosts(join(this.ours, '.ssh', 'known_hosts'));
  readonly events: SftpServerEvent[] = [];
  /** Streams to the server, as the client has them. */
  readonly streams: Duplex[] = [];
  /** Octets that come to the client before each connection breaks; the next takes the first. */
  readonly cuts: number[] = [];
  server!: SftpServer;

  static async open(options: Partial<SftpServerOptions> = {}): Promise<Scene> {
    const scene = new Scene();
    mkdirSync(scene.served);
    scene.server = await SftpServer.open({
      folder: scene.served,
      hostKey: HOST_KEY,
      onEvent: (event) => scene.events.push(event),
      ...options,
    });
    onTestFinished(() => scene.server.close());
    return scene;
  }

  /** A stream to the server, whose other end it has taken. */
  connect(peer = 'alice'): Duplex {
    const [near, far] = duplexPair();
    this.streams.push(near);
    this.server.accept(far, peer);
    // what a socket does by itself: the end of one direction, and the end of all
    near.once('close', () => far.destroy());
    far.once('close', () => near.destroy());
    near.on('error', () => {});
    const cut = this.cuts.shift();
    if (cut !== undefined) {
      let left = cut;
      for (const end of [near, far]) {
        const push = end.push.bind(end);
        end.push = (chunk: Uint8Array | null) => {
          left -= chunk?.length ?? 0;
          if (left >= 0) return push(chunk);
          near.destroy();
          return false;
        };
      }
    }
    return near;
  }

  link({ peer, credentials = [], user = 'alice' }: { peer?: string; credentials?: readonly Credential[]; user?: string } = {}): SftpLink {
    const link = new SftpLink({
      user,
      credentials,
      hostKey: { host: 'files.example.com', port: 22, knownHosts: this.knownHosts, acceptNew: true },
      connect: () => Promise.resolve(this.connect(peer)),
    });
    onTestFinished(() => link.close());
    return link;
  }
}
