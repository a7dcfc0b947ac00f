import { addCommand, type Shell } from '../command.ts';
import { EXIT } from '../exit-codes.ts';
import { notRunning, runningInstances } from '../instances.ts';
import { interruptible } from '../interrupt.ts';
import { renderStatus } from '../render/status.ts';

export function registerStatus(shell: Shell): void {
  addCommand(
    shell,
    { usage: 'status', group: 'Look', summary: 'one line for each peer' },
    (command) => command,
    async ({ context, out, flags }) => {
      const instances = await interruptible(context, flags.timeout, (signal) => runningInstances(context, flags.control, signal));
      const documents = instances.map(({ status }) => status);
      if (out.json) {
        out.document({ instances: documents });
        return documents.length === 0 ? EXIT.notFound : EXIT.ok;
      }
      if (documents.length === 0) throw notRunning();
      out.print(renderStatus(documents, out.paint, out.columns));
      return EXIT.ok;
    },
  );
}
