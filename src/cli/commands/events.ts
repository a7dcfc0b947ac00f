import type { EventLine } from '../../product/control/index.ts';
import { addCommand, type Shell } from '../command.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import { instanceFor, notRunning, type Running, runningInstances } from '../instances.ts';
import { interruptible } from '../interrupt.ts';
import { EventLog } from '../render/log.ts';

export function registerEvents(shell: Shell): void {
  addCommand(
    shell,
    {
      usage: 'events [name]',
      group: 'Look',
      summary: 'what happens, as it happens',
      description: 'Shows what happens until Ctrl-C; -v shows exchanges and drops too, -vv messages.',
    },
    (command) => command,
    async ({ context, out, flags }, name) => {
      const log = new EventLog(out);
      try {
        await interruptible(context, flags.timeout, async (signal) => {
          const { client, status } = pick(await runningInstances(context, flags.control, signal), name);
          const connection = name === undefined || name === status.name ? undefined : name;
          for await (const event of client.events({ connection, messages: out.verbose > 1 }, signal)) {
            const text = out.json ? JSON.stringify({ schema: 1, ...event }) : log.line(event as EventLine);
            if (text !== undefined) out.line(text);
          }
        });
      } catch (error) {
        // Somebody who set a time wanted to look for so long.
        if (!(error instanceof CliError) || error.code !== 'TIMEOUT') throw error;
      }
      return EXIT.ok;
    },
  );
}

function pick(instances: readonly Running[], name: string | undefined): Running {
  if (name !== undefined) return instanceFor(instances, name);
  if (instances.length === 1) return instances[0]!;
  if (instances.length === 0) throw notRunning();
  throw new CliError('several instances are running', {
    code: 'WHICH_INSTANCE',
    hint: `Name one of: ${instances.map(({ status }) => status.name).join(', ')}.`,
  });
}
