import { type ChildProcess, spawn } from 'node:child_process';
import { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { type Address, DataPlaneError } from '../../../core/bytes/index.ts';
import { type MachineDial, type MachineSockets, type MachineStream, socketError } from '../machine-sockets.ts';
import type { NamespaceEntry } from './namespace.ts';
import { commandInside } from './namespace-inside.ts';

/** What the process inside is asked for. Addresses are numbers and dots alone. */
export type SocketsAsked =
  | { readonly id: number; readonly connect: Omit<MachineDial, 'signal'> }
  | { readonly id: number; readonly listen: Address }
  | { readonly id: number; readonly stop: number };

/** What it tells, a connection coming with it; one that was accepted has the number of what listens. */
export type SocketsTold = { readonly id: number; readonly accepted?: true } | { readonly id: number; readonly errno: string };

/**
 * Sockets in a namespace of ours, for a process that is not in it: one that is makes them and hands them over, connected, and sees nothing of
 * what passes. It begins with the first socket, and ends with this process.
 */
export class NamespaceSockets implements MachineSockets {
  readonly #entry: NamespaceEntry;
  readonly #waiting = new Map<number, Waiting>();
  readonly #listening = new Map<number, (stream: MachineStream) => void>();
  #inside: ChildProcess | undefined;
  #nextId = 1;

  constructor(entry: NamespaceEntry) {
    this.#entry = entry;
  }

  async connect({ signal, ...connect }: MachineDial): Promise<MachineStream> {
    signal?.throwIfAborted();
    const stream = await this.#ask({ id: this.#nextId++, connect }, connect.to);
    if (stream === undefined) throw socketError('ECONNRESET', connect.to);
    if (signal?.aborted) stream.destroy();
    signal?.throwIfAborted();
    return stream;
  }

  async listen(at: Address, onConnection: (stream: MachineStream) => void): Promise<() => void> {
    const id = this.#nextId++;
    this.#listening.set(id, onConnection);
    try {
      await this.#ask({ id, listen: at }, at);
    } catch (error) {
      this.#listening.delete(id);
      throw error;
    }
    return () => {
      if (this.#listening.delete(id)) this.#inside?.send({ id: this.#nextId++, stop: id } satisfies SocketsAsked);
    };
  }

  close(): void {
    const inside = this.#inside;
    this.#inside = undefined;
    if (inside?.connected === true) inside.disconnect();
  }

  #ask(asked: SocketsAsked, about: Address): Promise<MachineStream | undefined> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(asked.id, { about, resolve, reject });
      this.#inside ??= this.#start();
      this.#inside.send(asked, (error) => {
        if (error !== null) this.#told({ id: asked.id, errno: 'ENETUNREACH' }, undefined);
      });
    });
  }

  #start(): ChildProcess {
    const [program, ...args] = commandInside(this.#entry, [process.execPath, fileURLToPath(MODULE)]);
    const inside = spawn(program, args, { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    inside.on('message', (told: SocketsTold, handle) => this.#told(told, handle instanceof Socket ? handle : undefined));
    const gone = (): void => {
      if (this.#inside === inside) this.#inside = undefined;
      this.#listening.clear();
      const waiting = [...this.#waiting.values()];
      this.#waiting.clear();
      for (const { reject } of waiting)
        reject(
          new DataPlaneError('no process can be had inside the namespace', {
            code: 'ENETUNREACH',
            hint: 'Is nsenter (util-linux) installed?',
          }),
        );
    };
    inside.once('error', gone);
    inside.once('exit', gone);
    // what is open keeps a process alive, not those who open it
    inside.unref();
    inside.channel?.unref();
    return inside;
  }

  #told(told: SocketsTold, stream: Socket | undefined): void {
    if (stream !== undefined) stream.allowHalfOpen = true;
    if ('accepted' in told) {
      const take = this.#listening.get(told.id);
      if (stream === undefined) return;
      if (take === undefined) stream.destroy();
      else take(stream);
      return;
    }
    const waiting = this.#waiting.get(told.id);
    this.#waiting.delete(told.id);
    if ('errno' in told) waiting?.reject(socketError(told.errno, waiting.about));
    else waiting?.resolve(stream);
  }
}

interface Waiting {
  readonly about: Address;
  readonly resolve: (stream: MachineStream | undefined) => void;
  readonly reject: (error: DataPlaneError) => void;
}

const MODULE = new URL('./namespace-sockets-inside.js', import.meta.url);
