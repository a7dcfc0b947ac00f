import { relative, resolve } from 'node:path';
import { addCommand, type Shell } from '../command.ts';
import { parseRemote, transfer } from './send.ts';

const DESCRIPTION = `Fetches a file or folder through a tunnel that stands. PATH is below what the peer shares, empty for all of it; DEST is a folder or a file name, by default the current folder. A transfer that broke off goes on when the same command is run again (exit 8 says so).`;

export function registerGet(shell: Shell): void {
  addCommand(
    shell,
    {
      usage: 'get <source> [dest]',
      operands: 'PEER:PATH [DEST]',
      group: 'Files',
      summary: 'fetch a file or folder from a peer',
      description: DESCRIPTION,
    },
    (command) => command,
    async (invocation, source, destination) => {
      const { peer, path } = parseRemote(source!);
      const to = resolve(invocation.context.cwd, destination ?? '.');
      return transfer(
        invocation,
        peer,
        ({ client }, signal) => client.get({ peer, path, destination: to }, signal),
        (file) => `${peer}:${path} → ${relative(invocation.context.cwd, file.path) || file.path}`,
      );
    },
  );
}
