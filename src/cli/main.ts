#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { homedir, hostname } from 'node:os';
import process from 'node:process';
import { concat } from '../core/bytes/bytes.ts';
import { startDetached, tellReady } from '../host/platform/detached.ts';
import type { CliContext, EndSignal, Terminal } from './context.ts';
import { run } from './program.ts';

/** A terminal, or whatever the stream is bound to. A reader that went away (`| head`) is no failure. */
function terminal(stream: NodeJS.WriteStream): Terminal {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0);
    process.stderr.write(`✗ the output cannot be written: ${error.message}   exit 1\n`);
    process.exit(1);
  });
  return {
    write: (text) => void stream.write(text),
    get isTty() {
      return stream.isTTY === true;
    },
    get columns() {
      const told = Number(process.env.COLUMNS);
      return Math.max(40, stream.columns ?? (Number.isInteger(told) && told > 0 ? told : 120));
    },
  };
}

function onSignal(listener: (signal: EndSignal) => void): () => void {
  for (const signal of END_SIGNALS) process.on(signal, listener);
  return () => {
    for (const signal of END_SIGNALS) process.off(signal, listener);
  };
}

async function readStdin(): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of process.stdin as AsyncIterable<Uint8Array>) parts.push(part);
  return concat(...parts);
}

const END_SIGNALS: readonly EndSignal[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };
const context: CliContext = {
  out: terminal(process.stdout),
  err: terminal(process.stderr),
  env: process.env,
  args: process.argv.slice(2),
  cwd: process.cwd(),
  home: homedir(),
  uid: process.getuid?.(),
  hostname: hostname(),
  version,
  now: () => Date.now(),
  onSignal,
  detach: (args, log, signal) => startDetached(new URL(import.meta.url), args, log, signal),
  tellReady,
  takeObjectRoom: async () => (await import('../host/platform/linux/object-room.ts')).takeObjectRoom(),
  exitNow: (code) => process.exit(code),
  readStdin,
  stdio: () => ({ input: process.stdin, output: process.stdout }),
};
process.exitCode = await run(context.args, context);
