import { describe, expect, test } from 'vitest';
import { backends, netstackBackend } from '../../src/host/dataplane/index.ts';
import { loadNative, nativeLack } from '../../src/host/platform/linux/ffi.ts';
import { whyNotBuilt } from '../support/build.ts';
import { dataPlaneContract } from './data-plane-contract.ts';

/** A new backend is under test as soon as it stands in the registry; one with a reader of sockets of its own, in test/interop/linux/plane-contract.test.ts. */
for (const backend of backends.filter(({ udp }) => udp === undefined)) {
  const probed = await backend.probe();
  if (probed.ok) dataPlaneContract(backend);
  else describe.skip(`the ${backend.name} data plane (${probed.reason})`, () => undefined);
}

/** In both its forms: one thread for all, and one for ESP that a file of the build runs in. */
dataPlaneContract(netstackBackend);
const lack = (await loadNative()) === undefined ? await nativeLack() : whyNotBuilt();
if (lack === undefined) dataPlaneContract(netstackBackend, { espThread: true });
else describe.skip(`the netstack data plane with a thread for ESP (${lack})`, () => undefined);

test('every backend has a name of its own', () => {
  const names = backends.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
});
