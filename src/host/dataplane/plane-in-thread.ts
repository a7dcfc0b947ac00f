import type { Address } from '../../core/bytes/index.ts';
import type { Transport } from '../../core/ike/effects.ts';
import type { Wakeup } from '../platform/linux/poll.ts';
import type { UdpSocket } from '../platform/udp.ts';
import { systemThreads } from '../platform/worker-threads.ts';
import type { ChildCounters, DataPlaneOptions, SequenceNumbers } from './data-plane.ts';
import { ThreadPort, type ThreadPortOptions } from './fast/thread-port.ts';

/** What planes have in common that move packets in a thread of their own. */
export abstract class PlaneInThread {
  protected abstract readonly port: ThreadPort;
  #closing: Promise<void> | undefined;

  counters(child: number): ChildCounters | undefined {
    return this.port.counters(child);
  }

  sequenceNumbers(child: number): SequenceNumbers | undefined {
    return this.port.sequenceNumbers(child);
  }

  drops(): Readonly<Record<string, number>> {
    return this.port.drops;
  }

  receive(packet: Uint8Array, local: Address, ip: string, port: number, transport?: Transport): boolean {
    this.port.receive(packet, local, ip, port, transport);
    return true;
  }

  adopt(socket: UdpSocket): Promise<void> {
    return this.port.adopt(socket);
  }

  disown(socket: UdpSocket): Promise<void> {
    return this.port.disown(socket);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Nothing is handed to the thread from here on. */
  protected stop(): void {}

  /** Gives back what the thread worked on; it has ended. */
  protected abstract release(): void;

  async #close(): Promise<void> {
    this.stop();
    try {
      await this.port.close();
    } finally {
      this.release();
    }
  }
}

/** The thread of a plane. @param wakeup of the thread's; who calls this closes it behind the thread */
export function startThread(
  plane: Pick<ThreadPortOptions, 'backend' | 'inner' | 'onCard' | 'onMtu'>,
  wakeup: Wakeup,
  { singly, onObservation, openPath, onFailure }: DataPlaneOptions,
): ThreadPort {
  return new ThreadPort({
    ...plane,
    threads: systemThreads,
    wake: wakeup.fd,
    singly: singly === true,
    ring: () => wakeup.wake(),
    onObservation,
    openPath,
    onEnd: (error, children) => {
      onFailure?.(error);
      // the peers must not go on sending to nobody
      for (const child of children) onObservation({ kind: 'hard-expire', child });
    },
  });
}
