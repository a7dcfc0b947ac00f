import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Flowed } from '../process/flow.ts';
import type { End, Exchanged, IkeSaSeen } from './end.ts';
import type { Host } from './network.ts';
import { compiled, Daemon, eventually, type Finished, PATIENCE, run } from './process.ts';
import type { Identity } from './profile.ts';
import type { Scope } from './scope.ts';

export interface TunnelwrightOptions {
  readonly folder: string;
  readonly host: Host;
  readonly role: 'client' | 'gateway';
  readonly configuration: object;
  /** Logs nothing: for measurements. */
  readonly quiet?: boolean;
  /** Of `process/`; `driver` unless told. */
  readonly program?: 'driver' | 'driver-qr-alt';
}

/** What our end says when something failed: an error of the public tree. */
export interface Told {
  readonly type?: string;
  readonly code?: string;
  readonly message: string;
  readonly hint?: string;
  readonly notify?: number;
}

export class TunnelwrightFailure extends Error {
  readonly told: Told;

  constructor(told: Told) {
    super(told.message);
    this.told = told;
  }
}

/** Our end: `process/driver.ts` in a namespace of its own, spoken to in lines of JSON. Its TCP/IP is the in-process stack. */
export class Tunnelwright implements End {
  readonly name = 'Tunnelwright';
  readonly host: Host;
  readonly #daemon: Daemon;
  readonly #waiting = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>();
  #ready = false;
  #readyAt = 0;
  #lastId = 0;

  private constructor(host: Host, daemon: Daemon) {
    this.host = host;
    this.#daemon = daemon;
    createInterface({ input: daemon.child.stdout! }).on('line', (line) => this.#onLine(line));
    daemon.child.once('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`our process ended\n${this.log()}`));
      this.#waiting.clear();
    });
  }

  static async start(scope: Scope, options: TunnelwrightOptions): Promise<Tunnelwright> {
    const { folder, host, role, configuration, quiet = false, program = 'driver' } = options;
    await mkdir(folder, { recursive: true });
    const file = join(folder, 'tunnelwright.yaml');
    // JSON is YAML.
    await writeFile(file, JSON.stringify(configuration, undefined, 2), { mode: 0o600 });
    const args = [
      'netns',
      'exec',
      host.namespace,
      process.execPath,
      '--expose-gc',
      compiled(program),
      role,
      file,
      ...(quiet ? ['quiet'] : []),
    ];
    const end = new Tunnelwright(host, new Daemon(scope, 'Tunnelwright', 'ip', args, { stdin: true }));
    await eventually(
      'our process is ready',
      () => end.#ready || !end.#daemon.running,
      PATIENCE,
      () => end.log(),
    );
    if (!end.#ready) throw new Error(`our process did not start\n${end.log()}`);
    return end;
  }

  /** Ends it as its caller would, by closing its input; then nothing of it is left in the namespace. */
  async stop(): Promise<void> {
    this.#daemon.child.stdin!.end();
    await eventually(
      'our process ends',
      () => !this.#daemon.running,
      PATIENCE,
      () => this.log(),
    );
  }

  get pid(): number {
    return this.#daemon.pid;
  }

  async initiate(): Promise<void> {
    await this.#call('up');
  }

  async ikeSas(): Promise<readonly IkeSaSeen[]> {
    const sas = (await this.#call('sas')) as readonly DriverSa[];
    return sas.map((sa) => ({
      id: String(sa.id),
      established: sa.state === 'established',
      spiI: sa.spiI,
      spiR: sa.spiR,
      remoteId: sa.remoteId,
      // both ends are done with a retired child: what is left of it waits for late packets
      children: sa.children
        .filter(({ state }) => state !== 'retired')
        .map(({ id, name, state, inboundSpi, outboundSpi, octetsIn, octetsOut }) => ({
          id: String(id),
          name,
          installed: state === 'installed',
          spiIn: spi(inboundSpi),
          spiOut: spi(outboundSpi),
          octetsIn,
          octetsOut,
        })),
    }));
  }

  async rekeyChild(): Promise<void> {
    await this.#call('rekeyChild');
  }

  async rekeyIke(): Promise<void> {
    await this.#call('rekeyIke');
  }

  async reauthenticate(): Promise<void> {
    await this.#call('reauthenticate');
  }

  /** `up --test-rekey`: what came of rekeying the child and the IKE SA at once. */
  async testRekey(): Promise<readonly { readonly what: string; readonly suite?: string; readonly error?: Told }[]> {
    return (await this.#call('testRekey')) as Awaited<ReturnType<Tunnelwright['testRekey']>>;
  }

  /** Addresses that the peer assigned to us. */
  async assigned(): Promise<readonly string[]> {
    return (await this.#call('assigned')) as readonly string[];
  }

  /** Domains that the peer resolves, as far as they are heeded (RFC 8598). */
  names(): Promise<unknown> {
    return this.#call('names');
  }

  /** Outer addresses of the IKE SA that stands: ours and the peer's. */
  async addresses(): Promise<readonly string[]> {
    return (await this.#call('addresses')) as readonly string[];
  }

  /** Where the IKE SA that stands goes from and to. */
  async ends(): Promise<Ends> {
    return (await this.#call('ends')) as Ends;
  }

  /** How many notices of each kind there were. */
  async noticed(): Promise<Readonly<Record<string, number>>> {
    return (await this.#call('noticed')) as Readonly<Record<string, number>>;
  }

  async remotePort(): Promise<number> {
    return (await this.#call('remotePort')) as number;
  }

  /** Sends the peer to another gateway (RFC 5685 §5). */
  async keep(): Promise<void> {
    await this.#call('keep');
  }

  async takeOver(): Promise<void> {
    await this.#call('takeOver');
  }

  async redirect(gateway: string): Promise<void> {
    await this.#call('redirect', { to: gateway });
  }

  async deleteChild(): Promise<void> {
    await this.#call('deleteChild');
  }

  async deleteIke(): Promise<void> {
    await this.#call('deleteIke');
  }

  async ping(to: string, count: number): Promise<number> {
    return (await this.#call('ping', { to, count })) as number;
  }

  async listen(port: number, octets: number): Promise<{ readonly done: Promise<Exchanged> }> {
    await this.#call('listen', { port, octets });
    return { done: this.#call('served', { port }) as Promise<Exchanged> };
  }

  async connect(to: string, port: number, octets: number): Promise<Exchanged> {
    return (await this.#call('connect', { to, port, octets })) as Exchanged;
  }

  /** Takes one connection and exchanges octets over it at a pace, each second, until `endFlow`. */
  async listenFlow(port: number, pace: number): Promise<void> {
    await this.#call('listenFlow', { port, pace });
  }

  async connectFlow(to: string, port: number, pace: number): Promise<void> {
    await this.#call('connectFlow', { to, port, pace });
  }

  /** Octets that have come in by now. */
  async flowed(port: number): Promise<number> {
    return (await this.#call('flowed', { port })) as number;
  }

  async endFlow(port: number): Promise<Flowed> {
    return (await this.#call('endFlow', { port })) as Flowed;
  }

  /** @returns when one was answered, as `Date.now` has it */
  async pingUntilAnswered(to: string): Promise<number> {
    return (await this.#call('pingUntilAnswered', { to })) as number;
  }

  /** From when on it could be spoken to, as `Date.now` has it. */
  get readyAt(): number {
    return this.#readyAt;
  }

  /** Ends it from one moment to the next: nothing is said to anybody, nothing is kept. */
  async kill(): Promise<void> {
    // `ip netns exec` becomes what it executes
    process.kill(this.pid, 'SIGKILL');
    await eventually('our process is gone', () => !this.#daemon.running, PATIENCE);
  }

  /** What went wrong since the last call, whoever began it. */
  async failures(): Promise<readonly Told[]> {
    return (await this.#call('failures')) as readonly Told[];
  }

  async established(): Promise<number> {
    return (await this.#call('established')) as number;
  }

  /** Drops every IKE SA without a word to anybody. */
  async forgetAll(): Promise<void> {
    await this.#call('forgetAll');
  }

  /** Resident octets after a garbage collection. */
  async residentOctets(): Promise<number> {
    return ((await this.#call('memory')) as { rss: number }).rss;
  }

  log(): string {
    return `--- Tunnelwright\n${this.#daemon.output.split('\n').slice(-60).join('\n')}`;
  }

  #call(method: string, parameters: object = {}): Promise<unknown> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#daemon.child.stdin!.write(`${JSON.stringify({ id, method, ...parameters })}\n`);
    });
  }

  #onLine(line: string): void {
    const answer = JSON.parse(line) as { id?: number; ready?: boolean; at?: number; result?: unknown; error?: Told };
    if (answer.ready) {
      this.#ready = true;
      this.#readyAt = answer.at ?? 0;
    }
    const waiting = this.#waiting.get(answer.id ?? -1);
    if (waiting === undefined) return;
    this.#waiting.delete(answer.id!);
    if (answer.error) waiting.reject(new TunnelwrightFailure(answer.error));
    else waiting.resolve(answer.result);
  }
}

/** The command line as a user runs it, in a namespace. What it keeps on disk goes into the folder. */
export async function commandLine(host: Host, folder: string, configured: object, args: readonly string[]): Promise<Finished> {
  await mkdir(folder, { recursive: true });
  const file = join(folder, 'tunnelwright.yaml');
  await writeFile(file, JSON.stringify({ ...configured, control: { socket: join(folder, 'control.sock') } }, undefined, 2), {
    mode: 0o600,
  });
  const command = [process.execPath, join(process.cwd(), 'dist', 'cli', 'main.js'), ...args, '--config', file];
  return run('ip', ['netns', 'exec', host.namespace, ...command], { env: { HOME: folder, NO_COLOR: '1' } });
}

export interface Ends {
  readonly local: { readonly ip: string; readonly port: number };
  readonly remote: { readonly ip: string; readonly port: number };
  readonly transport: string;
}

interface DriverSa {
  readonly id: number;
  readonly state: string;
  readonly spiI: string;
  readonly spiR: string;
  readonly remoteId: string;
  readonly children: readonly {
    readonly id: number;
    readonly name: string;
    readonly state: string;
    readonly inboundSpi: number;
    readonly outboundSpi: number;
    readonly octetsIn: number;
    readonly octetsOut: number;
  }[];
}

export interface ConfigurationOptions {
  readonly host: Host;
  readonly peer: Host;
  readonly identity: Identity;
  readonly ike: string;
  readonly esp: string;
  /** Added to the connection, or replacing what stands there. */
  readonly connection?: object;
  readonly child?: object;
  /** Children beside `net`. */
  readonly children?: object;
  /** Added to the secrets. */
  readonly secrets?: object;
  /** Added at the top, such as limits. */
  readonly sections?: object;
}

/** Our configuration with one connection `net` and one child `net` between the protected networks of two hosts. */
export function configuration(options: ConfigurationOptions): object {
  const { host, peer, identity, ike, esp, connection = {}, child = {}, children = {}, secrets = {} } = options;
  const own = identity.auth === 'psk' ? {} : { certs: identity.certificate, key: identity.key };
  return {
    addresses: `${host.inside}/24`,
    plane: 'netstack',
    connections: {
      net: {
        local_addrs: host.address,
        remote_addrs: peer.address,
        proposals: ike,
        local: { auth: identity.auth, id: identity.id, ...own },
        remote: { auth: identity.auth, id: identity.peerId },
        retransmission: { initial: '500ms', base: 1.4, give_up: '8s' },
        ...connection,
        children: { net: { local_ts: host.network, remote_ts: peer.network, esp_proposals: esp, ...child }, ...children },
      },
    },
    ...(identity.auth === 'psk'
      ? { secrets: { net: { kind: 'psk', secret: identity.secret }, ...secrets } }
      : { authorities: { net: { cacert: identity.authority } }, secrets }),
    ...options.sections,
  };
}

const spi = (value: number): string => value.toString(16).padStart(8, '0');
