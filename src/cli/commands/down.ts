import type { SaSelection } from '../../product/control/index.ts';
import { addCommand, type Shell } from '../command.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import { instanceFor, notRunning, type Running, runningInstances } from '../instances.ts';
import { interruptible } from '../interrupt.ts';
import { plural } from '../render/text.ts';

interface DownFlags {
  readonly all?: true;
  readonly force?: true;
}

const DESCRIPTION = `Disconnects in an orderly way: the peer is told, and waited for. NAME is an instance, a connection, or a peer as \`tunnelwright status\` shows it.`;

export function registerDown(shell: Shell): void {
  addCommand<DownFlags>(
    shell,
    { usage: 'down [name]', group: 'Client', summary: 'disconnect NAME, or everybody with --all', description: DESCRIPTION },
    (command) => command.option('--all', 'everybody, in every instance').option('--force', 'without a word to the peer'),
    async ({ context, out, flags }, name) => {
      if ((name === undefined) === (flags.all === undefined))
        throw new CliError('who is to be disconnected?', { code: 'USAGE', hint: 'Give a NAME, or --all.' });
      const affected = await interruptible(context, flags.timeout, async (signal) => {
        const instances = await runningInstances(context, flags.control, signal);
        if (instances.length === 0) throw notRunning();
        const chosen = name === undefined ? instances : [instanceFor(instances, name)];
        const counts = await Promise.all(
          chosen.map(async (instance) => instance.client.down(await selectionOf(instance, name, flags.force, signal), signal)),
        );
        return counts.reduce((sum, count) => ({ ikeSas: sum.ikeSas + count.ikeSas, children: sum.children + count.children }), {
          ikeSas: 0,
          children: 0,
        });
      });
      if (out.json) out.document(affected);
      else if (affected.ikeSas + affected.children === 0) out.line('Nothing was up.');
      else out.line(`${out.paint.green('✓')} closed ${plural(affected.ikeSas, 'IKE SA')}, ${plural(affected.children, 'child SA')}`);
      return EXIT.ok;
    },
  );
}

/** A name means the whole instance, a connection, or the IKE SA of one peer. */
export async function selectionOf(
  { client, status }: Running,
  name: string | undefined,
  force: true | undefined,
  signal: AbortSignal,
): Promise<SaSelection> {
  const how = force === undefined ? {} : { force };
  if (name === undefined || (status.name === name && !status.peers.some(({ connection }) => connection === name)))
    return { all: true, ...how };
  if (status.peers.some(({ connection }) => connection === name)) return { connection: name, ...how };
  const { ikeSas } = await client.sas(signal);
  const sa = ikeSas.find(({ remoteId }) => remoteId === name) ?? ikeSas.find(({ remoteId }) => remoteId?.split('@')[0] === name);
  if (sa === undefined)
    throw new CliError(`${name} is not connected`, { code: 'NO_SUCH_PEER', hint: '`tunnelwright status` shows who is.' });
  return { ikeSa: sa.id, ...how };
}
