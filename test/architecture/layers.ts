/**
 * The plan of the house as data: which room may import which, and why not. `layers.test.ts` reads the sources against it.
 * Imports go down only, from a higher tier to a lower one; what else is allowed or forbidden stands here with its reason.
 */
export const TIERS: readonly (readonly string[])[] = [
  ['core/bytes'],
  ['core/crypto', 'core/packet', 'core/wire'],
  ['core/pki', 'core/eap', 'core/radius', 'core/esp', 'core/netstack'],
  ['core/ike'],
  ['host/platform', 'host/dataplane'],
  ['host/engine', 'testing'],
  [
    'product/config',
    'product/control',
    'product/gateway',
    'product/client',
    'product/reach',
    'product/transfer',
    'product/sftp',
    'product/explain',
    'product/cluster',
  ],
  // `index` is src/index.ts, the library's front door.
  ['cli', 'dashboard', 'index'],
];

export interface Allowance {
  readonly from: string;
  readonly to: string;
  /** Only `import type`. */
  readonly typesOnly?: boolean;
  readonly why: string;
}

/** Imports inside one tier. */
export const SIDEWAYS: readonly Allowance[] = [
  { from: 'core/eap', to: 'core/pki', why: 'the TLS-based methods validate the server’s chain' },
  { from: 'host/dataplane', to: 'host/platform', why: 'the backends reach devices and sockets through the platform' },
  { from: 'testing', to: 'host/engine', why: 'the simulated internet runs the real engine' },
  { from: 'product/client', to: 'product/reach', why: 'a tunnel gives agents, fetch and UDP ports by itself' },
  { from: 'product/transfer', to: 'product/reach', why: 'files travel over the sockets that reach opens' },
  { from: 'product/sftp', to: 'product/transfer', why: 'what a transfer shows, tries again and leaves unfinished is the same over SFTP' },
  { from: 'product/*', to: 'product/config', why: 'every part of the product reads the configuration' },
  { from: 'product/*', to: 'product/control', typesOnly: true, why: 'the control API is one description; everybody speaks its types' },
  { from: 'dashboard', to: 'index', why: 'the dashboard talks to the same public API as everybody' },
  { from: 'cli', to: 'index', why: 'the command line talks to the same public API as everybody' },
];

export interface Ban {
  readonly from: string;
  /** A room, or one file of it. */
  readonly to: string;
  /** Types may be imported all the same; with a list of files, only from these. */
  readonly exceptTypes?: true | readonly string[];
  readonly why: string;
}

/** Imports that go down and are forbidden all the same. */
export const BANS: readonly Ban[] = [
  { from: 'core/esp', to: 'core/wire', why: 'ESP is handed keys and numbers; it knows nothing of IKE messages' },
  { from: 'core/netstack', to: 'core/wire', why: 'a TCP/IP stack knows nothing of IKE messages' },
  { from: 'core/netstack', to: 'core/crypto', why: 'a TCP/IP stack needs no keys; its randomness is an argument' },
  { from: 'core/ike', to: 'core/pki', exceptTypes: true, why: 'path validation is an Ask: it is slow, and it needs a wall clock' },
  { from: 'core/ike', to: 'core/eap', exceptTypes: true, why: 'EAP methods run outside the core, since TLS is asynchronous' },
  { from: 'core/ike', to: 'core/radius', why: 'RADIUS is one way to answer an Ask, and no concern of the protocol' },
  { from: 'core/ike', to: 'core/esp', why: 'the core describes a CHILD_SA; the data plane builds it' },
  { from: 'core/ike', to: 'core/netstack', why: 'the control plane has no packets of its own beyond datagrams' },
  { from: 'core/ike', to: 'core/packet', why: 'the control plane has no packets of its own beyond datagrams' },
  {
    from: 'host/dataplane',
    to: 'core/ike',
    exceptTypes: ['src/core/ike/effects.ts'],
    why: 'the data plane is told what to install (types of ike/effects.ts) and never asks the protocol',
  },
  { from: 'host/dataplane', to: 'core/wire', exceptTypes: true, why: 'the data plane sees selectors as values, never IKE messages' },
  { from: 'host/platform', to: 'core/ike', exceptTypes: true, why: 'the platform gives sockets, clocks and files; it knows no protocol' },
  {
    from: 'host/engine',
    to: 'host/platform',
    exceptTypes: true,
    why: 'the engine is handed its platform, so that the simulation runs it without one',
  },
  { from: 'testing', to: 'host/platform', exceptTypes: true, why: 'the simulated internet touches no machine' },
];

export interface ModuleRule {
  /** A module or package; `*` at the end stands for any rest. */
  readonly module: string;
  readonly rooms: readonly string[];
  /** Narrower than a room: the folder below which alone it may be imported. */
  readonly below?: string;
  readonly why: string;
}

/** `node:` modules; in the core none but `node:crypto` in `core/crypto`. The first rule that fits a module decides. */
export const NODE_MODULES: readonly ModuleRule[] = [
  {
    module: 'node:crypto',
    rooms: ['core/crypto', 'host/*', 'testing', 'product/*', 'cli', 'index'],
    why: 'the core computes through core/crypto, where every primitive is named once',
  },
  { module: 'node:dgram', rooms: ['host/platform'], why: 'sockets are opened in one room' },
  { module: 'node:net', rooms: ['host/platform'], why: 'sockets are opened in one room' },
  { module: 'node:child_process', rooms: ['host/platform'], why: 'processes are started in one room' },
  {
    module: 'node:*',
    rooms: ['host/*', 'testing', 'product/*', 'cli', 'dashboard', 'index'],
    why: 'the core is pure: no clock, no socket, no file',
  },
];

/** Packages; a package that is not listed may not be imported at all. */
export const PACKAGES: readonly ModuleRule[] = [
  { module: '@noble/post-quantum*', rooms: ['core/crypto'], why: 'every primitive is named once, in core/crypto' },
  { module: 'yaml', rooms: ['product/config'], why: 'configuration is read in one room' },
  { module: 'zod', rooms: ['product/config', 'product/control'], why: 'one schema for the configuration, one for the control API' },
  {
    module: 'koffi',
    rooms: ['host/platform'],
    below: 'src/host/platform/linux/',
    why: 'native calls are made in one room, which is loaded when it is first needed',
  },
  { module: 'ssh2', rooms: ['product/sftp'], why: 'SSH is spoken in one room, which is loaded when it is first needed' },
  { module: 'commander', rooms: ['cli'], why: 'the command line is one tree' },
  { module: 'picocolors*', rooms: ['cli'], why: 'colour belongs to the terminal' },
];

/** Names of the platform that no file of the core may read: if it needs a clock, a socket or luck, it is an argument. */
export const IMPURE_NAMES: Readonly<Record<string, string>> = {
  'Math.random': 'randomness is an argument (RandomSource), with labelled draws',
  crypto: 'primitives come from core/crypto',
  Date: 'wall-clock time arrives in answers, monotonic time as `now`',
  performance: 'monotonic time arrives as `now`',
  setTimeout: 'the core says when it wants to be called again; the engine owns the timer',
  setInterval: 'the core says when it wants to be called again; the engine owns the timer',
  setImmediate: 'the core is synchronous',
  queueMicrotask: 'the core is synchronous',
  process: 'the environment is the caller’s',
  console: 'what happens is a Notice; who prints it is not the core’s business',
  fetch: 'the core does no IO',
  Buffer: 'Uint8Array everywhere; Buffer only in host/platform',
  globalThis: 'a global is reached through an argument',
};
