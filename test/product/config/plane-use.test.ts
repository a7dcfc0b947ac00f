import { expect, test } from 'vitest';
import { compile, configFrom, planeUse } from '../../../src/product/config/index.ts';

const PEER = { remote_addrs: '192.0.2.1', local: { auth: 'psk', id: 'a' }, remote: { auth: 'psk', id: 'b' } };
const SECRETS = { key: { kind: 'psk', secret: 'correct horse battery staple' } };

test.each([
  ['a road warrior', { children: { net: { remote_ts: '0.0.0.0/0' } }, vips: '0.0.0.0' }, {}, 'own'],
  ['networks of two sites', { children: { net: { local_ts: '10.1.0.0/16', remote_ts: '10.2.0.0/16' } } }, {}, 'machine'],
  ['a child that waits for the first packet', { children: { net: { remote_ts: '10.2.0.0/16', start_action: 'trap' } } }, {}, 'machine'],
  ['one child of several', { children: { a: {}, net: { local_ts: '10.1.0.0/16' } } }, {}, 'machine'],
  [
    'a gateway that lends addresses',
    { children: { net: { local_ts: '10.0.0.0/8' } }, pools: ['clients'] },
    { pools: { clients: { addrs: '10.66.0.0/24' } } },
    'own',
  ],
  ['an address of our own inside', { children: { net: { local_ts: '10.1.0.0/16' } } }, { addresses: '10.1.0.1/16' }, 'own'],
  ['files to share', { children: { net: { local_ts: '10.1.0.0/16' } } }, { transfer: { share: '/srv' } }, 'own'],
])('%s', (_name, connection, more, use) => {
  const config = compile(configFrom({ connections: { peer: { ...PEER, ...connection } }, secrets: SECRETS, ...more }));
  expect(planeUse(config)).toBe(use);
});
