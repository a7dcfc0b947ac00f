import type { TransferError } from './errors.ts';
import type { TransferProgress } from './progress.ts';
import { type ConnectionSource, FileServer, type FileServerOptions } from './server.ts';
import { SYSTEM_TIMING } from './timing.ts';
import type { StoredFile } from './upload-store.ts';

export interface ReceiveOptions extends Omit<FileServerOptions, 'folder' | 'inbox' | 'onEvent'> {
  readonly listener: ConnectionSource;
  readonly inbox: string;
  /** Ends after so many files; absent: only when the signal says so. */
  readonly count?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (peer: string, progress: TransferProgress) => void;
  readonly onStored?: (peer: string, file: StoredFile) => void;
  readonly onRefused?: (peer: string, error: TransferError) => void;
}

/** Takes files into a folder until enough came or the signal ends it. @returns what was stored, in order. @throws TransferError when the folder is not ours to use. */
export async function receive(options: ReceiveOptions): Promise<readonly StoredFile[]> {
  const { listener, inbox, count = Number.POSITIVE_INFINITY, signal, onProgress, onStored, onRefused, ...rest } = options;
  const stored: StoredFile[] = [];
  const timing = options.timing ?? SYSTEM_TIMING;
  let cancel = (): void => {};
  let enough = (): void => {};
  const over = new Promise<void>((resolve) => {
    enough = resolve;
  });
  const server = await FileServer.open({
    ...rest,
    inbox,
    onEvent: (event) => {
      if (event.kind === 'progress') onProgress?.(event.peer, event.progress);
      if (event.kind === 'refused') onRefused?.(event.peer, event.error);
      // The last sender has to hear that all is well before the connection goes.
      if (event.kind === 'acknowledged' && stored.length >= count) enough();
      if (event.kind !== 'stored') return;
      stored.push(event.file);
      onStored?.(event.peer, event.file);
      if (stored.length === count) cancel = timing.after(ACKNOWLEDGE_PATIENCE, enough);
    },
  });
  signal?.addEventListener('abort', enough, { once: true });
  if (signal?.aborted || count <= 0) enough();
  server.serve(listener);
  await over;
  cancel();
  signal?.removeEventListener('abort', enough);
  await server.close();
  return stored;
}

/** Milliseconds that a sender has to fetch the news that its file is stored. */
const ACKNOWLEDGE_PATIENCE = 30_000;
