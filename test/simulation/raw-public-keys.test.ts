import { expect, test } from 'vitest';
import { fromUtf8 } from '../../src/core/bytes/index.ts';
import { generateKey } from '../../src/core/pki/index.ts';
import {
  childPolicy,
  connectionPolicy,
  expectInvariants,
  expectOneChild,
  expectTrafficBothWays,
  fqdn,
  Net,
  type Peer,
  pair,
  subnet,
} from '../../src/testing/index.ts';

const POLICY = { local: [{ auth: 'pubkey', id: undefined }], remote: [{ auth: 'pubkey', id: { kind: 'any' } }] } as const;
const KEYS = [generateKey('ed25519').privateKey, generateKey('ed25519').privateKey] as const;
const identity = (name: string, i: 0 | 1) => ({ id: fqdn(name), privateKey: KEYS[i], pinsKeys: true });
const names = (peer: Peer) => peer.established.map(({ remoteId }) => fromUtf8(remoteId!.data));

function standing(net: Net, a: Peer, b: Peer): void {
  expectOneChild(a, b);
  expectTrafficBothWays(net, a, b);
  expectInvariants(net);
}

test('raw public keys (RFC 7670): identities are the keys, through rekeyings, a new authentication and a restart', () => {
  const { net, a, b } = pair({
    connection: { ...POLICY, lifetimes: { rekey: 0, jitter: 0, hard: 0, reauth: 600_000 } },
    a: { identity: identity('a.lab', 0) },
    b: { identity: identity('b.lab', 1) },
  });
  a.initiate();
  net.settle();
  const [byKey] = names(b);
  expect(byKey).toMatch(/^sha256:[0-9a-f]{64}$/);
  a.rekeyIke();
  net.settle({ quiet: 120_000 });
  standing(net, a, b);
  net.run(700_000);
  net.settle();
  expect(names(b)).toEqual([byKey]);
  b.restart('snapshot');
  net.settle({ quiet: 120_000 });
  expect(names(b)).toEqual([byKey]);
  standing(net, a, b);
});

test('a ticket is good for whoever holds the key it was given to, whatever the name (RFC 5723 §4.3.3)', () => {
  const { net, a, b } = pair({
    connection: { ...POLICY, resumption: true },
    child: { dpdAction: 'start' },
    a: { identity: identity('a.lab', 0) },
    b: { identity: identity('b.lab', 1), endpoint: { secret: new Uint8Array(32).fill(7) } },
  });
  a.initiate();
  net.settle();
  const [byKey] = names(b);
  b.restart('nothing');
  a.checkLiveness();
  net.until('it is resumed', () => a.established.some(({ resumed }) => resumed) && b.established.some(({ resumed }) => resumed), 600_000);
  net.settle();
  expect(names(b)).toEqual([byKey]);
});

test('one key under two names is one peer, two keys under one name are two', () => {
  const net = new Net('raw keys');
  const children = [childPolicy({ localTs: [subnet('10.2.0.0/24')], remoteTs: [subnet('10.1.0.0/24')] })];
  const gw = net.peer('gw', '198.51.100.2', {
    identity: identity('gw.lab', 1),
    connections: [connectionPolicy({ ...POLICY, localAddresses: ['198.51.100.2'], children })],
  });
  const other = generateKey('ed25519').privateKey;
  const client = (i: number, name: string, privateKey: (typeof KEYS)[0]) => {
    const policy = connectionPolicy({ ...POLICY, localAddresses: [`192.0.2.${i}`], remoteAddresses: ['198.51.100.2'] });
    net.peer(`c${i}`, `192.0.2.${i}`, { identity: { id: fqdn(name), privateKey, pinsKeys: true }, connections: [policy] }).initiate();
    net.settle({ quiet: 60_000 });
    return gw.established.length;
  };
  expect(client(1, 'one.lab', KEYS[0])).toBe(1);
  expect(client(2, 'two.lab', KEYS[0])).toBe(1);
  expect(client(3, 'three.lab', other)).toBe(2);
});
