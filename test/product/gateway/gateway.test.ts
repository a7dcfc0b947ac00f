import { afterEach, describe, expect, test } from 'vitest';
import { CredentialStore } from '../../../src/host/engine/credentials/credentials.ts';
import { systemUdp } from '../../../src/host/platform/udp.ts';
import { type CompiledConfig, compile, configFrom } from '../../../src/product/config/index.ts';
import { createGateway, type Gateway, type GatewayOptions } from '../../../src/product/gateway/index.ts';

const open: Gateway[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((gateway) => gateway.close(0)));
});

function config(more: Record<string, unknown> = {}): CompiledConfig {
  return compile(
    configFrom({
      listen: { addresses: ['127.0.0.1'], port: 0, nat_port: 0 },
      connections: {
        clients: {
          local: [{ auth: 'psk', id: 'gateway.example' }],
          remote: [{ auth: 'psk' }],
          pools: ['lan'],
          children: { net: { local_ts: '10.66.0.0/24', remote_ts: 'dynamic' } },
        },
      },
      pools: { lan: { addrs: '10.66.0.0/24' } },
      secrets: { key: { kind: 'psk', secret: 'a key that both ends know' } },
      ...more,
    }),
  );
}

async function gateway(options: Partial<GatewayOptions> = {}): Promise<Gateway> {
  const made = await createGateway({ config: config(), ...options });
  open.push(made);
  return made;
}

describe('a gateway', () => {
  test('says who and where it is', async () => {
    const it = await gateway();
    expect([it.name, it.role, it.facts().plane, it.facts().listen]).toEqual(['gateway', 'gateway', 'netstack', []]);
    await it.listen();
    const [sockets] = it.sockets;
    const [ike, nat, tcp] = [sockets!.ike!.port, sockets!.nat.port, sockets!.tcp!.port];
    expect(it.facts().listen).toEqual([`127.0.0.1:${ike}`, `127.0.0.1:${nat}`, `127.0.0.1:${tcp}/tcp`]);
    expect(it.connections().map(({ name }) => name)).toEqual(['clients']);
    expect(it.ikeSas()).toEqual([]);
    const before = Date.now();
    const { wall } = it.now();
    expect(wall).toBeGreaterThan(before - 1000);
    expect(wall).toBeLessThan(Date.now() + 1000);
  });

  test('has the name of the configuration, or the one it is given', async () => {
    expect((await gateway({ config: config({ name: 'edge' }) })).name).toBe('edge');
    expect((await gateway({ config: config({ name: 'edge' }), name: 'other' })).name).toBe('other');
  });

  test('a taken port is an error, unless any other will do', async () => {
    const squatter = await systemUdp.bind({ ip: '127.0.0.1', port: 0, onDatagram: () => undefined });
    try {
      const listen = { addresses: ['127.0.0.1'], port: 0, nat_port: squatter.local.port };
      const strict = await gateway({ config: config({ listen }) });
      await expect(strict.listen()).rejects.toMatchObject({ code: 'ADDRESS_IN_USE' });
      expect(strict.facts().listen).toEqual([]);
      const easy = await gateway({ config: config({ listen: { ...listen, fallback: 'yes' } }) });
      await easy.listen();
      expect(easy.sockets[0]!.nat.port).not.toBe(squatter.local.port);
    } finally {
      await squatter.close();
    }
  });

  test('passes on what the configuration and the credentials make one doubt', async () => {
    const it = await gateway({ config: config({ secrets: { key: { kind: 'psk', secret: 'short' } } }) });
    expect(it.warnings.map(({ message }) => message).join('\n')).toContain('the pre-shared key has 5 octets');
  });

  test('reads no credentials when it is given some', async () => {
    const missing = { key: { kind: 'psk', secret_file: '/nonexistent/secret' } };
    await expect(createGateway({ config: config({ secrets: missing }) })).rejects.toMatchObject({ name: 'ConfigError' });
    const it = await gateway({ config: config({ secrets: missing }), credentials: new CredentialStore() });
    expect(it.warnings.filter(({ message }) => message.includes('secret'))).toEqual([]);
  });

  test('leaves a peer out whose name nobody knows: it may still call', async () => {
    const connections = {
      branch: {
        remote_addrs: 'branch.example',
        local: [{ auth: 'psk', id: 'a.example' }],
        remote: [{ auth: 'psk', id: 'b.example' }],
        children: { net: {} },
      },
    };
    const it = await gateway({ config: config({ connections, pools: undefined }), lookup: () => Promise.reject(new Error('ENOTFOUND')) });
    expect(it.connections()).toMatchObject([{ name: 'branch', remoteAddresses: [] }]);
    await expect(it.up({ connection: 'branch' })).rejects.toMatchObject({ code: 'NO_PEER_ADDRESS' });
  });

  test('has ports inside, each once', async () => {
    const it = await gateway();
    const server = it.listenTcp(80);
    expect(server.address().port).toBe(80);
    expect(() => it.listenTcp(80)).toThrow(expect.objectContaining({ code: 'EADDRINUSE' }));
    server.close();
  });

  test('the data plane in memory has no sockets, and says what to do', async () => {
    const { default: memory } = await import('../../../src/host/dataplane/backends/memory.ts');
    const { Inside } = await import('../../../src/host/engine/inside.ts');
    const plane = memory.open({} as never);
    expect(() => new Inside(plane as never, () => Promise.resolve(''))).toThrow(
      expect.objectContaining({ code: 'NO_SOCKETS', hint: expect.any(String) }),
    );
  });
});
