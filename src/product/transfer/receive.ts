import type { Duplex } from 'node:stream';
import { FileServer, type FileServerEvent, type FileServerOptions } from './server/server.ts';
import { SYSTEM_TIMING } from './timing.ts';

export interface ReceiveOptions extends Omit<FileServerOptions, 'folder' | 'inbox'> {
  /** Begins to hand over connections, each with who is at its other end as the tunnel's authentication says. @returns how to stop that */
  readonly listen: (take: (stream: Duplex, peer: string) => void) => Promise<() => void>;
  readonly inbox: string;
  /** Ends when so many files are stored and their senders have gone; absent: only when the signal says so. */
  readonly count?: number | undefined;
  readonly signal?: AbortSignal;
}

export interface Received {
  readonly files: number;
  readonly bytes: number;
}

/** Takes files into a folder until enough came or the signal ends it. @throws TransferError when the folder is not ours to use; why nobody can connect */
export async function receive(options: ReceiveOptions): Promise<Received> {
  const { listen, inbox, count = Number.POSITIVE_INFINITY, signal, onEvent, ...rest } = options;
  const timing = options.timing ?? SYSTEM_TIMING;
  const open = new Set<Duplex>();
  let received: Received = { files: 0, bytes: 0 };
  let cancel: (() => void) | undefined;
  let enough = (): void => {};
  const over = new Promise<void>((resolve) => {
    enough = resolve;
  });
  // A sender goes when it has heard that all is well; one that stays is not waited for.
  const look = (): void => {
    if (received.files < count) return;
    if (open.size === 0) enough();
    else cancel ??= timing.after(PATIENCE, enough);
  };
  const add = (files: number, bytes: number): void => {
    received = { files: received.files + files, bytes: received.bytes + bytes };
    look();
  };
  const tell = (event: FileServerEvent): void => {
    onEvent?.(event);
    if (event.kind === 'stored') add(1, event.file.length);
    if (event.kind === 'unpacked') add(event.files.files, event.files.bytes);
  };
  const server = await FileServer.open({ ...rest, inbox, onEvent: tell });
  try {
    const stop = await listen((stream, peer) => {
      open.add(stream);
      stream.once('close', () => {
        open.delete(stream);
        look();
      });
      server.accept(stream, peer);
    });
    signal?.addEventListener('abort', enough, { once: true });
    if (signal?.aborted || count <= 0) enough();
    await over;
    stop();
  } finally {
    cancel?.();
    signal?.removeEventListener('abort', enough);
    await server.close();
  }
  return received;
}

/** Milliseconds that senders have to go when enough is stored. */
const PATIENCE = 30_000;
