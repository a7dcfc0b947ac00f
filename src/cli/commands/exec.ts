import { addCommand, type Invocation, type Shell } from '../command.ts';
import { CliError } from '../errors.ts';
import { type Running, runningInstances } from '../instances.ts';
import { instanceThrough, THROUGH, type ThroughFlags } from '../through.ts';

const DESCRIPTION = `Runs a program whose only network is the tunnel, with the tunnel's resolver: it cannot reach anything else, also when the tunnel is down. Needs a tunnel on the plane netns: tunnelwright up TARGET --plane netns --detach. Its exit code is ours.`;

export function registerExec(shell: Shell): void {
  addCommand<ThroughFlags>(
    shell,
    {
      usage: 'exec [command...]',
      operands: '-- COMMAND...',
      group: 'Reach',
      summary: 'a program with the tunnel as its network',
      description: DESCRIPTION,
    },
    (command) => command.option(...THROUGH),
    exec,
  );
}

async function exec(invocation: Invocation<ThroughFlags>, ...command: readonly string[]): Promise<number> {
  if (command.length === 0)
    throw new CliError('what is to be run?', { code: 'USAGE', hint: 'Write: tunnelwright exec -- curl http://intranet/' });
  const { status } = await withNamespace(invocation);
  const [program, ...args] = status.enter ?? [];
  if (program === undefined) {
    throw new CliError(`${status.name} is on the plane ${status.plane}, where programs have no namespace of their own`, {
      code: 'NO_NAMESPACE',
      hint:
        status.plane === 'netstack'
          ? `Bring it up with --plane netns; where that is forbidden, use a proxy: tunnelwright proxy, then curl --proxy socks5h://127.0.0.1:1080 …`
          : 'There every program of the machine uses the tunnel: run it as it is.',
    });
  }
  const { runInForeground } = await import('../../host/platform/program.ts');
  return runInForeground([program, ...args, ...command]);
}

/** Of several the one that has a namespace, unless somebody says which. */
async function withNamespace(invocation: Invocation<ThroughFlags>): Promise<Running> {
  const { context, flags } = invocation;
  if (flags.through === undefined) {
    const able = (await runningInstances(context, flags.control)).filter(({ status }) => status.enter !== null);
    if (able.length === 1) return able[0]!;
  }
  return instanceThrough(invocation);
}
