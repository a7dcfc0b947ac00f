import { addCommand, type Shell } from '../command.ts';
import { EXIT } from '../exit-codes.ts';
import { notRunning, runningInstances } from '../instances.ts';
import { interruptible } from '../interrupt.ts';
import { renderSas } from '../render/sas.ts';

export function registerSas(shell: Shell): void {
  addCommand(
    shell,
    { usage: 'sas', group: 'Look', summary: 'every IKE SA and CHILD_SA in full' },
    (command) => command,
    async ({ context, out, flags }) => {
      const documents = await interruptible(context, flags.timeout, async (signal) => {
        const instances = await runningInstances(context, flags.control, signal);
        return Promise.all(instances.map(({ client }) => client.sas(signal)));
      });
      if (out.json) {
        out.document({ instances: documents });
        return documents.length === 0 ? EXIT.notFound : EXIT.ok;
      }
      if (documents.length === 0) throw notRunning();
      out.print(renderSas(documents, out.paint, out.columns));
      return EXIT.ok;
    },
  );
}
