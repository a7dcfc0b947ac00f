import { chmodSync, linkSync, lstatSync, renameSync, type Stats, unlinkSync } from 'node:fs';
import { request, type Server } from 'node:http';
import { basename } from 'node:path';
import process from 'node:process';
import { isMainThread } from 'node:worker_threads';
import { ControlError } from './errors.ts';
import { prepareSocketFolder } from './socket-path.ts';

/**
 * Listens at a path, mode 0600. A socket that nobody serves any more is replaced; one that answers is left alone, as is anything that is
 * not a socket of ours.
 * @throws ControlError
 */
export async function claimSocket(server: Server, path: string): Promise<void> {
  prepareSocketFolder(path);
  removeStale(path, await probe(path));
  await listen(server, path);
  chmodSync(path, 0o600);
}

export function releaseSocket(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // node:http takes it away by itself when it closes.
  }
}

/** Who is at a path. */
export function probe(path: string): Promise<'answers' | 'stale' | 'nothing' | 'forbidden' | 'not-a-socket'> {
  const facts = statOf(path);
  if (facts === undefined) return Promise.resolve('nothing');
  if (!facts.isSocket()) return Promise.resolve('not-a-socket');
  return new Promise((resolve) => {
    const asking = request({ socketPath: path, path: '/v1/version', timeout: PROBE_TIMEOUT, agent: false }, (response) => {
      response.resume();
      resolve('answers');
    });
    // Somebody accepts but is too busy to answer: alive enough.
    asking.once('timeout', () => {
      resolve('answers');
      asking.destroy();
    });
    asking.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') resolve('stale');
      else if (error.code === 'ENOENT') resolve('nothing');
      else resolve(error.code === 'EACCES' || error.code === 'EPERM' ? 'forbidden' : 'answers');
    });
    asking.end();
  });
}

function removeStale(path: string, found: Awaited<ReturnType<typeof probe>>): void {
  if (found === 'nothing') return;
  if (found === 'answers') throw alreadyRunning(path);
  const facts = statOf(path);
  if (facts === undefined) return;
  const us = process.getuid?.();
  if (found !== 'stale' || (us !== undefined && facts.uid !== us && us !== 0)) {
    const what = found === 'not-a-socket' ? 'is there and is not a socket' : 'is a socket of somebody else';
    throw new ControlError(`${path} ${what}`, {
      code: 'CONTROL_SOCKET',
      hint: 'Move it away, or set control.socket (--control) to another path.',
    });
  }
  // Between asking and now another instance may have taken its place: what is moved aside must be what was asked.
  const aside = `${path}.${process.pid}.stale`;
  renameSync(path, aside);
  const moved = lstatSync(aside);
  if (moved.ino !== facts.ino) restore(aside, path);
  unlinkSync(aside);
}

function restore(aside: string, path: string): never {
  try {
    linkSync(aside, path);
  } catch {
    // A third instance is there by now; it is the one that runs.
  }
  unlinkSync(aside);
  throw alreadyRunning(path);
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'EADDRINUSE'
          ? alreadyRunning(path)
          : new ControlError(`cannot listen at ${path}: ${error.message}`, {
              code: 'CONTROL_SOCKET',
              hint: 'Set control.socket (--control) to a path below a folder of yours.',
              cause: error,
            }),
      );
    server.once('error', failed);
    // The socket is bound within `listen`, so nobody ever sees it with another mode. Worker threads have no umask; there the folder guards it.
    const before = isMainThread ? process.umask(0o177) : undefined;
    try {
      server.listen(path, () => {
        server.off('error', failed);
        resolve();
      });
    } finally {
      if (before !== undefined) process.umask(before);
    }
  });
}

function statOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/** A socket is called as its instance is. */
const alreadyRunning = (path: string) =>
  new ControlError(`an instance already listens at ${path}`, {
    code: 'ALREADY_RUNNING',
    hint: `Give this one another name (--name), or end that one: with Ctrl-C where it runs, a client with tunnelwright down ${basename(path, '.sock')} as well.`,
  });

const PROBE_TIMEOUT = 2000;
