import { describe, expect, test } from 'vitest';
import { fromHex } from '../../../src/core/bytes/index.ts';
import { NotifyType } from '../../../src/core/wire/index.ts';
import { childPolicy, fqdn, subnet } from '../../../src/testing/policies.ts';
import { connection, End, settle } from './two-ends.ts';

const NULL_LOCAL = { local: [{ auth: 'null', id: undefined }] } as const;
const NULL_REMOTE = { remote: [{ auth: 'null', id: { kind: 'any' } }] } as const;

test('RFC 7619 §2.4: neither `psk` nor `any` lets a peer in that proves nothing', () => {
  for (const auth of ['psk', 'pubkey', 'any'] as const) {
    const left = new End({ connections: [connection('left', NULL_LOCAL)] });
    const right = new End({ connections: [connection('right', { remote: [{ auth, id: { kind: 'any' } }] })] });
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    settle(left, right);
    expect(right.has('ike-down').map(({ error }) => error?.code)).toEqual(['NULL_AUTH_NOT_ALLOWED']);
    expect(right.has('ike-down')[0]!.error!.hint).toMatch(/auth: null/);
    expect(left.has('failed').map(({ error }) => error.code)).toEqual(['PEER_AUTHENTICATION_FAILED']);
    expect(right.endpoint.info().filter(({ state }) => state === 'established')).toEqual([]);
  }
});

describe('the connection is chosen by how the peer authenticates, not by what it calls itself (RFC 7619 §2.2)', () => {
  test.each([
    ['NULL', NULL_LOCAL, 'open'],
    ['a pre-shared key', {}, 'net'],
  ])('%s', (_method, local, chosen) => {
    const left = new End({
      connections: [connection('left', { ...local, children: [childPolicy({ localTs: ['dynamic'], remoteTs: [subnet('10.2.0.0/24')] })] })],
    });
    const children = [childPolicy({ localTs: [subnet('10.2.0.0/24')], remoteTs: ['dynamic'] })];
    const right = new End({
      connections: [connection('right', { children }), connection('right', { name: 'open', ...NULL_REMOTE, children })],
    });
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    settle(left, right);
    expect(right.endpoint.info().map((sa) => sa.connection)).toEqual([chosen]);
    expect(right.children.size).toBe(1);
  });
});

describe('AUTH of method 13', () => {
  /** The right end, while the initiator's IKE_AUTH payloads are made by `left` with another secret or identity. */
  const against = (local: Parameters<typeof connection>[1]) => {
    const left = new End({ connections: [connection('left', local)] });
    const right = new End({ connections: [connection('right', { ...NULL_REMOTE })] });
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    settle(left, right);
    return { left, right };
  };

  test('an ID_NULL that holds something is malformed (§2.2)', () => {
    const { right } = against({ local: [{ auth: 'null', id: { idType: 13, data: fromHex('01') } }] });
    expect(right.has('ike-down').map(({ error }) => error?.code)).toEqual(['INVALID_SYNTAX']);
    expect(right.endpoint.info().filter(({ state }) => state === 'established')).toEqual([]);
  });

  test('an identity that is claimed is logged as what it is', () => {
    const { right } = against({ local: [{ auth: 'null', id: fqdn('admin.lab') }] });
    expect(right.has('peer')).toMatchObject([
      { method: 13, description: 'nobody: it proved no identity; it calls itself admin.lab, which nothing supports' },
    ]);
    expect(right.endpoint.info()).toMatchObject([{ remoteAuth: 'NULL_AUTHENTICATION' }]);
  });

  test('§2.5: a network of its own is not for a peer that proves nothing', () => {
    const { left, right } = against(NULL_LOCAL);
    expect(right.endpoint.info()).toHaveLength(1);
    expect(right.children.size).toBe(0);
    expect(left.has('failed').map(({ error }) => 'notify' in error && error.notify)).toEqual([NotifyType.TS_UNACCEPTABLE]);
  });
});
