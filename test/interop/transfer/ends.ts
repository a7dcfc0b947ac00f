import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Daemon, eventually, PATIENCE } from '../support/process.ts';
import type { Scope } from '../support/scope.ts';

/** A program, its arguments and what it finds in its environment: `Daemon` and `run` take it. */
export type CommandLine = readonly [string, readonly string[], { readonly env: Readonly<Record<string, string>> }];

/** A command in a namespace, in a folder that is its home. */
export function commandWithin(namespace: string, home: string, command: readonly string[]): CommandLine {
  return ['ip', ['netns', 'exec', namespace, 'env', '-C', home, ...command], { env: { HOME: home, NO_COLOR: '1' } }];
}

export const TUNNELWRIGHT = [process.execPath, join(process.cwd(), 'dist', 'cli', 'main.js')];
/** In the folder of each end, where no other instance of this machine is. */
export const CONTROL = 'control.sock';

/** Writes the configuration of an end into its folder. */
export async function writeSettings(folder: string, settings: object): Promise<void> {
  await mkdir(folder, { recursive: true });
  const whole = { ...settings, control: { socket: CONTROL } };
  await writeFile(join(folder, 'tunnelwright.yaml'), JSON.stringify(whole, undefined, 2), { mode: 0o600 });
}

/** A server that everybody knows: what is sent to `rsync://ADDRESS:8730/inbox/` is in the folder `inbox`. */
export async function startRsync(scope: Scope, namespace: string, folder: string, address: string): Promise<void> {
  const inbox = join(folder, 'inbox');
  await mkdir(inbox, { recursive: true });
  const [file, log] = [join(folder, 'rsyncd.conf'), join(folder, 'rsyncd.log')];
  await writeFile(file, `use chroot = no\n[inbox]\npath = ${inbox}\nread only = no\nuid = 0\ngid = 0\n`);
  const options = [`--config=${file}`, `--address=${address}`, `--port=${RSYNC_PORT}`, `--log-file=${log}`];
  const daemon = new Daemon(scope, 'rsync', 'ip', ['netns', 'exec', namespace, 'rsync', '--daemon', '--no-detach', ...options]);
  await eventually(
    'rsync listens',
    async () => (await readFile(log, 'utf8').catch(() => '')).includes('listening on port'),
    PATIENCE,
    () => daemon.output,
  );
}

/** How much of the largest file below it is written: of a file that comes, part by part, what is there; rsync copies that into another. */
export async function largestIn(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true });
  const facts = await Promise.all(names.map((name) => stat(join(folder, name)).catch(() => undefined)));
  return Math.max(0, ...facts.map((each) => (each?.isFile() ? Math.min(each.size, 512 * each.blocks) : 0)));
}

export const RSYNC_PORT = 8730;
