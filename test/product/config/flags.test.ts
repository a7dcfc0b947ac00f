import { describe, expect, test } from 'vitest';
import { formatIdentity } from '../../../src/core/pki/identity.ts';
import { formatIdentityPattern } from '../../../src/core/pki/identity-pattern.ts';
import { formatSelector } from '../../../src/core/wire/text/selector.ts';
import {
  type ConnectionFlags,
  clientFromFlags,
  compile,
  formatProposalWords,
  gatewayFromFlags,
  loadConfig,
  parseTarget,
  withFlags,
} from '../../../src/product/config/index.ts';

const HERE = { directory: '/home/alice', defaultId: 'laptop' };

describe('targets', () => {
  test.each([
    ['ike://alice@vpn.example.com', { host: 'vpn.example.com', port: undefined, id: 'alice' }],
    ['ike://vpn.example.com:5500/', { host: 'vpn.example.com', port: '5500', id: undefined }],
    ['vpn.example.com', { host: 'vpn.example.com', port: undefined, id: undefined }],
    ['192.0.2.1:500', { host: '192.0.2.1', port: '500', id: undefined }],
    ['2001:db8::1', { host: '2001:db8::1', port: undefined, id: undefined }],
    ['ike://a%40b.example@[2001:db8::1]:4500', { host: '2001:db8::1', port: '4500', id: 'a@b.example' }],
  ])('%s', (text, expected) => {
    expect(parseTarget(text)).toEqual(expected);
  });

  test.each(['', 'http://x', 'ike://', 'a/b', 'ike://x:notaport'])('%j is none', (text) => {
    expect(() => parseTarget(text)).toThrow(/is not a target/);
  });
});

describe('a client from flags alone', () => {
  test('with a pre-shared key', () => {
    const config = compile(
      clientFromFlags('vpn', parseTarget('ike://alice@vpn.example.com'), { pskFile: 'vpn.psk', only: '10.0.0.0/8' }, HERE),
    );
    const [vpn] = config.connections;
    expect(vpn).toMatchObject({
      name: 'vpn',
      remoteAddresses: ['vpn.example.com'],
      virtualIps: ['0.0.0.0', '::'],
      retransmission: { giveUp: 60_000 },
      local: [{ auth: 'psk' }],
      remote: [{ auth: 'psk', id: { kind: 'any' } }],
    });
    expect(formatIdentity(vpn!.local[0]!.id!)).toBe('alice');
    expect(vpn!.children[0]!.remoteTs.map((ts) => (typeof ts === 'object' && !('dynamic' in ts) ? formatSelector(ts) : ts))).toEqual([
      '10.0.0.0/8',
    ]);
    expect(config.credentials.psks).toMatchObject([{ owners: [], secret: { kind: 'file', path: '/home/alice/vpn.psk' } }]);
  });

  test('with certificates the gateway must be whom one asked for', () => {
    const config = compile(
      clientFromFlags(
        'vpn',
        parseTarget('vpn.example.com:5500'),
        { cert: 'a.crt', key: 'a.key', ca: ['ca.crt'], ike: 'aes256gcm16-prfsha384-x25519', esp: 'aes256gcm16' },
        HERE,
      ),
    );
    const [vpn] = config.connections;
    expect(vpn!.remotePort).toBe(5500);
    expect(formatIdentityPattern(vpn!.remote[0]!.id)).toBe('vpn.example.com');
    expect(vpn!.proposals.map(formatProposalWords)).toEqual(['aes256gcm16-prfsha384-x25519']);
    expect(vpn!.children[0]!.proposals.map(formatProposalWords)).toEqual(['aes256gcm16-esn-noesn']);
  });

  test('or whom one names', () => {
    const config = compile(
      clientFromFlags('vpn', parseTarget('192.0.2.1'), { cert: 'a.crt', ca: ['ca.crt'], remoteId: 'gw1.corp.internal' }, HERE),
    );
    expect(formatIdentityPattern(config.connections[0]!.remote[0]!.id)).toBe('gw1.corp.internal');
  });

  test('without a word about it the machine says its name, but a certificate speaks for itself', () => {
    const id = (flags: ConnectionFlags) =>
      compile(clientFromFlags('vpn', parseTarget('192.0.2.1'), flags, HERE)).connections[0]!.local[0]!.id;
    expect(formatIdentity(id({ pskFile: 'p' })!)).toBe('laptop');
    expect(formatIdentity(id({ pskFile: 'p', id: 'me@example.com' })!)).toBe('me@example.com');
    expect(id({ cert: 'a.crt', ca: ['ca.crt'] })).toBeUndefined();
  });

  test('a certificate here and a secret there', () => {
    const config = compile(clientFromFlags('vpn', parseTarget('192.0.2.1'), { cert: 'a.crt', pskFile: 'p' }, HERE));
    expect(config.connections[0]).toMatchObject({ local: [{ auth: 'pubkey' }], remote: [{ auth: 'psk' }] });
  });

  test.each([
    [{}, 'how to authenticate is not said'],
    [{ cert: 'a.crt' }, 'with --cert the other end has a certificate too, and no authority is trusted for it'],
    [{ pskFile: 'p', key: 'k' }, '--key needs --cert'],
    [{ pskFile: 'p', ike: 'aes256-x25519' }, '--ike: "aes256-x25519" lacks an integrity algorithm, which aes256 needs'],
    [{ pskFile: 'p', esp: 'sha256' }, '--esp: "sha256" lacks a cipher'],
    [{ pskFile: 'p', only: '10.0.0.0/40' }, '--only: the prefix length of "10.0.0.0/40" is not a number from 0 to 32'],
    [{ pskFile: 'p', id: 'a b' }, '--id: "a b" is not an identity: it has blanks inside'],
    [{ pskFile: 'p', mtu: 'big' }, '--mtu: expected a whole number from 576 to 65535, not "big"'],
    [{ pskFile: 'p', plane: 'tube' }, '--plane: expected one of "auto" | "xfrm" | "tun" | "netns" | "netstack"'],
  ])('%j: %s', (flags, message) => {
    expect(() => compile(clientFromFlags('vpn', parseTarget('vpn.example.com'), flags, HERE))).toThrow(message);
  });
});

describe('a gateway from flags alone', () => {
  const POOLS = ['10.66.0.0/24'];

  test('lets in whoever knows the secret', () => {
    const config = compile(
      gatewayFromFlags(
        {
          pskFile: 'home.psk',
          id: 'home.example.com',
          share: 'files',
          inbox: '/srv/in',
          port: '0',
          natPort: '0',
          limit: '1M',
          keepFree: '0',
        },
        { ...HERE, defaultPools: POOLS },
      ),
    );
    expect(config).toMatchObject({
      connections: [{ name: 'clients', pools: ['clients'], remote: [{ auth: 'psk', id: { kind: 'any' } }] }],
      pools: [{ name: 'clients', ranges: ['10.66.0.0/24'], reserved: ['10.66.0.1'] }],
      addresses: ['10.66.0.1/24'],
      listen: { ports: { ike: 0, nat: 0 } },
      transfer: { share: '/home/alice/files', inbox: '/srv/in', limit: 1024 ** 2, keepFree: 0 },
    });
  });

  test('a client reaches the networks behind it, and what it serves itself', () => {
    const [connection] = compile(gatewayFromFlags({ pskFile: 'p', net: '10.1.0.0/16' }, { ...HERE, defaultPools: POOLS })).connections;
    expect(connection?.children[0]?.localTs).toEqual([
      expect.objectContaining({ start: Uint8Array.of(10, 1, 0, 0) }),
      expect.objectContaining({ start: Uint8Array.of(10, 66, 0, 1), end: Uint8Array.of(10, 66, 0, 1) }),
    ]);
  });

  test.each([
    [{ pskFile: 'p', pool: ['10.0.0.0/99'] }, '--pool: the prefix length of "10.0.0.0/99" is not a number from 0 to 32'],
    [{ pskFile: 'p', port: '99999' }, '--port: expected a whole number from 0 to 65535, not "99999"'],
    [{ pskFile: 'p', net: 'everywhere' }, '--net: "everywhere" is not an address, a prefix or a range'],
    [{ pskFile: 'p', name: 'a b' }, '--name: a name has 1 to 64 letters'],
  ])('%j: %s', (flags, message) => {
    expect(() => compile(gatewayFromFlags(flags, { ...HERE, defaultPools: POOLS }))).toThrow(message);
  });
});

describe('flags over a configuration', () => {
  const text =
    'secrets: {s: {kind: psk, secret_file: s.psk}}\nconnections:\n  corp:\n    remote_addrs: 192.0.2.1\n    local: {auth: psk, id: old}\n    remote: {auth: psk}\n    children: {a: {remote_ts: 10.0.0.0/8}, b: }\n';
  const loaded = loadConfig(text, { file: '/etc/t.yaml' });

  test('take the place of what it says, the rest stays', () => {
    const { connections } = compile(withFlags(loaded, 'corp', { id: 'new', esp: 'aes128gcm16', only: '10.9.0.0/16' }));
    expect(formatIdentity(connections[0]!.local[0]!.id!)).toBe('new');
    expect(connections[0]!.remoteAddresses).toEqual(['192.0.2.1']);
    for (const child of connections[0]!.children) {
      expect(child.proposals.map(formatProposalWords)).toEqual(['aes128gcm16-esn-noesn']);
      expect(child.remoteTs).toHaveLength(1);
    }
    expect(loaded.settings.connections!.corp!.local[0]!.id).not.toEqual(connections[0]!.local[0]!.id);
  });

  test('mistakes are blamed on the flag, or on the file', () => {
    expect(() => compile(withFlags(loaded, 'corp', { ike: 'x' }))).toThrow(/^--ike: "x"/);
    const broken = loadConfig(text.replace('children: {a: {', 'children: {a: {pfs: require, esp_proposals: aes256gcm16, '), {
      file: '/etc/t.yaml',
    });
    expect(() => compile(withFlags(broken, 'corp', { id: 'new' }))).toThrow(/^\/etc\/t.yaml:7:25 connections.corp.children.a.pfs: /);
  });
});
