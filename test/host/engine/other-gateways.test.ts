import { describe, expect, test } from 'vitest';
import type { MemoryPlane } from '../../../src/host/dataplane/backends/memory.ts';
import { clientConfig, GATEWAY, gatewayConfig, instancePair } from '../support/instances.ts';

const SECOND = '203.0.113.8';
const SECRET = new Uint8Array(32).fill(3);
const lookup = async (name: string) => (name === 'second.example' ? [SECOND] : []);

describe('redirect (RFC 5685)', () => {
  test.each([
    [SECOND, 'init'],
    [SECOND, 'auth'],
    ['second.example', 'init'],
  ] as const)('up follows to %s, sent there in %s, and resolves with the IKE SA that stands', async (to, exchange) => {
    const redirect = { to: [to], when: { kind: 'always' }, exchange, grace: 30_000 } as const;
    const pair = await instancePair<MemoryPlane>({ more: { redirect }, clientMore: { lookup } });
    const second = await pair.addGateway(SECOND);
    const { ikeSa } = await pair.finish(pair.client.instance.up({ connection: 'road' }));
    expect(ikeSa).toMatchObject({ state: 'established', remote: { ip: SECOND } });
    await pair.pass(1000);
    expect([pair.gateway, pair.client, second].map(({ instance }) => instance.ikeSas().length)).toEqual([0, 1, 1]);
    expect(pair.client.instance.engine.plane.children).toHaveLength(1);
  });

  test('a name that nobody knows fails up with what is wrong', async () => {
    const redirect = { to: ['nowhere.example'], when: { kind: 'always' }, exchange: 'init', grace: 30_000 } as const;
    const pair = await instancePair<MemoryPlane>({ more: { redirect }, clientMore: { lookup } });
    await expect(pair.finish(pair.client.instance.up({ connection: 'road' }))).rejects.toMatchObject({ code: 'GATEWAY_NOT_FOUND' });
    expect(pair.client.instance.ikeSas()).toEqual([]);
  });

  test('the hook that lets peers in may send them elsewhere, by who they are', async () => {
    const pair = await instancePair<MemoryPlane>({ more: { authorise: () => ({ redirect: SECOND }) } });
    await pair.addGateway(SECOND);
    const { ikeSa } = await pair.finish(pair.client.instance.up({ connection: 'road' }));
    expect(ikeSa.remote.ip).toBe(SECOND);
  });

  test('of an operator: everybody who follows is told, and the others stay', async () => {
    const pair = await instancePair<MemoryPlane>();
    const second = await pair.addGateway(SECOND);
    const stays = await pair.addClient(
      '198.51.100.3',
      clientConfig({ connection: { redirect: 'refuse', local: [{ auth: 'psk', id: 'bob' }] } }),
    );
    await pair.finish(pair.client.instance.up({ connection: 'road' }));
    await pair.finish(stays.instance.up({ connection: 'road' }));
    const { instance } = pair.gateway;
    expect(await pair.finish(instance.redirect({ all: true, to: SECOND }))).toEqual({ ikeSas: 1, children: 0 });
    await pair.pass(2000);
    expect([pair.gateway, second].map((one) => one.instance.ikeSas().length)).toEqual([1, 1]);
    const [left] = instance.ikeSas();
    await expect(instance.redirect({ ikeSa: left!.id, to: SECOND })).rejects.toMatchObject({ code: 'REDIRECT_NOT_SUPPORTED' });
    await expect(instance.redirect({ ikeSa: 99, to: SECOND })).rejects.toMatchObject({ code: 'NO_SUCH_SA' });
    expect(await instance.redirect({ connection: 'clients', to: SECOND })).toEqual({ ikeSas: 0, children: 0 });
  });
});

describe('a gateway that restarts', () => {
  const back = { child: { dpd_action: 'start' } };

  test('with the secret of before: crash token and ticket bring the client back within a second (RFC 6290, RFC 5723)', async () => {
    const resumption = { resumption: true };
    const pair = await instancePair<MemoryPlane>({
      more: { secret: SECRET },
      gateway: gatewayConfig({ connection: resumption }),
      client: clientConfig({ ...back, connection: resumption }),
    });
    const { ikeSa } = await pair.finish(pair.client.instance.up({ connection: 'road' }));
    expect(ikeSa).toMatchObject({ resumable: true, crashTokens: { made: false, held: true } });
    const again = await pair.restartGateway();
    pair.client.instance.engine.command({ kind: 'check-liveness', ikeSa: ikeSa.id });
    await pair.pass(1000);
    expect(pair.client.instance.ikeSas()).toMatchObject([{ state: 'established', resumed: true, assigned: ['10.66.0.2'] }]);
    expect(again.instance.ikeSas()).toHaveLength(1);
  });

  test('with other credentials than before: the crash is noticed, the ticket is void', async () => {
    const resumption = { resumption: true };
    const more = { secret: SECRET, credentialsDigest: new Uint8Array(32).fill(1) };
    const pair = await instancePair<MemoryPlane>({
      more,
      gateway: gatewayConfig({ connection: resumption }),
      client: clientConfig({ ...back, connection: resumption }),
    });
    const { ikeSa } = await pair.finish(pair.client.instance.up({ connection: 'road' }));
    more.credentialsDigest.fill(2);
    await pair.restartGateway();
    pair.client.instance.engine.command({ kind: 'check-liveness', ikeSa: ikeSa.id });
    await pair.pass(1000);
    expect(pair.client.instance.ikeSas()).toMatchObject([{ state: 'established', resumed: false, remote: { ip: GATEWAY } }]);
    expect(pair.client.notices.some(({ kind }) => kind === 'not-resumed')).toBe(true);
  });
});
