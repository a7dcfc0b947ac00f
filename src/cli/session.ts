import { isAbsolute, resolve } from 'node:path';
import { DataPlaneError } from '../core/bytes/errors.ts';
import { formatIdentity } from '../core/pki/identity.ts';
import type { InstanceFacts } from '../host/engine/engine-types.ts';
import type { Instance } from '../host/engine/instance.ts';
import type { MachineSockets } from '../host/platform/machine-sockets.ts';
import type { Way } from '../host/platform/way.ts';
import type { CompiledConfig } from '../product/config/index.ts';
import { ControlServer, type ControlTarget, defaultSocketPath, noWay, type SaSelection } from '../product/control/index.ts';
import type { MachineWay } from '../product/reach/machine-way.ts';
import type { SftpServerEvent } from '../product/sftp/index.ts';
import { FileServer, type FileServerEvent } from '../product/transfer/index.ts';
import type { CliContext } from './context.ts';
import type { InstanceSftp } from './sftp/service.ts';
import { InstanceTransfer } from './transfer-target.ts';

export interface SessionOptions {
  readonly config: CompiledConfig;
  readonly context: CliContext;
  /** --control. */
  readonly control: string | undefined;
  readonly onFile?: ((event: FileServerEvent) => void) | undefined;
  readonly onSftp?: ((event: SftpServerEvent) => void) | undefined;
}

/** A running instance with what belongs around it: its control socket, and the files it serves. */
export class Session {
  readonly instance: Instance;
  /** What programs of this machine reach through its tunnels; absent where they use them by themselves. */
  readonly way: Way | undefined;
  /** Of the control socket. */
  readonly path: string;
  /** Where peers come by SFTP. */
  readonly sftp: InstanceSftp | undefined;
  readonly #machine: MachineWay | undefined;
  readonly #control: ControlServer;
  readonly #files: FileServer | undefined;
  readonly #fate: Fate;

  /** On failure the instance is left to the caller. */
  static async open(instance: Instance, options: SessionOptions): Promise<Session> {
    const { config, context, control } = options;
    const machine = hasSockets(instance) ? undefined : await openMachineWay(instance, config);
    const way = machine === undefined ? instance.inside.way : undefined;
    const files = await openFiles(instance, machine ?? instance.inside.way, options).catch((error: unknown) => {
      machine?.close();
      throw error;
    });
    const sftp = await openSftp(instance, options).catch(async (error: unknown) => {
      await files?.close(0);
      machine?.close();
      throw error;
    });
    const fate = new Fate();
    const transfer = new InstanceTransfer(instance, machine ?? instance.inside, config.transfer.port);
    const target = controlled(instance, machine === undefined ? way : forFilesAlone(machine, instance), transfer, fate);
    const surroundings = { env: context.env, uid: context.uid, home: context.home };
    const path = control ?? config.control.socket ?? defaultSocketPath(instance.name, surroundings);
    try {
      const server = await ControlServer.listen({
        target,
        path: isAbsolute(path) ? path : resolve(context.cwd, path),
        version: context.version,
      });
      return new Session(instance, way, machine, server, files, sftp, fate);
    } catch (error) {
      await sftp?.close();
      await files?.close(0);
      machine?.close();
      throw error;
    }
  }

  private constructor(
    instance: Instance,
    way: Way | undefined,
    machine: MachineWay | undefined,
    control: ControlServer,
    files: FileServer | undefined,
    sftp: InstanceSftp | undefined,
    fate: Fate,
  ) {
    this.instance = instance;
    this.way = way;
    this.#machine = machine;
    this.path = control.path;
    this.#fate = fate;
    this.#control = control;
    this.#files = files;
    this.sftp = sftp;
  }

  /** Resolves when somebody took the instance down through the control socket. */
  get takenDown(): Promise<void> {
    return this.#fate.sealed;
  }

  /** Somebody is about to. */
  get goesDown(): boolean {
    return this.#fate.asked;
  }

  /** Says goodbye to every peer, then lets go of sockets. */
  async close(grace?: number): Promise<void> {
    await this.#files?.close();
    await this.sftp?.close();
    this.#machine?.close();
    await this.instance.close(grace);
    await this.#control.close();
  }
}

/** The instance as the control server sees it. A client that is taken down as a whole has nothing left to do. */
function controlled(instance: Instance, way: Way | undefined, transfer: InstanceTransfer | undefined, fate: Fate): ControlTarget {
  return {
    name: instance.name,
    role: instance.role,
    facts: () => instance.facts(),
    connections: () => instance.connections(),
    ikeSas: () => instance.ikeSas(),
    load: () => instance.load(),
    now: () => instance.now(),
    onNotice: (listener) => instance.onNotice(listener),
    up: (request, signal) => instance.up(request, signal),
    rekey: (request, signal) => instance.rekey(request, signal),
    redirect: (request, signal) => instance.redirect(request, signal),
    async down(request: SaSelection, signal: AbortSignal) {
      fate.asked = true;
      const affected = await instance.down(request, signal);
      const left = instance.role === 'gateway' || instance.ikeSas().some(({ state }) => LIVING.has(state));
      if (left) fate.asked = false;
      else fate.seal();
      return affected;
    },
    way,
    transfer,
  };
}

async function openFiles(
  instance: Instance,
  way: Pick<Way, 'listenTcp'>,
  { config, onFile }: SessionOptions,
): Promise<FileServer | undefined> {
  const { share, inbox, port, ...bounds } = config.transfer;
  if (share === undefined && inbox === undefined) return undefined;
  const files = await FileServer.open({ folder: share, inbox, ...bounds, ...(onFile === undefined ? {} : { onEvent: onFile }) });
  try {
    await way.listenTcp(port, (stream, { ip }) => files.accept(stream, identityAt(instance, ip)));
    return files;
  } catch (error) {
    await files.close(0);
    throw error;
  }
}

/** Where the tunnels belong to the machine or to a namespace, files use its sockets. */
async function openMachineWay(instance: Instance, { addresses }: CompiledConfig): Promise<MachineWay> {
  const { MachineWay } = await import('../product/reach/machine-way.ts');
  return new MachineWay({ instance, sockets: await socketsOf(instance.facts()), addresses });
}

async function socketsOf({ entry }: InstanceFacts): Promise<MachineSockets> {
  if (entry === undefined) return (await import('../host/platform/machine-sockets.ts')).machineSockets;
  const { NamespaceSockets } = await import('../host/platform/linux/namespace-sockets.ts');
  return new NamespaceSockets(entry);
}

/** What `receive` of another process needs; other programs use such a tunnel by themselves. */
function forFilesAlone(machine: MachineWay, instance: Instance): Way {
  const refuse = (): Promise<never> => Promise.reject(noWay(instance.facts().plane));
  return {
    connect: refuse,
    openUdp: refuse,
    resolve: refuse,
    ping: refuse,
    listenTcp: (port, onConnection) => machine.listenTcp(port, onConnection),
  };
}

/** Loaded where it is wanted: it brings SSH. */
async function openSftp(instance: Instance, { config, context, onSftp }: SessionOptions): Promise<InstanceSftp | undefined> {
  if (config.sftp === undefined || !hasSockets(instance)) return undefined;
  const { InstanceSftp } = await import('./sftp/service.ts');
  return InstanceSftp.open(instance, { settings: config.sftp, home: context.home, onEvent: onSftp });
}

/** Who has an inner address, as the tunnel's authentication says. */
function identityAt(instance: Instance, ip: string): string {
  const sa = instance.ikeSas().find(({ assigned, assignedToUs }) => !assignedToUs && assigned.includes(ip));
  return sa?.remoteId === undefined ? ip : formatIdentity(sa.remoteId);
}

/** Whether the plane has a TCP/IP host of its own. */
function hasSockets(instance: Instance): boolean {
  try {
    return instance.inside !== undefined;
  } catch (error) {
    if (error instanceof DataPlaneError) return false;
    throw error;
  }
}

/** Whether the instance is to end, by the wish of somebody at the control socket. */
class Fate {
  asked = false;
  readonly sealed: Promise<void>;
  seal: () => void = () => undefined;

  constructor() {
    this.sealed = new Promise((resolve) => {
      this.seal = resolve;
    });
  }
}

const LIVING: ReadonlySet<string> = new Set(['connecting', 'authenticating', 'established', 'rekeying']);
