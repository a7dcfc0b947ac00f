import { describe, expect, test } from 'vitest';
import { fromUtf8 } from '../../../src/core/bytes/index.ts';
import { generateKey, keyFingerprint } from '../../../src/core/pki/index.ts';
import netstack from '../../../src/host/dataplane/backends/netstack.ts';
import type { NetstackPlane } from '../../../src/host/dataplane/netstack-hosts.ts';
import { CredentialStore } from '../../../src/host/engine/credentials/credentials.ts';
import { clientConfig, gatewayConfig, instancePair } from '../support/instances.ts';

/** A client of a gateway that resolves corp.example; names are asked of both resolvers, and what each was asked is told. */
async function world(connection: Record<string, unknown> = {}, remoteTs = '10.0.0.0/8') {
  const outside: string[] = [];
  const pair = await instancePair<NetstackPlane>({
    backend: netstack,
    gatewayPlane: { addresses: ['10.66.0.1/24'], forward: true },
    gateway: gatewayConfig(
      { child: { local_ts: remoteTs } },
      { pools: { lan: { addrs: '10.66.0.0/24', dns: '10.66.0.1', domains: 'corp.example' } } },
    ),
    client: clientConfig({ connection, child: { remote_ts: remoteTs } }),
    clientMore: {
      lookup: async (name) => {
        outside.push(name);
        return ['10.66.0.1'];
      },
    },
  });
  await pair.finish(pair.client.instance.up({ connection: 'road' }));
  const inside: string[] = [];
  const { driver } = pair.gateway.instance.inside;
  const server = driver.bindUdp({ ip: '10.66.0.1', port: 53 });
  server.onReady = () => {
    for (let query = server.receive(); query !== undefined; query = server.receive()) {
      inside.push(nameIn(query.data));
      server.send(answerTo(query.data, [10, 66, 0, 1]), query.remote);
      driver.wake();
    }
  };
  const ping = (name: string) => pair.finish(pair.client.instance.inside.ping(name));
  return { pair, inside, outside, ping };
}

describe('names, through the in-process resolver (RFC 8598 §5)', () => {
  test('those of the domain go inside and nowhere else, others outside and not inside', async () => {
    const { pair, inside, outside, ping } = await world();
    expect(pair.client.instance.ikeSas()[0]!.splitDns).toMatchObject({ domains: [{ name: 'corp.example' }], ignored: [] });
    expect((await ping('Host.Corp.Example')).from).toBe('10.66.0.1');
    expect((await ping('www.notcorp.example')).from).toBe('10.66.0.1');
    expect([inside, outside]).toEqual([['host.corp.example'], ['www.notcorp.example']]);
    // a rekeying forgets nothing
    await pair.finish(pair.client.instance.rekey({ ikeSa: pair.client.instance.ikeSas()[0]!.id }));
    await ping('again.corp.example');
    expect(inside.at(-1)).toBe('again.corp.example');
  });

  test('when the tunnel ends, nothing of it is left', async () => {
    const { pair, ping } = await world();
    await pair.finish(pair.client.instance.down({ connection: 'road' }));
    await expect(ping('host.corp.example')).rejects.toMatchObject({ code: 'NO_DNS' });
  });

  test('where everything goes through the tunnel, all names do', async () => {
    const { inside, outside, ping } = await world({}, '0.0.0.0/0');
    await ping('host.corp.example');
    await ping('www.example.org');
    expect([inside, outside]).toEqual([['host.corp.example', 'www.example.org'], []]);
  });
});

describe('the same two ends', () => {
  test('with raw public keys, from configuration to status', async () => {
    const [ours, theirs] = [generateKey('ed25519'), generateKey('ed25519')];
    const pin = (key: typeof ours) => ({ auth: 'pubkey', pubkeys: keyFingerprint(key.spki) });
    const store = (own: typeof ours, peer: typeof ours, handle: string) => {
      const credentials = new CredentialStore();
      credentials.addRawKey(own.pem, { handle });
      credentials.addPeerKey(keyFingerprint(peer.spki), { handle: `pubkey ${keyFingerprint(peer.spki)}` });
      return credentials;
    };
    // the files are not read: the stores hold what would be in them
    const unread = { auth: 'pubkey', key: '/nowhere/own.key' };
    const config = (peer: typeof ours) => ({ connection: { local: [unread], remote: [pin(peer)] } });
    const pair = await instancePair<NetstackPlane>({
      backend: netstack,
      gatewayPlane: { addresses: ['10.66.0.1/24'], forward: true },
      gateway: { ...gatewayConfig(config(ours)), credentials: NOTHING },
      client: { ...clientConfig(config(theirs)), credentials: NOTHING },
      more: { credentials: store(theirs, ours, 'clients.local[0]') },
      clientMore: { credentials: store(ours, theirs, 'road.local[0]') },
    });
    await pair.finish(pair.client.instance.up({ connection: 'road' }));
    expect(fromUtf8(pair.gateway.instance.ikeSas()[0]!.remoteId!.data)).toBe(keyFingerprint(ours.spki));
    // the lease is that of the key, whatever its holder calls itself
    expect(pair.gateway.instance.engine.leases.list()).toMatchObject([{ ip: '10.66.0.2', identity: { idType: 11 } }]);
    expect((await pair.finish(pair.client.instance.inside.ping('10.66.0.1'))).from).toBe('10.66.0.1');
  });

  test('with a client that stays anonymous', async () => {
    const pair = await instancePair<NetstackPlane>({
      backend: netstack,
      gatewayPlane: { addresses: ['10.66.0.1/24'], forward: true },
      gateway: gatewayConfig({ connection: { remote: [{ auth: 'null' }] } }),
      client: clientConfig({ connection: { local: [{ auth: 'null' }] } }),
    });
    await pair.finish(pair.client.instance.up({ connection: 'road' }));
    expect(pair.gateway.instance.ikeSas()[0]).toMatchObject({ remoteAuth: 'NULL_AUTHENTICATION', remoteId: { idType: 13 } });
    expect((await pair.finish(pair.client.instance.inside.ping('10.66.0.1'))).from).toBe('10.66.0.1');
    await pair.finish(pair.client.instance.down({ connection: 'road' }));
    expect(pair.gateway.instance.engine.leases.list()).toEqual([]);
  });
});

const NOTHING = { certificates: [], authorities: [], peers: [], peerKeys: [], psks: [], ppks: [], passphrases: [] };

/** RFC 1035 §4.1.2. */
function nameIn(query: Uint8Array): string {
  const labels: string[] = [];
  for (let at = 12; query[at] !== 0; at += query[at]! + 1) labels.push(fromUtf8(query.subarray(at + 1, at + 1 + query[at]!)));
  return labels.join('.').toLowerCase();
}

function answerTo(query: Uint8Array, address: readonly number[]): Uint8Array {
  const head = Uint8Array.of(query[0]!, query[1]!, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0);
  return Uint8Array.of(...head, ...query.subarray(12), 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...address);
}
