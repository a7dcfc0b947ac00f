import { addCommand, type Shell } from '../command.ts';
import { EXIT } from '../exit-codes.ts';
import { instanceFor, runningInstances } from '../instances.ts';
import { interruptible } from '../interrupt.ts';
import { plural } from '../render/text.ts';
import { selectionOf } from './down.ts';

export function registerRekey(shell: Shell): void {
  addCommand<{ readonly children?: true; readonly reauth?: true }>(
    shell,
    {
      usage: 'rekey <name>',
      group: 'Client',
      summary: 'fresh keys now',
      description: 'Gives the IKE SA of NAME fresh keys; traffic goes on meanwhile.',
    },
    (command) =>
      command
        .option('--children', 'those of its CHILD_SAs as well')
        .option('--reauth', 'authenticate anew: a second IKE SA takes its place'),
    async ({ context, out, flags }, name) => {
      const affected = await interruptible(context, flags.timeout, async (signal) => {
        const instance = instanceFor(await runningInstances(context, flags.control, signal), name!);
        return instance.client.rekey(
          { ...(await selectionOf(instance, name, undefined, signal)), children: flags.children === true, reauth: flags.reauth === true },
          signal,
        );
      });
      const { ikeSas, children } = affected;
      const parts = [ikeSas > 0 ? plural(ikeSas, 'IKE SA') : '', children > 0 ? plural(children, 'child SA') : ''].filter(
        (part) => part !== '',
      );
      if (out.json) out.document(affected);
      else if (parts.length === 0) out.line('Nothing was up.');
      else out.line(`${out.paint.green('✓')} ${flags.reauth === true ? 'authenticated anew:' : 'fresh keys for'} ${parts.join(', ')}`);
      if (parts.length > 0 && children === 0) out.note('  its child SAs keep theirs; --children gives them new ones as well');
      return EXIT.ok;
    },
  );
}
