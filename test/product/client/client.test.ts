import { describe, expect, test } from 'vitest';
import { TimedOut } from '../../../src/core/bytes/index.ts';
import { connect, createClient } from '../../../src/product/client/index.ts';
import { type CompiledConfig, compile, configFrom } from '../../../src/product/config/index.ts';

const road = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
  remote_addrs: '127.0.0.1',
  remote_port: 9,
  remote_nat_port: 19,
  local: [{ auth: 'psk', id: 'alice@example.com' }],
  remote: [{ auth: 'psk', id: 'gateway.example' }],
  children: { net: { remote_ts: '10.66.0.0/24' } },
  retransmission: { initial: '50ms', base: 1.5, give_up: '300ms' },
  ...more,
});

const config = (connections: Record<string, unknown>, more: Record<string, unknown> = {}): CompiledConfig =>
  compile(
    configFrom({
      listen: { port: 0, nat_port: 0 },
      connections,
      secrets: { key: { kind: 'psk', secret: 'a key that both ends know' } },
      ...more,
    }),
  );

const udpHandles = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'UDPWRAP').length;

describe('connect', () => {
  test('asks which connection, when there are several or none', async () => {
    await expect(connect({ config: config({ road: road(), office: road() }) })).rejects.toMatchObject({
      code: 'WHICH_CONNECTION',
      hint: expect.stringContaining('road, office'),
    });
    await expect(connect({ config: config({}) })).rejects.toMatchObject({ code: 'WHICH_CONNECTION' });
  });

  test('needs an address only for the connection that is wanted', async () => {
    const connections = { road: road(), office: road({ remote_addrs: 'office.example' }) };
    const lookup = (): Promise<never> => Promise.reject(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }));
    await expect(connect({ config: config(connections), connection: 'office', lookup })).rejects.toMatchObject({ code: 'NAME_NOT_FOUND' });
    await expect(connect({ config: config(connections), connection: 'road', lookup })).rejects.toThrow(TimedOut);
  });

  test('nobody there: it fails in its time and leaves nothing behind', async () => {
    const before = udpHandles();
    const began = performance.now();
    await expect(connect({ config: config({ road: road() }) })).rejects.toMatchObject({ name: 'TimedOut', hint: expect.any(String) });
    // its time is 300 ms; unless it is told, it would ask for minutes
    expect(performance.now() - began).toBeLessThan(20_000);
    expect(udpHandles()).toBe(before);
  });

  test('may be called off', async () => {
    const before = udpHandles();
    const signal = AbortSignal.timeout(50);
    await expect(connect({ config: config({ road: road({ retransmission: { give_up: '60s' } }) }), signal })).rejects.toMatchObject({
      name: 'TimeoutError',
    });
    await expect(connect({ config: config({ road: road() }), signal })).rejects.toMatchObject({ name: 'TimeoutError' });
    expect(udpHandles()).toBe(before);
  });

  test('resolves names itself where it is told how', async () => {
    const asked: string[] = [];
    const lookup = (name: string): Promise<readonly string[]> => {
      asked.push(name);
      return Promise.resolve(['127.0.0.1']);
    };
    await expect(connect({ config: config({ road: road({ remote_addrs: 'vpn.example' }) }), lookup })).rejects.toThrow(TimedOut);
    expect(asked).toEqual(['vpn.example']);
  });
});

test('a client opens no socket before it dials', async () => {
  const client = await createClient({ config: config({ road: road() }) });
  expect([client.role, client.name, client.facts().listen]).toEqual(['client', 'client', []]);
  await client.close();
});
