import { existsSync, readFileSync } from 'node:fs';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { ChildSaSeen, End, Exchanged, IkeSaSeen } from './end.ts';
import type { Host } from './network.ts';
import { Daemon, eventually, must, PATIENCE, type RunOptions, run } from './process.ts';
import type { Scope } from './scope.ts';
import { parsePretty, type Section, type Settings, writeSettings } from './settings.ts';
import { tcpConnect, tcpListen } from './tcp.ts';

export interface StrongswanOptions {
  /** A folder of this instance alone. */
  readonly folder: string;
  readonly host: Host;
  /** swanctl.conf. The connection under test is called `net`, its child `net`. */
  readonly swanctl: Settings;
  /** PEM files by the folder of swanctl's that they go to: `x509`, `x509ca`, `private`. */
  readonly files?: Readonly<Record<string, readonly string[]>>;
  /** Added to strongswan.conf's charon section. */
  readonly charon?: Settings;
  /** A whole system in a folder, whose strongSwan runs instead of this machine's. */
  readonly root?: string | undefined;
}

/**
 * strongSwan as its distribution ships it, in a namespace of its own, with its ESP in user space. That plug-in pretends a NAT in
 * the path, so the other end has to speak UDP encapsulation. Everything of the instance lies in one folder; its /run is private.
 */
export class Strongswan implements End {
  readonly name = 'strongSwan';
  readonly host: Host;
  readonly #folder: string;
  #daemon: Daemon | undefined;

  private constructor(options: StrongswanOptions) {
    this.host = options.host;
    this.#folder = options.folder;
  }

  static async start(scope: Scope, options: StrongswanOptions): Promise<Strongswan> {
    const swan = new Strongswan(options);
    await swan.#writeFiles(options);
    const inNamespace = ['netns', 'exec', options.host.namespace, 'sh', '-c', charonCommand(options)];
    swan.#daemon = new Daemon(scope, 'strongSwan', 'ip', inNamespace, { env: swan.#environment });
    await eventually(
      'strongSwan opens its control socket',
      () => swan.#answers(),
      PATIENCE,
      () => swan.log(),
    );
    await swan.load();
    return swan;
  }

  /** The daemon's process, for CPU time and memory in /proc. */
  get pid(): number {
    return this.#daemon!.pid;
  }

  /** Replaces swanctl.conf; `load` makes it known. */
  async configure(swanctl: Settings): Promise<void> {
    await writeFile(this.#path('swanctl', 'swanctl.conf'), writeSettings(swanctl));
  }

  async load(): Promise<void> {
    await this.#swanctl(['--load-all', '--noprompt']);
  }

  async initiate(child = 'net'): Promise<void> {
    await this.#swanctl(['--initiate', '--child', child, '--timeout', SECONDS]);
  }

  async rekeyChild(): Promise<void> {
    await this.#swanctl(['--rekey', '--child', 'net']);
  }

  async rekeyIke(): Promise<void> {
    await this.#swanctl(['--rekey', '--ike', 'net']);
  }

  /** `swanctl --redirect`: sends the peer of `net` to another gateway (RFC 5685 §5). */
  async redirect(gateway: string): Promise<void> {
    await this.#swanctl(['--redirect', '--ike', 'net', '--gateway', gateway]);
  }

  async reauthenticate(): Promise<void> {
    await this.#swanctl(['--rekey', '--ike', 'net', '--reauth']);
  }

  async deleteChild(): Promise<void> {
    await this.#swanctl(['--terminate', '--child', 'net', '--timeout', SECONDS]);
  }

  async deleteIke(): Promise<void> {
    await this.#swanctl(['--terminate', '--ike', 'net', '--timeout', SECONDS]);
  }

  /** Drops the IKE SAs of a connection without waiting for the other end. There may be none any more. */
  async forget(connection = 'net'): Promise<void> {
    await this.#swanctl(['--terminate', '--ike', connection, '--force']).catch((error: Error) => {
      if (!error.message.includes('no matching SAs')) throw error;
    });
  }

  async ikeSas(): Promise<readonly IkeSaSeen[]> {
    const listed = parsePretty(await this.#swanctl(['--list-sas', '--pretty']));
    return sections(listed, 'list-sa event').flatMap((event) => Object.values(event).map((sa) => ikeSaFrom(sa as Section)));
  }

  /** Where it sends to, as the only IKE SA has it. */
  async remotePort(): Promise<number> {
    const listed = parsePretty(await this.#swanctl(['--list-sas', '--pretty']));
    const [sa] = sections(listed, 'list-sa event').flatMap((event) => Object.values(event));
    return Number((sa as Section | undefined)?.['remote-port']);
  }

  /** The daemon's counters over all connections, such as `ike-rekey-init` or `invalid`. */
  async counters(): Promise<Readonly<Record<string, number>>> {
    const text = await this.#swanctl(['--counters']);
    return Object.fromEntries([...text.matchAll(/^\s*(\S+)\s+:\s+(\d+)$/gm)].map((match) => [match[1]!, Number(match[2])]));
  }

  /** `swanctl --stats`: IKE SAs in all, and how many of them are half open. */
  async stats(): Promise<{ readonly total: number; readonly halfOpen: number }> {
    const match = /^IKE_SAs: (\d+) total, (\d+) half-open/m.exec(await this.#swanctl(['--stats']));
    return { total: Number(match?.[1]), halfOpen: Number(match?.[2]) };
  }

  /** One process for each request: behind a first answer, ping waits for the next no longer than two round trips. */
  async ping(to: string, count: number): Promise<number> {
    const args = ['netns', 'exec', this.host.namespace, 'ping', '-n', '-q', '-c', '1', '-W', '5', '-I', this.host.inside, to];
    let answers = 0;
    for (let i = 0; i < count; i++) if ((await run('ip', args)).status === 0) answers++;
    return answers;
  }

  listen(port: number, octets: number): Promise<{ readonly done: Promise<Exchanged> }> {
    return tcpListen(this.host, port, octets);
  }

  connect(to: string, port: number, octets: number): Promise<Exchanged> {
    return tcpConnect(this.host, to, port, octets);
  }

  log(): string {
    const lines = this.wholeLog().split('\n').slice(-80).join('\n');
    return `--- strongSwan\n${lines}${this.#daemon?.output ?? ''}`;
  }

  /** From its start on. */
  wholeLog(): string {
    const file = this.#path('charon.log');
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  async #swanctl(args: readonly string[], options: RunOptions = {}): Promise<string> {
    try {
      return await must('swanctl', [...args, '--uri', `unix://${this.#path('charon.vici')}`], { env: this.#environment, ...options });
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.log()}`);
    }
  }

  /** The socket is there a moment before anybody listens on it. */
  async #answers(): Promise<boolean> {
    if (!existsSync(this.#path('charon.vici'))) return false;
    const asked = await run('swanctl', ['--stats', '--uri', `unix://${this.#path('charon.vici')}`], { env: this.#environment });
    return asked.status === 0;
  }

  get #environment(): Record<string, string> {
    return { STRONGSWAN_CONF: this.#path('strongswan.conf'), SWANCTL_DIR: this.#path('swanctl') };
  }

  async #writeFiles(options: StrongswanOptions): Promise<void> {
    for (const folder of SWANCTL_FOLDERS) await mkdir(this.#path('swanctl', folder), { recursive: true });
    for (const [folder, files] of Object.entries(options.files ?? {})) {
      for (const file of files) await copyFile(file, this.#path('swanctl', folder, basename(file)));
    }
    await this.configure(options.swanctl);
    const charon: Settings = {
      load: PLUGINS,
      install_routes: 'yes',
      retransmit_timeout: 0.5,
      retransmit_base: 1.4,
      retransmit_tries: 5,
      delete_rekeyed_delay: 1,
      plugins: { vici: { socket: `unix://${this.#path('charon.vici')}` }, 'kernel-libipsec': { allow_peer_ts: 'yes' } },
      filelog: { log: { path: this.#path('charon.log'), time_format: '%T', default: 1, ike: 2, enc: 1, flush_line: 'yes' } },
      syslog: { daemon: { default: -1 }, auth: { default: -1 } },
      ...options.charon,
    };
    await writeFile(this.#path('strongswan.conf'), writeSettings({ charon, swanctl: { load: SWANCTL_PLUGINS } }));
  }

  #path(...parts: string[]): string {
    return join(this.#folder, ...parts);
  }
}

function ikeSaFrom(sa: Section): IkeSaSeen {
  const text = (key: string): string => (typeof sa[key] === 'string' ? (sa[key] as string) : '');
  return {
    id: text('uniqueid'),
    established: text('state') === 'ESTABLISHED',
    spiI: text('initiator-spi').padStart(16, '0'),
    spiR: text('responder-spi').padStart(16, '0'),
    remoteId: text('remote-id'),
    children: Object.values((sa['child-sas'] as Section | undefined) ?? {}).map((child) => childSaFrom(child as Section)),
  };
}

function childSaFrom(child: Section): ChildSaSeen {
  const text = (key: string): string => (typeof child[key] === 'string' ? (child[key] as string) : '');
  return {
    id: text('uniqueid'),
    name: text('name'),
    installed: text('state') === 'INSTALLED',
    spiIn: text('spi-in').padStart(8, '0'),
    spiOut: text('spi-out').padStart(8, '0'),
    octetsIn: Number(text('bytes-in')),
    octetsOut: Number(text('bytes-out')),
  };
}

/** Sections of that name; a repeated one carries a number. */
const sections = (root: Section, name: string): Section[] =>
  Object.entries(root)
    .filter(([key, value]) => (key === name || key.startsWith(`${name}#`)) && typeof value === 'object')
    .map(([, value]) => value as Section);

/** How long strongSwan is given to bring something up or down, in seconds. */
const SECONDS = String(PATIENCE / 1000);
/** Whatever is mounted here goes with the mount namespace that `ip netns exec` makes. */
function charonCommand({ root, folder }: StrongswanOptions): string {
  if (root === undefined) return `mount -t tmpfs tmpfs /run && exec ${CHARON}`;
  const steps = [
    `mount -t tmpfs tmpfs ${root}/run`,
    `mount -t tmpfs tmpfs ${root}/tmp`,
    `mkdir -p ${root}${folder}`,
    `mount --bind ${folder} ${root}${folder}`,
    `mount --bind /dev ${root}/dev`,
    `mount -t proc proc ${root}/proc`,
    `exec chroot ${root} ${CHARON}`,
  ];
  return steps.join(' && ');
}

const CHARON = '/usr/sbin/charon-systemd';
const SWANCTL_FOLDERS = [
  'x509',
  'x509ca',
  'x509aa',
  'x509ocsp',
  'x509crl',
  'x509ac',
  'private',
  'rsa',
  'ecdsa',
  'pkcs8',
  'pkcs12',
  'pubkey',
  'bliss',
];
/** kernel-libipsec has to come before kernel-netlink, or the kernel's own ESP is taken; openssl first is the fastest. */
export const PLUGINS =
  'random nonce openssl aes sha1 sha2 hmac kdf curve25519 chapoly gcm ctr ccm cmac gmp pem pkcs1 pkcs8 pubkey x509 revocation constraints kernel-libipsec kernel-netlink socket-default updown vici counters';
const SWANCTL_PLUGINS = 'pem pkcs1 pkcs8 x509 pubkey openssl random';
