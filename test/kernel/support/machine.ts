import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Guest } from '../../interop/support/guest.ts';
import { addLibraries, addProgram, Initramfs } from '../../interop/support/initramfs.ts';
import { createGuestNetwork, type Host } from '../../interop/support/network.ts';
import { PEERS_ROOT } from '../../interop/support/requirements.ts';
import type { Scope } from '../../interop/support/scope.ts';

export interface Machine {
  readonly guest: Guest;
  /** This end of the wire, a namespace; the other end is `eth0` in the guest. */
  readonly outside: Host;
  /** The guest's addresses. */
  readonly inside: Host;
}

/** A guest with Node, koffi and what is built of this project, under the same names below `GUEST_ROOT`. It goes with the scope. */
export async function startMachine(scope: Scope, prepare?: (image: Initramfs) => Promise<void>): Promise<Machine> {
  const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-guest-'));
  scope.defer(folder, () => rm(folder, { recursive: true }));
  const image = new Initramfs();
  for (const program of [process.execPath, '/usr/sbin/tc']) await addProgram(image, SYSTEMS, program);
  await addProject(image);
  await prepare?.(image);
  const { left: outside, right: inside } = await createGuestNetwork(scope);
  const options = { folder, host: outside, guest: inside, kernel: PEERS_ROOT, systems: SYSTEMS };
  return { guest: await Guest.start(scope, { ...options, image, modules: MODULES, memory: 1024 }), outside, inside };
}

/** A compiled file of `test/kernel`, by its path in a guest. */
export const inGuest = (path: string): string => `${GUEST_ROOT}/${COMPILED}/${path}.js`;
export const NODE = process.execPath;

async function addProject(image: Initramfs): Promise<void> {
  if (!existsSync(join(COMPILED, 'support', 'runner.js')))
    throw new Error(`${COMPILED} is not there: npx tsc -b tsconfig.tools.json builds it`);
  image.file(`${GUEST_ROOT}/package.json`, readFileSync('package.json'));
  image.tree('dist', `${GUEST_ROOT}/dist`, (path) => path.endsWith('.js') && !path.startsWith('dist/.test-types'));
  for (const name of packages(process.cwd())) {
    const folder = join('node_modules', name);
    image.tree(folder, `${GUEST_ROOT}/${folder}`, (path) => RUN_TIME.test(path) && !path.includes('/musl_'));
    if (name.startsWith(NATIVE)) await addLibraries(image, SYSTEMS, join(process.cwd(), folder, 'linux_x64', 'koffi.node'));
  }
}

/** What the project depends on, as installed; what is optional may be absent. */
function packages(folder: string, known = new Set<string>()): ReadonlySet<string> {
  const { dependencies = {}, optionalDependencies = {} } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
    const installed = join('node_modules', name);
    if (known.has(name) || !existsSync(installed)) continue;
    known.add(name);
    packages(installed, known);
  }
  return known;
}

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

export const GUEST_ROOT = '/tunnelwright';
const COMPILED = 'dist/.tools/test/kernel';
const NATIVE = '@koromix/koffi-linux-';
const RUN_TIME = /\.(js|cjs|mjs|json|node)$/;
/** This machine's programs. */
const SYSTEMS = [''];
const MODULES = [
  ...[
    'esp6',
    'ah6',
    'ipcomp',
    'ipcomp6',
    'xfrm4_tunnel',
    'xfrm6_tunnel',
    'deflate',
    'crypto_null',
    'cmac',
    'sha1_generic',
    'camellia_generic',
    'des_generic',
    'xcbc',
  ],
  ...['tun', 'veth', 'dummy', 'sch_netem', 'udp_tunnel'],
];
