import { mkdirSync, openSync, realpathSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { DataPlaneError } from '../../../core/bytes/index.ts';
import { loadNative, type Native, nativeLack, systemError } from './ffi.ts';
import type { MakerAnswer, MakerSettings } from './namespace.ts';
import { loadLibc } from './netlink/libc.ts';
import { openNetlink } from './netlink/socket.ts';
import { Tun } from './tun.ts';

/**
 * What runs inside new namespaces until it was taken over (`Namespace.open`): it opens what belongs to the namespace of whoever opens it, puts
 * a resolver file of our own in the place of the machine's, and waits for the end of its input.
 */
createInterface({ input: process.stdin }).once('line', (line) => {
  void make(JSON.parse(line) as MakerSettings)
    .catch((error: unknown): MakerAnswer => {
      if (error instanceof DataPlaneError) return { error: { message: error.message, code: error.code, hint: error.hint } };
      return { error: { message: error instanceof Error ? error.message : String(error), code: 'NAMESPACE_FAILED', hint: undefined } };
    })
    .then((answer) => process.stdout.write(`${JSON.stringify(answer)}\n`));
});

async function make({ device }: MakerSettings): Promise<MakerAnswer> {
  const native = await loadNative();
  if (native === undefined) throw new DataPlaneError((await nativeLack()) ?? 'native calls are not there', { code: 'FFI_MISSING' });
  const tun = Tun.open(native, device);
  const netlink = openNetlink(await loadLibc(), 'route', {});
  permitPing();
  return { tun: tun.state, netlink, resolver: ownResolver(native) };
}

/** Echo requests without a privilege, for the one group there is. A kernel without that switch has no need of it. */
function permitPing(): void {
  const group = process.getgid?.() ?? 0;
  try {
    writeFileSync('/proc/sys/net/ipv4/ping_group_range', `${group} ${group}`);
  } catch {
    // ping(8) has a privilege of its own nearly everywhere
  }
}

/**
 * Lays a file of ours over resolv.conf(5), which other processes go on seeing as it is, and nothing over the sockets of services that would
 * resolve names outside. The file has no name anywhere and goes with the namespace.
 * @returns its descriptor; undefined where this machine has no such file, so that nobody reads one
 */
function ownResolver(native: Native): number | undefined {
  const target = resolved(RESOLVER);
  const { mount, umount2 } = native.functions<Mounts>(MOUNTS);
  const attempt = (what: string, done: number): void => {
    if (done < 0) throw systemError(`${what} in a mount namespace of our own`, native.errno(), FORBIDDEN);
  };
  const cover = (folder: string): void => attempt(`covering ${folder}`, mount('tmpfs', folder, 'tmpfs', HARMLESS, 'mode=0755,size=64k'));
  for (const folder of new Set(OUTSIDE_RESOLVERS.map(resolved))) if (folder !== undefined && statSync(folder).isDirectory()) cover(folder);
  if (target === undefined) return undefined;
  cover(SCRATCH);
  const source = `${SCRATCH}/resolv.conf`;
  const fd = openSync(source, 'w+', 0o644);
  // it may have stood in a folder that is covered now
  if (resolved(target) === undefined) {
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, '');
  }
  attempt(`laying a file over ${target}`, mount(source, target, null, MS_BIND, null));
  attempt(`uncovering ${SCRATCH}`, umount2(SCRATCH, MNT_DETACH));
  return fd;
}

function resolved(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

interface Mounts {
  mount(source: string, target: string, type: string | null, flags: number, data: string | null): number;
  umount2(target: string, flags: number): number;
}

const MOUNTS = {
  mount: 'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
  umount2: 'int umount2(const char *target, int flags)',
} as const;

const FORBIDDEN = {
  EPERM: {
    code: 'NAMESPACES_FORBIDDEN',
    why: 'this container, or a filter on this process, forbids to mount there',
    hint: 'Start the container with profiles that permit mount, or use --plane netstack.',
  },
  EACCES: {
    code: 'NAMESPACES_FORBIDDEN',
    why: 'AppArmor forbids to mount there',
    hint: 'Permit it by a profile with `mount,`, or use --plane netstack.',
  },
} as const;

const RESOLVER = '/etc/resolv.conf';
/** Where nscd, systemd-resolved and Avahi listen: by way of the file system they would be reached from inside. */
const OUTSIDE_RESOLVERS: readonly string[] = [
  '/run/nscd',
  '/var/run/nscd',
  '/run/systemd/resolve',
  '/run/avahi-daemon',
  '/var/run/avahi-daemon',
];
/** There on every system; covered for a moment, inside alone. */
const SCRATCH = '/tmp';
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
const HARMLESS = MS_NOSUID | MS_NODEV | MS_NOEXEC;
const MS_BIND = 4096;
const MNT_DETACH = 2;
