import { lstatSync, mkdirSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { utf8 } from '../../core/bytes/bytes.ts';
import { ControlError } from './errors.ts';

export interface SocketSurroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number | undefined;
  readonly home: string;
}

export const machineSurroundings = (): SocketSurroundings => ({ env: process.env, uid: process.getuid?.(), home: homedir() });

/** Where the control sockets of this user's instances are: one file for each name. */
export function socketFolder({ env, uid, home }: SocketSurroundings = machineSurroundings()): string {
  if (uid === 0) return '/var/run/tunnelwright';
  const runtime = env.XDG_RUNTIME_DIR;
  if (runtime?.startsWith('/')) return join(runtime, 'tunnelwright');
  const state = env.XDG_STATE_HOME;
  return join(state?.startsWith('/') ? state : join(home, '.local', 'state'), 'tunnelwright');
}

export const defaultSocketPath = (name: string, surroundings?: SocketSurroundings): string =>
  join(socketFolder(surroundings), `${name}.sock`);

/** The sockets of all instances in a folder, running or not, by name. */
export function listSockets(folder: string): { readonly name: string; readonly path: string }[] {
  let entries: string[];
  try {
    entries = readdirSync(folder);
  } catch {
    return [];
  }
  return entries
    .filter((entry) => entry.endsWith('.sock'))
    .sort()
    .map((entry) => ({ name: entry.slice(0, -'.sock'.length), path: join(folder, entry) }));
}

/** Makes the folder of a socket, 0700, or sees that the one that is there lets nobody else put a socket into it. @throws ControlError */
export function prepareSocketFolder(path: string, uid: number | undefined = process.getuid?.()): void {
  if (utf8(path).length > LONGEST_PATH) {
    throw new ControlError(`${path} is too long for a unix socket (${LONGEST_PATH} octets at most)`, {
      code: 'CONTROL_SOCKET',
      hint: 'Set control.socket to a shorter path.',
    });
  }
  const folder = dirname(path);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new ControlError(`the folder ${folder} for the control socket cannot be made: ${(cause as Error).message}`, {
      code: 'CONTROL_SOCKET',
      hint: 'Set control.socket (--control) to a path below a folder of yours.',
      cause,
    });
  }
  const facts = lstatSync(folder);
  const foreign = uid !== undefined && facts.uid !== uid && facts.uid !== 0;
  const open = (facts.mode & 0o022) !== 0 && (facts.mode & 0o1000) === 0;
  if (!facts.isDirectory() || foreign || open) {
    throw new ControlError(
      `the folder ${folder} of the control socket ${foreign ? 'belongs to somebody else' : open ? 'can be written to by others' : 'is not a folder'}`,
      {
        code: 'CONTROL_SOCKET',
        hint: `chmod 700 ${folder}   or set control.socket to a path below a folder of yours.`,
      },
    );
  }
}

/** sockaddr_un holds 108 octets and a NUL; macOS has 104. */
const LONGEST_PATH = 103;
