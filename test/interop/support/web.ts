import type { Host } from './network.ts';
import { compiled, Daemon, eventually, PATIENCE } from './process.ts';
import type { Scope } from './scope.ts';

/** A web server in a namespace, at its outer address, with the files of a folder under any path. What it is asked for stands in its output. */
export async function serveFiles(scope: Scope, { namespace, address }: Host, port: number, folder: string): Promise<Daemon> {
  const args = ['netns', 'exec', namespace, process.execPath, compiled('files'), address, String(port), folder];
  const server = new Daemon(scope, 'web server', 'ip', args);
  await eventually(
    'the web server listens',
    () => server.output.includes('ready'),
    PATIENCE,
    () => server.output,
  );
  return server;
}
