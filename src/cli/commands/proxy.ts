import { addCommand, type Invocation, repeated, type Shell } from '../command.ts';
import type { EndSignal } from '../context.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import { onEnd } from '../interrupt.ts';
import type { Output } from '../output.ts';
import { Presence } from '../presence.ts';
import type { ReachFlags } from '../reach.ts';
import { instanceThrough, THROUGH, type ThroughFlags, wayThrough } from '../through.ts';

interface ProxyFlags extends ThroughFlags {
  readonly listen?: string;
  readonly proxyAuth?: string;
}

type ForwardFlags = ThroughFlags & Pick<ReachFlags, 'local' | 'remote'>;

export function registerProxy(shell: Shell): void {
  addCommand<ProxyFlags>(
    shell,
    {
      usage: 'proxy',
      group: 'Reach',
      summary: 'SOCKS5 and HTTP proxy into the tunnel',
      description: 'One port for SOCKS5 (TCP and UDP, names resolved behind the tunnel) and for HTTP proxy requests, until Ctrl-C.',
    },
    (command) =>
      command
        .option('--listen <address>', '[ADDRESS:]PORT; 127.0.0.1:1080 unless given')
        .option('--proxy-auth <file>', 'only for whoever knows USER:PASSWORD in it')
        .option(...THROUGH),
    (invocation) => {
      const { listen = '1080', proxyAuth } = invocation.flags;
      return serve(invocation, { socks: listen, ...(proxyAuth === undefined ? {} : { proxyAuth }) });
    },
  );
}

export function registerForward(shell: Shell): void {
  addCommand<ForwardFlags>(
    shell,
    {
      usage: 'forward',
      group: 'Reach',
      summary: 'ports here to hosts behind it, and back',
      description:
        'Ports of this machine that lead to hosts behind the tunnel (-L), and ports of ours in the tunnel that lead to hosts here (-R), until Ctrl-C. With /udp behind it one carries UDP.',
    },
    (command) =>
      command
        .option('-L, --local <forward>', '[ADDRESS:]PORT:HOST:PORT, for instance 8080:files.internal:80', repeated)
        .option('-R, --remote <forward>', 'PORT:HOST:PORT, for instance 8080:127.0.0.1:80', repeated)
        .option(...THROUGH),
    (invocation) => {
      const { local, remote } = invocation.flags;
      if (local === undefined && remote === undefined)
        throw new CliError('what is to lead where?', { code: 'USAGE', hint: 'Write: tunnelwright forward -L 8080:files.internal:80' });
      return serve(invocation, { ...(local === undefined ? {} : { local }), ...(remote === undefined ? {} : { remote }) });
    },
  );
}

/** Until Ctrl-C. */
async function serve(invocation: Invocation<ThroughFlags>, flags: ReachFlags): Promise<number> {
  const { context, out } = invocation;
  const instance = await instanceThrough(invocation);
  const [way, { openReach }] = [await wayThrough(instance), await import('../reach.ts')];
  const presence = new Presence((there) => tellPresence(out, instance.status.name, there));
  const reach = await openReach(() => way, flags, context, out, presence);
  if (out.json) out.document({ event: 'listening', through: instance.status.name, at: reach.lines });
  else for (const line of reach.lines) out.line(`  ${out.paint.green('✓')} ${line}`);
  out.note(`  through ${instance.status.name}; Ctrl-C to stop`);
  const over = new AbortController();
  void presence.follow(instance.client, over.signal);
  const signal = await new Promise<EndSignal>((resolve) => onEnd(context, resolve));
  over.abort();
  await reach.close();
  return signal === 'SIGINT' ? EXIT.interrupted : EXIT.ok;
}

function tellPresence(out: Output, name: string, there: boolean): void {
  if (out.json) out.document({ event: there ? 'back' : 'away', through: name });
  else out.line(there ? `  ${out.paint.green('✓')} ${name} is back` : `  ${name} has ended: nothing passes until it is back`);
}
