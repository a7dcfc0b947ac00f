import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import type { CliContext } from '../context.ts';

/** Is there a person, at a terminal on both sides? */
export function isInteractive(context: CliContext): boolean {
  return context.err.isTty && 'isTTY' in context.stdio().input && (context.stdio().input as { isTTY?: unknown }).isTTY === true;
}

export interface AskOptions {
  /** false: what is typed is not shown. */
  readonly echo?: boolean;
  /** Lines of before, the latest first; this one is added. */
  readonly history?: string[];
  readonly signal?: AbortSignal | undefined;
}

/** Asks a person one line. @returns undefined at the end of input, and for Ctrl-C */
export function ask(context: CliContext, question: string, { echo = true, history, signal }: AskOptions = {}): Promise<string | undefined> {
  const { input, output } = context.stdio();
  const shown = echo ? output : new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input, output: shown, terminal: true, ...(history === undefined ? {} : { history: [...history] }) });
  if (!echo) output.write(question);
  return new Promise((resolve) => {
    let answer: string | undefined;
    const close = (): void => lines.close();
    signal?.addEventListener('abort', close, { once: true });
    lines.once('SIGINT', close);
    lines.once('close', () => {
      signal?.removeEventListener('abort', close);
      if (!echo || answer === undefined) output.write('\n');
      resolve(answer);
    });
    lines.question(echo ? question : '', (line) => {
      answer = line;
      if (line.trim() !== '') history?.unshift(line);
      close();
    });
  });
}
