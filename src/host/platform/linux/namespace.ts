import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { DataPlaneError } from '../../../core/bytes/index.ts';
import { takeDescriptors } from './descriptors.ts';
import type { Native } from './ffi.ts';
import { type Forbidding, whyNoNamespace } from './namespace-refusals.ts';
import { loadLibc } from './netlink/libc.ts';
import { NetlinkSocket } from './netlink/socket.ts';
import type { TunState } from './tun.ts';

/** By these paths another process of the same user comes into the namespaces, for as long as this process lives: see `commandInside`. */
export interface NamespaceEntry {
  readonly user: string;
  readonly net: string;
  readonly mount: string;
}

/** What the maker is told, on its input. */
export interface MakerSettings {
  readonly device: { readonly name: string; readonly mtu: number; readonly header: 0 | 10 | 12 };
}

/** What it tells, on its output: descriptors of its own, to be taken over. */
export type MakerAnswer =
  | { readonly tun: TunState; readonly netlink: number; readonly resolver: number | undefined }
  | { readonly error: { readonly message: string; readonly code: string; readonly hint: string | undefined } };

/**
 * A user, network and mount namespace of our own, made without any privilege. In it are a loopback, a TUN device whose other end is here, and
 * a resolver file of its own; there is no other way out of it. This process stays outside, so its sockets do as well.
 *
 * Nobody lives in it: it is held by descriptors, so it goes with this process and with the last program that was sent into it.
 */
export class Namespace {
  readonly tun: TunState;
  /** Of the network inside. */
  readonly netlink: NetlinkSocket;
  readonly entry: NamespaceEntry;
  readonly #resolver: number | undefined;
  readonly #held: readonly number[];
  #open = true;

  /** @throws DataPlaneError `NAMESPACES_FORBIDDEN`, `UNSHARE_MISSING`, `TUN_MISSING`, … */
  static async open(native: Native, settings: MakerSettings): Promise<Namespace> {
    const libc = await loadLibc();
    const maker = await Maker.start(settings);
    try {
      const { pid, answer } = maker;
      const names = KINDS.map((kind) => openSync(`/proc/${pid}/ns/${kind}`, 'r'));
      try {
        const wanted = [answer.tun.fd, answer.netlink, ...(answer.resolver === undefined ? [] : [answer.resolver])];
        const [tun, netlink, resolver] = takeDescriptors(native, pid, wanted);
        return new Namespace({ ...answer.tun, fd: tun! }, new NetlinkSocket(libc, netlink!), resolver, names);
      } catch (error) {
        for (const fd of names) closeSync(fd);
        throw error;
      }
    } finally {
      await maker.end();
    }
  }

  private constructor(tun: TunState, netlink: NetlinkSocket, resolver: number | undefined, held: readonly number[]) {
    const [user, net, mount] = held.map((fd) => `/proc/${process.pid}/fd/${fd}`);
    this.tun = tun;
    this.netlink = netlink;
    this.entry = { user: user!, net: net!, mount: mount! };
    this.#resolver = resolver;
    this.#held = held;
  }

  /** What programs inside find in resolv.conf(5) from now on; none leaves names unresolved. */
  setResolver(servers: readonly string[]): void {
    if (this.#resolver === undefined || !this.#open) return;
    const text = resolverFile(servers);
    // whoever reads it meanwhile finds it whole or too long, never empty
    writeSync(this.#resolver, text, 0);
    ftruncateSync(this.#resolver, text.length);
  }

  /** All but the device and `netlink`, which are whoever's who took them over. Programs inside stay there, without a network. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const fd of this.#held) closeSync(fd);
    if (this.#resolver !== undefined) closeSync(this.#resolver);
  }
}

/**
 * Whether one can be made, by making one in which nothing is done.
 * @returns the refusal; undefined where it works
 */
export async function probeNamespace(): Promise<DataPlaneError | undefined> {
  let said = '';
  for (const variant of VARIANTS) {
    const child = spawn('unshare', [...variant, 'true'], { stdio: ['ignore', 'ignore', 'pipe'] });
    said = '';
    child.stderr!.on('data', (chunk: Uint8Array) => {
      said += String(chunk);
    });
    const { code, error } = await exited(child);
    if (code === 0) return undefined;
    if (error !== undefined) return whyNoNamespace(error.message, forbidding());
    if (!isUnknownOption(said)) break;
  }
  return whyNoNamespace(said, forbidding());
}

/** The process that is born inside, opens what only opens there, and ends when it was taken over. */
class Maker {
  readonly pid: number;
  readonly answer: Exclude<MakerAnswer, { readonly error: unknown }>;
  readonly #child: ChildProcess;

  static async start(settings: MakerSettings): Promise<Maker> {
    let said = '';
    for (const variant of VARIANTS) {
      const child = spawn('unshare', [...variant, process.execPath, fileURLToPath(new URL('./namespace-maker.js', import.meta.url))], {
        stdio: ['pipe', 'pipe', 'pipe'],
      });
      said = '';
      child.stderr.on('data', (chunk: Uint8Array) => {
        said += String(chunk);
      });
      // one that died takes no more input; that it died is told by `exited`
      child.stdin.on('error', () => undefined);
      child.stdin.write(`${JSON.stringify(settings)}\n`);
      const lines = createInterface({ input: child.stdout });
      const answer = await Promise.race([
        new Promise<MakerAnswer>((resolve) => lines.once('line', (line) => resolve(JSON.parse(line) as MakerAnswer))),
        exited(child),
      ]);
      if ('tun' in answer) return new Maker(child, answer);
      if ('code' in answer) {
        if (answer.error === undefined && isUnknownOption(said)) continue;
        throw whyNoNamespace(answer.error?.message ?? said, forbidding());
      }
      child.stdin.end();
      await exited(child);
      const { message, code, hint } = answer.error;
      throw new DataPlaneError(message, { code, backend: 'netns', ...(hint === undefined ? {} : { hint }) });
    }
    throw whyNoNamespace(said, forbidding());
  }

  private constructor(child: ChildProcess, answer: Maker['answer']) {
    this.#child = child;
    // unshare becomes what it runs
    this.pid = child.pid!;
    this.answer = answer;
  }

  async end(): Promise<void> {
    const end = exited(this.#child);
    this.#child.stdin!.end();
    const killer = setTimeout(() => this.#child.kill('SIGKILL'), PATIENCE);
    await end;
    clearTimeout(killer);
  }
}

/** At most what the resolver of libc reads. */
function resolverFile(servers: readonly string[]): string {
  const lines = servers.slice(0, MOST_SERVERS).map((server) => `nameserver ${server}\n`);
  return `# by Tunnelwright: the servers that the other end of the tunnel told of\n${lines.join('')}`;
}

function exited(child: ChildProcess): Promise<{ readonly code: number | null; readonly error?: Error }> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve({ code: child.exitCode });
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: null, error }));
    child.once('close', (code) => resolve({ code }));
  });
}

/** What of this machine may be the reason. */
function forbidding(): Forbidding {
  const read = (path: string): string | undefined => {
    try {
      return readFileSync(`/proc/sys/${path}`, 'utf8').trim();
    } catch {
      return undefined;
    }
  };
  return {
    most: read('user/max_user_namespaces'),
    clone: read('kernel/unprivileged_userns_clone'),
    appArmor: read('kernel/apparmor_restrict_unprivileged_userns'),
  };
}

const isUnknownOption = (said: string): boolean => /(?:unrecognized|invalid|unknown) option/.test(said);

/**
 * First as the user who we are, so that programs find their home and their files to be theirs; where `unshare` is too old for that, or is
 * BusyBox's, as a root who is none outside. What is mounted outside later is seen inside as well, never the other way.
 */
const VARIANTS: readonly (readonly string[])[] = [
  ['--user', '--map-current-user', '--keep-caps', '--net', '--mount', '--propagation', 'slave', '--'],
  ['-U', '-r', '-n', '-m', '--propagation', 'slave', '--'],
];
const KINDS = ['user', 'net', 'mnt'] as const;
/** MAXNS of resolv.h. */
const MOST_SERVERS = 3;
/** Milliseconds for a process that has nothing left to do. */
const PATIENCE = 5000;
