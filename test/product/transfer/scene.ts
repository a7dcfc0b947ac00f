import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import type { Threads } from '../../../src/host/platform/worker-threads.ts';
import {
  FileServer,
  type FileServerEvent,
  type FileServerOptions,
  type Timing,
  type TransferError,
} from '../../../src/product/transfer/index.ts';
import { type Asked, FileWork } from '../../../src/product/transfer/tree/file-work.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { Wire, type WirePlan } from './wire.ts';

/**
 * Short waits are real. Long ones (a connection taken for lost, a time to give up) come only when a test lets them: a busy machine is not a
 * broken connection.
 */
export class TestTiming implements Timing {
  #ahead = 0;
  readonly #long = new Set<() => void>();

  now(): number {
    return performance.now() + this.#ahead;
  }

  after(milliseconds: number, action: () => void): () => void {
    if (milliseconds <= 50) {
      const timer = setTimeout(action, milliseconds);
      return () => clearTimeout(timer);
    }
    this.#long.add(action);
    return () => this.#long.delete(action);
  }

  /** A good minute goes by at once. */
  readonly elapse = (): void => {
    this.#ahead += 61_000;
    for (const action of [...this.#long]) if (this.#long.delete(action)) action();
  };
}

/** Work with small files in the thread of the test: what it replaces is replaced there, too. */
export const HERE: Threads = {
  cores: 1,
  start: (_module, { onMessage }) => {
    const work = new FileWork();
    let ended = false;
    const post = (asked: unknown): void => {
      setImmediate(() => {
        if (!ended) onMessage(work.answer(asked as Asked));
      });
    };
    const end = async (): Promise<void> => {
      ended = true;
    };
    return { post, end };
  },
};
/** Waits so short that hundreds of broken connections take seconds; no giving up. */
export const QUICK = { threads: HERE, retry: { initial: 1, longest: 4, giveUp: Number.POSITIVE_INFINITY } } as const;
/** For what only has to happen. */
export const PATIENCE = { timeout: 20_000, interval: 5 } as const;
/** One attempt. */
export const ONCE = { threads: HERE, retry: { initial: 1, longest: 4, giveUp: 0 } } as const;

/** A folder of this test alone, removed afterwards. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'transfer-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

/** Paths below, relative and sorted; folders end in `/`. */
export function tree(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .map((name) => (statSync(join(root, name), { throwIfNoEntry: false })?.isDirectory() ? `${name}/` : name))
    .sort();
}

/** A sender's folder, a server with a folder and an inbox, and the wire between them. */
export class Scene {
  readonly here = folder();
  readonly there = folder();
  readonly inbox = join(this.there, 'inbox');
  readonly shared = join(this.there, 'shared');
  readonly events: FileServerEvent[] = [];
  readonly timing = new TestTiming();
  server!: FileServer;

  static async open(options: Partial<FileServerOptions> = {}): Promise<Scene> {
    const scene = new Scene();
    mkdirSync(scene.inbox);
    mkdirSync(scene.shared);
    await scene.restart(options);
    onTestFinished(() => scene.server.close(0));
    return scene;
  }

  async restart(options: Partial<FileServerOptions> = {}): Promise<void> {
    this.server = await FileServer.open({
      folder: this.shared,
      inbox: this.inbox,
      onEvent: (event) => this.events.push(event),
      timing: this.timing,
      threads: HERE,
      ...options,
    });
  }

  wire(plan: Omit<WirePlan, 'accept' | 'elapse'> = {}, peer = 'alice'): Wire {
    return new Wire({ ...plan, accept: (stream) => this.server.accept(stream, peer), elapse: this.timing.elapse });
  }

  /** A file of seeded content in the sender's folder. */
  file(name: string, size: number, seed: number | string = name): { readonly path: string; readonly data: Uint8Array } {
    const data = new SeededRandom(seed).bytes(size);
    const path = join(this.here, name);
    writeFileSync(path, data);
    return { path, data };
  }

  share(name: string, size: number, seed: number | string = name): Uint8Array {
    const data = new SeededRandom(seed).bytes(size);
    mkdirSync(join(this.shared, name, '..'), { recursive: true });
    writeFileSync(join(this.shared, name), data);
    return data;
  }

  stored(name: string): Uint8Array {
    return new Uint8Array(readFileSync(join(this.inbox, name)));
  }
}

/** What a transfer that has to fail fails with. */
export const failure = async (work: Promise<unknown>): Promise<TransferError> =>
  await work.then(
    () => expect.fail('it did not fail'),
    (cause: TransferError) => cause,
  );
