import { expect, test } from 'vitest';
import { shuntsOf, trapsOf } from '../../../src/host/engine/traps.ts';
import { compile, configFrom } from '../../../src/product/config/index.ts';

function traps(child: object, connection: object = {}): readonly string[] {
  const peer = { remote_addrs: '192.0.2.1', local: { auth: 'psk', id: 'a.example' }, remote: { auth: 'psk', id: 'b.example' } };
  const { connections } = compile(
    configFrom({
      connections: { net: { ...peer, ...connection, children: { net: child } } },
      secrets: { net: { kind: 'psk', secret: 'as many words as it takes to be long' } },
    }),
  );
  return trapsOf(connections).map(({ action = 'ask', localTs, remoteTs }) => `${action} ${localTs.length} ${remoteTs.length}`);
}

test('a packet asks for a child that is trapped, and one that is called at the start holds packets back', () => {
  const nets = { local_ts: '10.1.0.0/24', remote_ts: '10.2.0.0/24' };
  expect(traps({ ...nets, start_action: 'trap' })).toEqual(['ask 1 1']);
  expect(traps({ ...nets, start_action: 'start' })).toEqual(['drop 1 1']);
  expect(traps(nets)).toEqual([]);
});

test('nothing is held back from an address that is yet to be lent, nor everything from the machine itself', () => {
  const start = { start_action: 'start' };
  expect(traps({ ...start, remote_ts: '10.2.0.0/24' })).toEqual(['drop 2 1']);
  expect(traps({ ...start, remote_ts: '10.2.0.0/24' }, { vips: '0.0.0.0' })).toEqual([]);
  expect(traps({ ...start, remote_ts: '0.0.0.0/0' })).toEqual([]);
  expect(traps({ ...start, local_ts: '10.1.0.0/24', remote_ts: '0.0.0.0/0' })).toEqual(['drop 1 1']);
  expect(traps(start)).toEqual([]);
});

test('a shunt is told with its traffic alone, and from every address where it names none of ours', () => {
  const { connections } = compile(
    configFrom({
      connections: {
        net: {
          local: { auth: 'psk', id: 'a.example' },
          remote: { auth: 'psk', id: 'b.example' },
          children: {
            net: { remote_ts: '0.0.0.0/0' },
            lan: { mode: 'pass', remote_ts: '192.168.0.0/16' },
            mail: { mode: 'drop', local_ts: '10.1.0.0/24', remote_ts: '0.0.0.0/0[tcp/25]' },
          },
        },
      },
      secrets: { net: { kind: 'psk', secret: 'as many words as it takes to be long' } },
    }),
  );
  expect(connections[0]!.children.map(({ name }) => name)).toEqual(['net']);
  expect(shuntsOf(connections).map(({ action, child, localTs, remoteTs }) => [action, child, localTs.length, remoteTs.length])).toEqual([
    ['bypass', 'lan', 2, 1],
    ['discard', 'mail', 1, 1],
  ]);
});
