import { printable } from '../../core/bytes/index.ts';
import type { ListDocument } from '../../product/control/api.ts';
import { addCommand, type Invocation, type Shell } from '../command.ts';
import { EXIT } from '../exit-codes.ts';
import { interruptible } from '../interrupt.ts';
import { table } from '../render/text.ts';
import { formatBytes } from '../render/units.ts';
import { instanceOf, parseRemote } from '../transfer.ts';

interface ListFlags {
  readonly long?: true;
}

type Entry = ListDocument['entries'][number];

const DESCRIPTION = 'Names what a peer shares: of a folder what is in it. Folders end in /, links show where they lead.';

export function registerList(shell: Shell): void {
  addCommand<ListFlags>(
    shell,
    { usage: 'ls <peer:path>', operands: 'PEER:PATH', group: 'Files', summary: 'what a peer shares', description: DESCRIPTION },
    (command) => command.option('-l, --long', 'with permissions, size and time'),
    list,
  );
}

async function list(invocation: Invocation<ListFlags>, operand?: string): Promise<number> {
  const { context, out, flags } = invocation;
  const { peer, path } = parseRemote(operand!);
  const document = await interruptible(context, flags.timeout, async (signal) => {
    const { client } = await instanceOf(invocation, peer, signal);
    return client.list({ peer, path }, signal);
  });
  if (out.json) out.document(document);
  else if (document.entries.length === 0) out.line(`nothing is in ${operand}`);
  else if (flags.long === true) for (const line of table(document.entries.map(longLine), { right: [1] })) out.line(line);
  else for (const entry of document.entries) out.line(nameOf(entry));
  return EXIT.ok;
}

/** `-rw-r--r--   18.4 MiB   2026-11-22 11:07   report.pdf`; the time in UTC. */
const longLine = (entry: Entry): string[] => [
  `${KINDS[entry.kind]}${permissions(entry.mode)}`,
  entry.kind === 'file' ? formatBytes(entry.size) : '',
  entry.modified === null ? '' : entry.modified.slice(0, 16).replace('T', ' '),
  nameOf(entry),
];

function nameOf({ name, kind, target = '' }: Entry): string {
  if (kind === 'link') return `${printable(name)} → ${printable(target)}`;
  return kind === 'folder' ? `${printable(name)}/` : printable(name);
}

/** `rwxr-xr-x`. */
const permissions = (mode: number): string => [...'rwxrwxrwx'].map((letter, i) => ((mode >> (8 - i)) & 1 ? letter : '-')).join('');

const KINDS = { file: '-', folder: 'd', link: 'l' } as const;
