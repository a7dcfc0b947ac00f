import type { Duplex } from 'node:stream';
import { addCommand, type Invocation, type Shell } from '../command.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import { interruptible } from '../interrupt.ts';
import { instanceThrough, THROUGH, type ThroughFlags, wayThrough } from '../through.ts';

const DESCRIPTION = `Joins its input and output with a TCP port behind the tunnel. With OpenSSH: ssh -o ProxyCommand='tunnelwright nc %h %p' HOST; so do scp, sftp, rsync and git.`;

export function registerNc(shell: Shell): void {
  addCommand<ThroughFlags>(
    shell,
    { usage: 'nc <host> <port>', group: 'Reach', summary: 'input and output to a port behind it', description: DESCRIPTION },
    (command) => command.option(...THROUGH),
    nc,
  );
}

async function nc(invocation: Invocation<ThroughFlags>, host?: string, text?: string): Promise<number> {
  const { context, flags } = invocation;
  const port = portOf(text!);
  const far = await interruptible(context, flags.timeout, async (signal) => {
    const way = await wayThrough(await instanceThrough(invocation, signal));
    return way.connect({ host: host!, port, signal });
  });
  await interruptible(context, undefined, (signal) => carry(far, context.stdio(), signal));
  return EXIT.ok;
}

/** The end of our input is told to the far end, whose answer may still come; its end is ours. */
async function carry(
  far: Duplex,
  { input, output }: { readonly input: NodeJS.ReadableStream; readonly output: NodeJS.WritableStream },
  signal: AbortSignal,
): Promise<void> {
  const onAbort = (): void => void far.destroy();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      far.once('error', (cause) => reject(new CliError(`the connection broke: ${cause.message}`, { code: 'CONNECTION_BROKE', cause })));
      far.once('close', () => (signal.aborted ? reject(signal.reason as Error) : resolve()));
      far.once('end', () => {
        input.unpipe(far);
        input.pause();
        far.end();
      });
      // a reader that went away, as `| head` does
      output.once('error', () => far.destroy());
      far.pipe(output, { end: false });
      input.pipe(far);
    });
  } finally {
    signal.removeEventListener('abort', onAbort);
    input.unpipe(far);
    input.pause();
  }
}

export function portOf(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port >= 1 && port <= 65_535) return port;
  throw new CliError(`${text} is no port`, { code: 'USAGE', hint: 'A port is a number from 1 to 65535.' });
}
