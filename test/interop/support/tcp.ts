import type { Exchanged } from './end.ts';
import type { Host } from './network.ts';
import { compiled, Daemon, eventually, PATIENCE } from './process.ts';
import { Scope } from './scope.ts';

/** Ends of a TCP connection in the kernel of a namespace, as processes of their own: `process/tcp-end.ts`. */
export async function tcpListen(host: Host, port: number, octets: number): Promise<{ readonly done: Promise<Exchanged> }> {
  const end = start(host, ['listen', host.inside, String(port), String(octets)]);
  await eventually(
    'the TCP server listens',
    () => end.daemon.output.includes('"listening"'),
    PATIENCE,
    () => end.daemon.output,
  );
  return { done: result(end) };
}

export function tcpConnect(host: Host, to: string, port: number, octets: number): Promise<Exchanged> {
  return result(start(host, ['connect', to, String(port), String(octets), host.inside]));
}

interface Running {
  readonly scope: Scope;
  readonly daemon: Daemon;
}

function start(host: Host, args: readonly string[]): Running {
  const scope = new Scope();
  return {
    scope,
    daemon: new Daemon(scope, 'TCP end', 'ip', ['netns', 'exec', host.namespace, process.execPath, compiled('tcp-end'), ...args]),
  };
}

async function result({ scope, daemon }: Running): Promise<Exchanged> {
  try {
    await eventually(
      'the TCP connection ends',
      () => !daemon.running,
      4 * PATIENCE,
      () => daemon.output,
    );
    const line = daemon.output.split('\n').find((l) => l.includes('"received"'));
    if (line === undefined) throw new Error(`the TCP connection failed\n${daemon.output}`);
    return JSON.parse(line) as Exchanged;
  } finally {
    await scope.close();
  }
}
