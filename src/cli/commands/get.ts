import { readFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { addCommand, type Invocation, type Shell } from '../command.ts';
import { CliError } from '../errors.ts';
import { instanceThrough, THROUGH, type ThroughFlags } from '../through.ts';
import { connectionsFlag, instanceOf, LIMIT, parseRemote, type TransferFlags, transfer } from '../transfer.ts';

interface GetFlags extends ThroughFlags, TransferFlags {
  readonly ca?: string;
}

const DESCRIPTION = `Fetches a file or folder through a tunnel that stands. PATH is below what the peer shares, empty for all of it; URL is of any HTTP server behind the tunnel. DEST is a folder or a file name, by default the current folder. A transfer that broke off goes on when the same command is run again (exit 8 says so).`;

export function registerGet(shell: Shell): void {
  addCommand<GetFlags>(
    shell,
    {
      usage: 'get <source> [dest]',
      operands: 'PEER:PATH|URL [DEST]',
      group: 'Files',
      summary: 'fetch a file or folder from a peer, or a URL',
      description: DESCRIPTION,
    },
    (command) =>
      command
        .option('--parallel <connections>', 'at once, 1 to 16; 4 for URLs and folders, else 1', connectionsFlag)
        .option(...LIMIT)
        .option('--ca <file>', 'of a URL: trust certificates of this authority')
        .option(...THROUGH),
    get,
  );
}

async function get(invocation: Invocation<GetFlags>, source?: string, destination?: string): Promise<number> {
  const { context, flags } = invocation;
  const { parallel, limit } = flags;
  const common = { destination: resolve(context.cwd, destination ?? '.'), parallel, limit };
  const told = (from: string) => (file: { readonly path: string }) => `${from} → ${relative(context.cwd, file.path) || file.path}`;
  if (/^https?:\/\//i.test(source!)) {
    const ca = flags.ca === undefined ? undefined : certificates(resolve(context.cwd, flags.ca), flags.ca);
    return transfer(
      invocation,
      (signal) => instanceThrough(invocation, signal),
      ({ client }, signal) => client.get({ ...common, url: source!, ca }, signal),
      told(source!),
    );
  }
  const { peer, path } = parseRemote(source!);
  return transfer(
    invocation,
    (signal) => instanceOf(invocation, peer, signal),
    ({ client }, signal) => client.get({ ...common, peer, path }, signal),
    told(`${peer}:${path}`),
  );
}

function certificates(path: string, shown: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new CliError(`${shown}: ${(cause as Error).message}`, { code: 'FILE_NOT_FOUND', cause });
  }
}
