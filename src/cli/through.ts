import type { Way } from '../host/platform/way.ts';
import type { Invocation } from './command.ts';
import { CliError } from './errors.ts';
import { instanceFor, notRunning, type Running, runningInstances } from './instances.ts';

export interface ThroughFlags {
  readonly through?: string;
}

/** The instance whose tunnels a command uses: the one named, or the only one. @throws ControlError `NOT_RUNNING`, CliError `WHICH_INSTANCE` */
export async function instanceThrough({ context, flags }: Invocation<ThroughFlags>, signal?: AbortSignal): Promise<Running> {
  const instances = await runningInstances(context, flags.control, signal);
  if (flags.through !== undefined) return instanceFor(instances, flags.through);
  if (instances.length === 0) throw notRunning();
  const clients = instances.filter(({ status }) => status.role === 'client');
  const meant = clients.length > 0 ? clients : instances;
  if (meant.length === 1) return meant[0]!;
  const names = meant.map(({ status }) => status.name);
  throw new CliError(`there are several tunnels here: ${names.join(', ')}`, {
    code: 'WHICH_INSTANCE',
    hint: `Say which with --through ${names[0]}`,
  });
}

/** Loaded when it is needed, as the control client is. @throws ApiMisuse `NO_WAY` where programs use the tunnel by themselves */
export async function wayThrough(instance: Running): Promise<Way> {
  const { noWay } = await import('../product/control/way-server.ts');
  if (instance.status.plane !== 'netstack') throw noWay(instance.status.plane);
  return filesThrough(instance);
}

/** Where files come in: also on the planes on which programs use the tunnel by themselves. */
export async function filesThrough({ client }: Running): Promise<Way> {
  const { ControlWay } = await import('../product/control/way.ts');
  return new ControlWay(client);
}

export const THROUGH = ['--through <name>', 'connection, peer or instance, where there are several'] as const;
