import { addCommand, type Shell } from '../command.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import { instanceFor, notRunning, type Running, runningInstances } from '../instances.ts';
import { interruptible } from '../interrupt.ts';
import { plural } from '../render/text.ts';
import { selectionOf } from './down.ts';

interface RedirectFlags {
  readonly to?: string;
  readonly peer?: string;
  readonly ike?: string;
}

const DESCRIPTION = `Sends clients that are connected here to another gateway (RFC 5685): one peer, one IKE SA by its number, or everybody. Each connects
there and then leaves; who does not within the grace of \`redirect\` is disconnected. Clients that do not follow redirects stay.`;

export function registerRedirect(shell: Shell): void {
  addCommand<RedirectFlags>(
    shell,
    { usage: 'redirect', group: 'Gateway', summary: 'send clients to another gateway', description: DESCRIPTION },
    (command) =>
      command
        .option('--to <host>', 'address or DNS name of the other gateway')
        .option('--peer <name>', 'a connection, or a peer as `tunnelwright status` shows it; everybody unless given')
        .option('--ike <id>', 'number of an IKE SA as `tunnelwright sas` shows it'),
    async ({ context, out, flags }) => {
      const { to, peer, ike } = flags;
      if (to === undefined) throw new CliError('where are they to go?', { code: 'USAGE', hint: 'Give --to HOST.' });
      if (peer !== undefined && ike !== undefined)
        throw new CliError('a peer and an IKE SA are two ways to say who is meant', { code: 'USAGE', hint: 'Give --peer or --ike.' });
      if (ike !== undefined && !/^\d{1,15}$/.test(ike))
        throw new CliError(`${ike} is not the number of an IKE SA`, { code: 'USAGE', hint: '`tunnelwright sas` shows them.' });
      const affected = await interruptible(context, flags.timeout, async (signal) => {
        const instance = instanceOf(await runningInstances(context, flags.control, signal), peer);
        if (ike !== undefined) return instance.client.redirect({ to, ikeSa: Number(ike) }, signal);
        return instance.client.redirect({ to, ...(await selectionOf(instance, peer, undefined, signal)) }, signal);
      });
      if (out.json) out.document(affected);
      else if (affected.ikeSas === 0) out.line('Nobody is connected here who follows redirects.');
      else out.line(`${out.paint.green('✓')} sent ${plural(affected.ikeSas, 'peer')} to ${to}`);
      return EXIT.ok;
    },
  );
}

/** Whoever redirects is a gateway; with several of them a peer, or --control, says which. */
function instanceOf(instances: readonly Running[], peer: string | undefined): Running {
  if (instances.length === 0) throw notRunning();
  if (peer !== undefined) return instanceFor(instances, peer);
  const gateways = instances.filter(({ status }) => status.role === 'gateway');
  const [only, ...others] = gateways.length > 0 ? gateways : instances;
  if (only !== undefined && others.length === 0) return only;
  throw new CliError('several instances are running', {
    code: 'WHICH_INSTANCE',
    hint: 'Name a peer with --peer, or an instance with --control SOCKET.',
  });
}
