import { openSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe } from 'vitest';
import type { Backend } from '../../../src/host/dataplane/data-plane.ts';
import { loadNative } from '../../../src/host/platform/linux/ffi.ts';
import { dataPlaneContract } from '../../contracts/data-plane-contract.ts';
import { addNamespace, networkName } from '../support/network.ts';
import { NAMESPACES } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';

/** CLONE_NEWNET. */
const NEW_NETWORK = 0x4000_0000;

/** The contract over the planes with devices or a kernel of their own: this process moves into a network namespace of its own before the first is opened. */
const missing = NAMESPACES.missing();
if (missing !== undefined) describe.skip(`planes with devices or a kernel of their own (needs ${missing})`, () => undefined);
else {
  const scope = new Scope();
  afterAll(() => scope.close());
  const namespace = networkName();
  await addNamespace(scope, namespace);
  const native = (await loadNative())!;
  const { setns } = native.functions<{ setns(fd: number, kind: number): number }>({ setns: 'int setns(int fd, int kind)' });
  if (setns(openSync(join('/run/netns', namespace), 'r'), NEW_NETWORK) !== 0) throw new Error('this process stays where it is');
  // as it is built: the thread that moves packets is a file of its own
  const { backends } = (await import(pathToFileURL(join('dist', 'host', 'dataplane', 'index.js')).href)) as {
    backends: readonly Backend[];
  };
  for (const backend of backends.filter(({ udp }) => udp !== undefined)) {
    const probed = await backend.probe();
    if (probed.ok) dataPlaneContract(backend);
    else describe.skip(`the ${backend.name} data plane (${probed.reason})`, () => undefined);
  }
}
