import { expect, test } from 'vitest';
import { InstanceTransfer } from '../../src/cli/transfer-target.ts';
import { DataPlaneError, utf8 } from '../../src/core/bytes/index.ts';
import type { Instance } from '../../src/host/engine/instance.ts';
import type { GetRequest } from '../../src/product/control/api.ts';
import { ikeSa } from '../product/control/fake-target.ts';

/** An instance with these IKE SAs, behind whose tunnels every call ends with this code; where it called. */
function instance(code: string, ...sas: Parameters<typeof ikeSa>[0][]): { readonly transfer: InstanceTransfer; readonly called: string[] } {
  const called: string[] = [];
  const inside = {
    connect: ({ host }: { readonly host: string }) => {
      called.push(host);
      return Promise.reject(new DataPlaneError(`${host}: no answer`, { code }));
    },
  };
  const fake = { name: 'gateway', ikeSas: () => sas.map((changes) => ikeSa(changes)), onNotice: () => () => undefined };
  return { transfer: new InstanceTransfer(fake as unknown as Instance, inside, 9467), called };
}

const ask = (transfer: InstanceTransfer, peer: string, signal = new AbortController().signal) =>
  transfer.get({ peer, path: 'x', destination: '/nowhere' } satisfies GetRequest, () => undefined, signal);

test.each([
  ['an address behind the tunnel', '10.99.99.99', 'ETIMEDOUT'],
  ['a name behind the tunnel', 'files.internal', 'NAME_NOT_FOUND'],
])('%s that nobody vouches for is tried once, and the reason told', async (_what, peer, code) => {
  const { transfer, called } = instance(code, {});
  await expect(ask(transfer, peer)).rejects.toMatchObject({ code });
  expect(called).toEqual([peer]);
});

test('a peer that is connected is waited for', async () => {
  const { transfer, called } = instance('ETIMEDOUT', {});
  const given = new AbortController();
  const got = ask(transfer, 'alice@example.com', given.signal);
  setTimeout(() => given.abort(new Error('enough')), 600);
  await expect(got).rejects.toMatchObject({ code: 'TRANSFER_ABORTED' });
  expect(called.length).toBeGreaterThan(1);
  expect(new Set(called)).toEqual(new Set(['10.66.0.5']));
});

test.each([
  ['by its connection, though that is called as an address', { connection: '203.0.113.7', remoteId: undefined }, '203.0.113.7'],
  ['by its identity', {}, 'alice@example.com'],
  ['by the first part of it', {}, 'alice'],
  ['whoever began the IKE SA', { role: 'initiator' as const }, 'alice'],
])('a peer is found inside the tunnel %s', async (_what, changes, peer) => {
  const { transfer, called } = instance('ECONNREFUSED', { ...changes });
  await expect(ask(transfer, peer)).rejects.toMatchObject({ code: 'NO_FILE_SERVICE' });
  expect(called).toEqual(['10.66.0.5']);
});

test('our own address is not where a gateway keeps its files, whoever began the IKE SA', async () => {
  const host = {
    type: 7,
    protocol: 0,
    startPort: 0,
    endPort: 65535,
    start: Uint8Array.of(10, 66, 0, 1),
    end: Uint8Array.of(10, 66, 0, 1),
  } as const;
  const [child] = ikeSa().children;
  for (const role of ['initiator', 'responder'] as const) {
    const children = [{ ...child!, remoteTs: [host] }];
    const remoteId = { idType: 2, data: utf8('gw') };
    const { transfer, called } = instance('ECONNREFUSED', { role, assignedToUs: true, remoteId, children });
    await expect(ask(transfer, 'gw')).rejects.toMatchObject({ code: 'NO_FILE_SERVICE' });
    expect(called).toEqual(['10.66.0.1']);
  }
});
