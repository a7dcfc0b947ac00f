import { join, resolve } from 'node:path';
import { fromUtf8 } from '../../core/bytes/index.ts';
import type { FileResult } from '../../product/sftp/index.ts';
import type { TransferProgress } from '../../product/transfer/index.ts';
import { addCommand, type Invocation, repeated, type Shell } from '../command.ts';
import type { CliContext } from '../context.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import { interruptible } from '../interrupt.ts';
import { ProgressBar } from '../render/progress.ts';
import { formatBytes, formatDuration, formatLatency } from '../render/units.ts';
import type { LoginFlags } from '../sftp/credentials.ts';
import type { SftpShell } from '../sftp/shell.ts';
import { parseSftpTarget, type SftpTarget, wordsOf } from '../sftp/words.ts';
import { instanceThrough, THROUGH, type ThroughFlags, wayThrough } from '../through.ts';

interface SftpFlags extends ThroughFlags, LoginFlags {
  readonly knownHosts?: string;
  readonly hostKey?: readonly string[];
  readonly acceptNew?: true;
}

const DESCRIPTION = `Files of an SFTP server behind the tunnel. COMMAND is get, put, ls, rm, mkdir, rename and others (help tells); without one they are read from the input, or asked for at a terminal. Folders go with everything below; a transfer that broke off goes on when the same command is given again (exit 8 says so).`;

export function registerSftp(shell: Shell): void {
  addCommand<SftpFlags>(
    shell,
    {
      usage: 'sftp <target> [command...]',
      operands: 'USER@HOST[:PORT] [COMMAND...]',
      group: 'Files',
      summary: 'files of an SFTP server behind it',
      description: DESCRIPTION,
    },
    (command) =>
      command
        .option(...THROUGH)
        .option('-i, --identity <file>', 'private key; those of ~/.ssh', repeated)
        .option('--agent', 'keys that ssh-agent holds; so unless others are named')
        .option('--password-file <file>', 'its first line is the password')
        .option('--known-hosts <file>', 'keys of servers; ~/.ssh/known_hosts')
        .option('--host-key <fingerprint>', 'SHA256:…, which the server’s key has to be', repeated)
        .option('--accept-new', 'believe a server that was never seen')
        // `ls -l`: the words of a command are its own
        .allowUnknownOption(),
    sftp,
  );
}

async function sftp(invocation: Invocation<SftpFlags>, target?: string, ...words: readonly string[]): Promise<number> {
  const { context, flags } = invocation;
  const { isInteractive } = await import('../sftp/ask.ts');
  const where = parseSftpTarget(target!, context.env.USER ?? context.env.LOGNAME);
  const person = isInteractive(context);
  const bar = new ProgressBar(context.err, invocation.out.paint);
  const server = await openServer(invocation, where, bar, person);
  try {
    if (words.length > 0) return await one(invocation, server.shell, words, bar);
    if (!person) return await batch(invocation, server.shell, fromUtf8(await context.readStdin()).split('\n'), bar);
    await interruptible(context, flags.timeout, (signal) => server.shell.run(['pwd'], signal));
    return await converse(invocation, server.shell, where, bar);
  } finally {
    server.close();
  }
}

async function openServer(
  invocation: Invocation<SftpFlags>,
  { user, host, port }: SftpTarget,
  bar: ProgressBar,
  person: boolean,
): Promise<{ readonly shell: SftpShell; close(): void }> {
  const { context, out, flags } = invocation;
  const [{ KnownHosts, SftpLink }, { credentialsFrom }, { ask }, { SftpShell: ShellClass }] = await Promise.all([
    import('../../product/sftp/index.ts'),
    import('../sftp/credentials.ts'),
    import('../sftp/ask.ts'),
    import('../sftp/shell.ts'),
  ]);
  const link = new SftpLink({
    user,
    credentials: credentialsFrom(flags, `${user}@${host}`, context),
    hostKey: {
      host,
      port,
      knownHosts: new KnownHosts(
        flags.knownHosts === undefined ? join(context.home, '.ssh', 'known_hosts') : resolve(context.cwd, flags.knownHosts),
      ),
      pinned: flags.hostKey,
      acceptNew: flags.acceptNew,
      ask: person ? (name, type, print) => believes(context, ask, `${name} shows ${print} (${type}), and was never seen.`) : undefined,
    },
    // the instance may be another by now, too
    connect: async (signal) =>
      (await wayThrough(await instanceThrough(invocation, signal))).connect({ host, port, signal, timeout: DIAL_TIMEOUT }),
  });
  const onProgress = (progress: TransferProgress): void => {
    if (!out.json && !out.quiet) bar.show({ ...progress, event: 'progress', retryIn: progress.retryIn ?? null, eta: progress.eta ?? null });
  };
  const shell = new ShellClass({ link, cwd: context.cwd, now: () => context.now(), onProgress, speed, size: formatBytes });
  return { shell, close: () => link.close() };
}

async function believes(context: CliContext, ask: typeof import('../sftp/ask.ts').ask, what: string): Promise<boolean> {
  return (await ask(context, `${what} Is that its key? (yes/no) `))?.trim().toLowerCase() === 'yes';
}

/** One command: what it says is the result. */
async function one(
  { context, out, flags }: Invocation<SftpFlags>,
  shell: SftpShell,
  words: readonly string[],
  bar: ProgressBar,
): Promise<number> {
  try {
    const said = await interruptible(context, flags.timeout, (signal) => shell.run(words, signal));
    if (out.json) out.document({ command: words[0], ...said.data });
    else for (const line of said.lines) out.line(line);
    return said.incomplete === true ? EXIT.failed : EXIT.ok;
  } catch (error) {
    bar.leave();
    throw error;
  }
}

/** Lines of a file: the first that fails ends it, unless a dash stands before it. */
async function batch(invocation: Invocation<SftpFlags>, shell: SftpShell, lines: readonly string[], bar: ProgressBar): Promise<number> {
  let worst: number = EXIT.ok;
  for (const line of lines) {
    const spared = line.trimStart().startsWith('-');
    const words = wordsOf(spared ? line.trimStart().slice(1) : line);
    if (words.length === 0) continue;
    if (ENDS.includes(words[0]!)) break;
    try {
      const code = await one(invocation, shell, words, bar);
      if (!spared) worst = Math.max(worst, code);
    } catch (error) {
      if (!spared) throw error;
      invocation.out.fail(error);
    }
  }
  return worst;
}

/** Asks for one command after the other; one that fails ends nothing. */
async function converse(
  invocation: Invocation<SftpFlags>,
  shell: SftpShell,
  { user, host }: SftpTarget,
  bar: ProgressBar,
): Promise<number> {
  const { ask } = await import('../sftp/ask.ts');
  const { context, out } = invocation;
  const history: string[] = [];
  out.note(`  ${user}@${host}; help tells the commands`);
  for (;;) {
    const line = await ask(context, 'sftp> ', { history });
    if (line === undefined) return EXIT.ok;
    try {
      const words = wordsOf(line);
      if (words.length === 0) continue;
      if (ENDS.includes(words[0]!)) return EXIT.ok;
      await one(invocation, shell, words, bar);
    } catch (error) {
      out.fail(error);
      if (error instanceof CliError && error.code === 'TIMEOUT') return EXIT.unreachable;
    }
  }
}

/** `28.6 MiB in 1.2 s, 23.8 MiB/s`; of a resumed file what this run moved. */
function speed({ bytes, resumedFrom, took }: FileResult): string {
  const moved = bytes - resumedFrom;
  const rate = took >= 100 ? `, ${formatBytes((moved / took) * 1000)}/s` : '';
  return `${formatBytes(moved)} in ${took < 10_000 ? formatLatency(took) : formatDuration(took)}${rate}`;
}

const ENDS: readonly string[] = ['bye', 'exit', 'quit'];
/** Milliseconds. */
const DIAL_TIMEOUT = 15_000;
