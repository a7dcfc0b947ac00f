import { afterEach, describe, expect, test } from 'vitest';
import { formatIdentity } from '../../../src/core/pki/identity.ts';
import { connect, type Tunnel } from '../../../src/product/client/index.ts';
import { type CompiledConfig, compile, configFrom } from '../../../src/product/config/index.ts';
import { type AccountRecord, createGateway, type Gateway, type GatewayOptions } from '../../../src/product/gateway/index.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const secrets = { key: { kind: 'psk', secret: 'a key that both ends know' } };
const config = (more: Record<string, unknown>): CompiledConfig =>
  compile(configFrom({ secrets, listen: LOOPBACK, esp_thread: 'no', ...more }));
const LOOPBACK = { addresses: ['127.0.0.1'], port: 0, nat_port: 0 };

async function gateway(hooks: Partial<GatewayOptions>): Promise<Gateway> {
  const clients = {
    local: [{ auth: 'psk', id: 'gateway.example' }],
    remote: [{ auth: 'psk' }],
    pools: ['lan'],
    unique: 'never',
    children: { net: { local_ts: '10.66.0.0/16', remote_ts: 'dynamic' } },
  };
  const pools = { lan: { addrs: '10.66.0.0/24' }, others: { addrs: '10.66.1.0/24' } };
  const made = await createGateway({ config: config({ connections: { clients }, pools }), ...hooks });
  closing.push(() => made.close(0));
  await made.listen();
  return made;
}

async function up({ sockets: [sockets] }: Gateway, id: string, signal?: AbortSignal): Promise<Tunnel> {
  const road = {
    remote_addrs: '127.0.0.1',
    remote_port: sockets!.ike!.port,
    remote_nat_port: sockets!.nat.port,
    vips: '0.0.0.0',
    local: [{ auth: 'psk', id }],
    remote: [{ auth: 'psk', id: 'gateway.example' }],
    children: { net: { remote_ts: '10.66.0.0/16' } },
  };
  const tunnel = await connect({ config: config({ connections: { road } }), signal });
  closing.push(() => tunnel.close(0));
  return tunnel;
}

const soon = (delay: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, delay));

const failures = (it: Gateway): string[] => {
  const told: string[] = [];
  it.onNotice(({ notice }) => {
    if ((notice.kind === 'failed' || notice.kind === 'ike-down') && notice.error !== undefined) told.push(notice.error.message);
  });
  return told;
};

describe('chooseAddress', () => {
  test('has all the time that a look into a directory takes, and the client gets what it says', async () => {
    const asked: unknown[] = [];
    const it = await gateway({
      chooseAddress: async ({ connection, remoteId, pools, families, wanted }) => {
        asked.push([connection, formatIdentity(remoteId), pools, families, wanted]);
        await soon(100);
        return formatIdentity(remoteId) === 'alice@example.com' ? '10.66.0.77' : undefined;
      },
    });
    expect((await up(it, 'alice@example.com')).addresses).toEqual(['10.66.0.77']);
    expect((await up(it, 'bob@example.com')).addresses).toEqual(['10.66.0.2']);
    expect(asked).toEqual([
      ['clients', 'alice@example.com', ['lan'], [4], []],
      ['clients', 'bob@example.com', ['lan'], [4], []],
    ]);
  });

  test.each([
    ['refuses', { refuse: 'her time is up' }, /gives no address: her time is up/],
    ['names one that somebody has', '10.66.0.2', /10\.66\.0\.2 that was chosen cannot be given from lan: bob@example\.com has it/],
    ['names the gateway’s own', '10.66.0.1', /10\.66\.0\.1 that was chosen cannot be given from lan: it is the gateway’s own/],
    ['names one of another pool', '10.66.1.5', /10\.66\.1\.5 that was chosen is in no pool of the connection/],
    ['names none', 'nonsense', /nonsense that was chosen is in no pool of the connection/],
    ['names none of the family', ['fd00::1'], /no address of the wanted kind/],
    ['fails', new Error('the directory is down'), /the directory is down/],
  ] as const)('where it %s the client is told that there is none, and we are told why', async (_what, choice, why) => {
    const it = await gateway({
      chooseAddress: ({ remoteId }) => {
        if (formatIdentity(remoteId) === 'bob@example.com') return undefined;
        if (choice instanceof Error) throw choice;
        return choice;
      },
    });
    const told = failures(it);
    await up(it, 'bob@example.com');
    await expect(up(it, 'alice@example.com')).rejects.toMatchObject({ code: 'PEER_INTERNAL_ADDRESS_FAILURE' });
    expect(told.join('\n')).toMatch(why);
  });

  test('lends nothing to a client that has gone before it answered', async () => {
    const answers: ((ip: string) => void)[] = [];
    const it = await gateway({ chooseAddress: () => new Promise((resolve) => answers.push(resolve)) });
    const gone = new AbortController();
    const beginning = up(it, 'alice@example.com', gone.signal).catch(() => undefined);
    while (answers.length === 0) await soon(5);
    await it.down({ all: true, force: true });
    answers[0]!('10.66.0.9');
    await soon(0);
    expect(it.engine.leases.list().filter(({ ikeSa }) => ikeSa !== undefined)).toEqual([]);
    gone.abort();
    await beginning;
  });
});

describe('account', () => {
  const books = (records: readonly AccountRecord[], kind: AccountRecord['kind']): AccountRecord[] =>
    records.filter((record) => record.kind === kind);

  test('hears of a client from its start to its end, whatever is rekeyed meanwhile', async () => {
    const records: AccountRecord[] = [];
    const it = await gateway({ account: (record) => records.push(record), accountEvery: 20 });
    it.listenTcp(80, (socket) =>
      socket
        .on('error', () => undefined)
        .resume()
        .on('end', () => socket.end()),
    );
    const tunnel = await up(it, 'alice@example.com');
    const say = async (octets: number): Promise<void> => {
      const socket = await tunnel.connect({ host: '10.66.0.1', port: 80, allowHalfOpen: true });
      socket.end(new Uint8Array(octets));
      for await (const _nothing of socket);
    };
    await say(100_000);
    await tunnel.rekey();
    await say(50_000);
    const enough = ({ children: [net] }: AccountRecord): boolean => (net?.octetsIn ?? 0) > 150_000;
    while (!books(records, 'interim').some(enough)) await soon(10);
    await tunnel.close();
    while (books(records, 'stop').length === 0) await soon(10);
    const [start, stop] = [books(records, 'start'), books(records, 'stop')];
    expect(start).toMatchObject([{ session: 1, connection: 'clients', addresses: ['10.66.0.2'], remote: { ip: '127.0.0.1' } }]);
    expect(formatIdentity(start[0]!.id!)).toBe('alice@example.com');
    expect(stop).toMatchObject([{ session: 1, addresses: ['10.66.0.2'], reason: expect.stringMatching(/./) }]);
    const octets = records.map(({ children: [net] }) => net?.octetsIn ?? 0);
    expect(octets).toEqual(octets.toSorted((a, b) => a - b));
    const [net] = stop[0]!.children;
    expect(stop[0]!.children).toHaveLength(1);
    expect(net).toMatchObject({ name: 'net' });
    expect(net!.octetsIn).toBeGreaterThan(150_000);
    expect(net!.octetsIn).toBeLessThan(200_000);
    expect(net!.packetsIn).toBeGreaterThan(100);
    // SYN-ACK and ACK of FIN at the least, twice
    expect(net!.packetsOut).toBeGreaterThanOrEqual(4);
    expect(net!.octetsOut).toBeGreaterThanOrEqual(160);
  });

  test('is waited for by nobody, and may fail; what is open ends with the gateway', async () => {
    const kinds: string[] = [];
    const it = await gateway({
      account: ({ kind, reason }) => {
        kinds.push(`${kind} ${reason ?? ''}`.trim());
        if (kind === 'start') throw new Error('the accountant is ill');
        return new Promise(() => undefined);
      },
    });
    const tunnel = await up(it, 'alice@example.com');
    expect(tunnel.addresses).toEqual(['10.66.0.2']);
    while (it.engine.counters.get('errors', 'ACCOUNT_FAILED') === 0) await soon(5);
    await it.close(0);
    await soon(0);
    expect(kinds).toEqual(['start', 'stop the gateway was closed']);
  });
});
