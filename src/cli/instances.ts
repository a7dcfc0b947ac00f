import type { ControlClient } from '../product/control/client.ts';
import type { StatusDocument } from '../product/control/documents.ts';
import { ControlError } from '../product/control/errors.ts';
import { listSockets, socketFolder } from '../product/control/socket-path.ts';
import type { CliContext } from './context.ts';
import { CliError } from './errors.ts';

/** An instance that answers. */
export interface Running {
  readonly client: ControlClient;
  readonly status: StatusDocument;
}

/** Every instance of this user that answers; with --control that one alone, which then must. */
export async function runningInstances(context: CliContext, control: string | undefined, signal?: AbortSignal): Promise<Running[]> {
  if (control !== undefined) return [await ask(control, signal)];
  const sockets = listSockets(socketFolder({ env: context.env, uid: context.uid, home: context.home }));
  const found = await Promise.all(
    sockets.map(({ path }) =>
      ask(path, signal).catch((error: unknown) => {
        // A socket that nobody serves is what a crash leaves behind.
        if (error instanceof ControlError && error.code === 'NOT_RUNNING') return undefined;
        throw error;
      }),
    ),
  );
  return found.filter((instance) => instance !== undefined);
}

export const notRunning = (): ControlError =>
  new ControlError('nothing is running here', {
    code: 'NOT_RUNNING',
    hint: 'Start a gateway with tunnelwright serve, or connect with tunnelwright up TARGET.',
  });

/**
 * The one instance that is meant: by its name, by a connection or a peer of it, or as the only one there is.
 * @throws ControlError `NOT_RUNNING`, CliError `NO_SUCH_PEER` or `WHICH_INSTANCE`
 */
export function instanceFor(instances: readonly Running[], name: string): Running {
  if (instances.length === 0) throw notRunning();
  const matches = instances.filter(({ status }) => status.name === name || peerOf(status, name) !== undefined);
  if (matches.length === 1) return matches[0]!;
  if (matches.length > 1) {
    throw new CliError(`${name} is in several instances: ${matches.map(({ status }) => status.name).join(', ')}`, {
      code: 'WHICH_INSTANCE',
      hint: `Say which with --control ${matches[0]!.client.path}`,
    });
  }
  throw new CliError(`nothing here is called ${name}`, {
    code: 'NO_SUCH_PEER',
    hint: `Known: ${known(instances).join(', ') || 'nobody'}.`,
  });
}

/** The peer of a status that a name means: a connection, an identity, or its first part. */
export function peerOf({ peers }: StatusDocument, name: string): StatusDocument['peers'][number] | undefined {
  return (
    peers.find(({ connection }) => connection === name) ??
    peers.find(({ id }) => id === name) ??
    peers.find(({ id }) => id?.split('@')[0] === name)
  );
}

function known(instances: readonly Running[]): string[] {
  return [
    ...new Set(
      instances.flatMap(({ status }) => [
        status.name,
        ...status.peers.flatMap(({ connection, id }) => (id === null ? [connection] : [connection, id])),
      ]),
    ),
  ];
}

async function ask(path: string, signal: AbortSignal | undefined): Promise<Running> {
  // Loaded when it is needed: `help` and mistakes should not wait for it.
  const { ControlClient } = await import('../product/control/client.ts');
  const client = new ControlClient(path);
  return { client, status: await client.status(signal) };
}
