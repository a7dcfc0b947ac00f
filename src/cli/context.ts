import type { Colors } from 'picocolors/types.js';
import type { DetachedStart } from '../host/platform/detached.ts';

/** Where text goes, and how wide it may be. */
export interface Terminal {
  write(text: string): void;
  readonly isTty: boolean;
  /** Characters in a line. */
  readonly columns: number;
}

/** Everything the command line takes from the machine, so that tests run it in process. */
export interface CliContext {
  readonly out: Terminal;
  readonly err: Terminal;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The command line. */
  readonly args: readonly string[];
  readonly cwd: string;
  readonly home: string;
  readonly uid: number | undefined;
  readonly hostname: string;
  /** Of this program. */
  readonly version: string;
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls back for each Ctrl-C and each wish to end. @returns how to stop that */
  onSignal(listener: (signal: EndSignal) => void): () => void;
  /** Starts this program anew in the background; see `startDetached`. */
  detach(args: readonly string[], log: string, signal: AbortSignal): Promise<DetachedStart>;
  /** Present where this process was sent into the background: tells whoever did so that it stands. */
  readonly tellReady: (() => void) | undefined;
  /** Begins this program again with more room for short-lived objects, where that can be: `takeObjectRoom`. */
  takeObjectRoom(): Promise<void>;
  /** Ends at once, for whoever asks a second time. */
  exitNow(code: number): void;
  readStdin(): Promise<Uint8Array>;
  /** Octets in and out, for a command that carries them. */
  stdio(): { readonly input: NodeJS.ReadableStream; readonly output: NodeJS.WritableStream };
}

/** Ctrl-C, the wish to end, and a terminal that was closed. */
export type EndSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

/** The flags every command knows. */
export interface GlobalFlags {
  readonly config?: string;
  readonly json?: true;
  readonly quiet?: true;
  /** How often -v was given. */
  readonly verbose?: number;
  readonly control?: string;
  /** false with --no-color. */
  readonly color: boolean;
  /** Milliseconds. */
  readonly timeout?: number;
}

export type Paint = Pick<Colors, 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'>;
