import { resolve } from 'node:path';
import type { Duplex } from 'node:stream';
import { InvalidArgumentError } from 'commander';
import { printable } from '../../core/bytes/index.ts';
import type { WayListener } from '../../host/platform/way.ts';
import { DEFAULTS } from '../../product/config/defaults.ts';
import type { FileServerEvent } from '../../product/transfer/index.ts';
import { addCommand, type Invocation, type Shell } from '../command.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import type { Running } from '../instances.ts';
import { interruptible } from '../interrupt.ts';
import type { Output } from '../output.ts';
import { fileLine } from '../render/files.ts';
import { ProgressBar } from '../render/progress.ts';
import { formatBytes, formatCount } from '../render/units.ts';
import { filesThrough, instanceThrough, THROUGH, type ThroughFlags } from '../through.ts';
import { LIMIT, parseOctets } from '../transfer.ts';

interface ReceiveFlags extends ThroughFlags {
  readonly count?: number;
  readonly limit?: number;
  readonly largest?: number;
  readonly keepFree?: number;
}

const DESCRIPTION = `Takes files that peers send through a tunnel that stands into FOLDER, by default the current one, until Ctrl-C: what serve --inbox does, for an instance that was not started so. A name that is taken gets a number.`;

export function registerReceive(shell: Shell): void {
  addCommand<ReceiveFlags>(
    shell,
    { usage: 'receive [folder]', group: 'Files', summary: 'take files that peers send', description: DESCRIPTION },
    (command) =>
      command
        .option('--count <files>', 'end when so many have come', countFlag)
        .option(...LIMIT)
        .option('--largest <size>', 'no larger file is taken; any', parseOctets)
        .option('--keep-free <size>', 'leave so much of the disk; 64MiB', parseOctets)
        .option(...THROUGH),
    receiveFiles,
  );
}

async function receiveFiles(invocation: Invocation<ReceiveFlags>, folder = '.'): Promise<number> {
  const { context, out, flags } = invocation;
  const { receive } = await import('../../product/transfer/index.ts');
  const bar = new ProgressBar(context.err, out.paint);
  return await interruptible(context, flags.timeout, async (signal) => {
    const instance = await instanceThrough(invocation, signal);
    const { files, bytes } = await receive({
      inbox: resolve(context.cwd, folder),
      count: flags.count,
      limit: flags.limit,
      largest: flags.largest === 0 ? undefined : flags.largest,
      keepFree: flags.keepFree ?? DEFAULTS.transferKeepFree,
      signal,
      onEvent: (event) => show(event, out, bar),
      listen: (take) => listen(instance, out, folder, take),
    });
    bar.leave();
    if (out.json) out.document({ event: 'received', files, bytes });
    else out.line(`${out.paint.green('✓')} received ${formatCount(files)} ${files === 1 ? 'file' : 'files'}, ${formatBytes(bytes)}`);
    if (!signal.aborted) return EXIT.ok;
    if ((signal.reason as CliError).code === 'INTERRUPTED') return EXIT.interrupted;
    // Somebody who set a time alone wanted to take files for so long.
    return flags.count === undefined ? EXIT.ok : EXIT.unreachable;
  });
}

/** A port of ours in the tunnel, which is opened again when the instance comes back. */
async function listen(instance: Running, out: Output, folder: string, take: (stream: Duplex, peer: string) => void): Promise<() => void> {
  const { Lasting } = await import('../../product/reach/lasting.ts');
  const way = await filesThrough(instance);
  const onConnection = async (stream: Duplex, ip: string): Promise<void> => {
    // it may break while we ask who it is; what takes it sees that it has ended
    stream.on('error', () => undefined);
    take(stream, await peerAt(instance, ip));
  };
  const listener = await Lasting.open<WayListener>({
    open: () => way.listenTcp(DEFAULTS.transferPort, (stream, { ip }) => void onConnection(stream, ip)),
    onPresence: (there) => out.note(there ? '· it is back, and takes files again' : '· the instance has ended; files come when it is back'),
  }).catch((cause: unknown) => {
    if (!(cause instanceof Error) || !('code' in cause) || cause.code !== 'EADDRINUSE') throw cause;
    throw new CliError(`${instance.status.name} takes files already`, {
      code: 'RECEIVES_ALREADY',
      hint: 'They go where its --inbox, or transfer.inbox of its configuration, says.',
      cause,
    });
  });
  if (out.json) out.document({ event: 'listening', through: instance.status.name });
  else out.note(`  takes files into ${folder} through ${instance.status.name}; Ctrl-C to stop`);
  return () => listener.close();
}

/** Who has an inner address; the address itself where nobody was given it. */
async function peerAt({ client }: Running, ip: string): Promise<string> {
  const status = await client.status().catch(() => undefined);
  return status?.peers.find(({ addresses }) => addresses.includes(ip))?.id ?? ip;
}

function show(event: FileServerEvent, out: Output, bar: ProgressBar): void {
  if (event.kind === 'progress') {
    const { eta = null, retryIn = null, ...progress } = event.progress;
    if (!out.json && !out.quiet) bar.show({ event: 'progress', ...progress, eta, retryIn });
    return;
  }
  const text = fileLine(event);
  if (text === undefined) return;
  bar.leave();
  if (!out.json) return event.kind === 'refused' ? out.note(`· ${text}`) : out.line(printable(text));
  const { peer } = event;
  if (event.kind === 'stored') {
    const { path, length, sha256 } = event.file;
    out.document({ event: 'stored', peer, path: path.join('/'), bytes: length, sha256 });
  } else if (event.kind === 'unpacked') out.document({ event: 'unpacked', peer, ...event.files });
  else if (event.kind === 'refused')
    out.document({ event: 'refused', peer, what: event.what, code: event.error.code, message: event.error.message });
}

function countFlag(text: string): number {
  const count = Number(text);
  if (/^\d{1,9}$/.test(text) && count > 0) return count;
  throw new InvalidArgumentError(`${text} is no number of files. Write digits alone.`);
}
