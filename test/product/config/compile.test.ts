import { readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../../src/core/bytes/bytes.ts';
import { formatIdentity } from '../../../src/core/pki/identity.ts';
import { formatIdentityPattern } from '../../../src/core/pki/identity-pattern.ts';
import { compile, formatProposalWords, loadConfig, resolveNames } from '../../../src/product/config/index.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const MINIMAL =
  'secrets: {s: {kind: psk, secret_file: s.psk}}\nconnections: {c: {local: {auth: psk, id: us}, remote: {auth: psk}, children: {net: {}}}}\n';
const compiled = (text: string) => compile(loadConfig(text, { file: '/etc/tunnelwright/tunnelwright.yaml' }));
const connection = (lines: string, child = '') =>
  compiled(
    `secrets: {s: {kind: psk, secret_file: s.psk}}\nconnections:\n  c:\n    local: {auth: psk, id: us}\n    remote: {auth: psk}\n${lines}\n    children: {net: {${child}}}\n`,
  ).connections[0]!;

describe('defaults', () => {
  const { connections, ...rest } = compiled(MINIMAL);
  const { children, proposals, ...ike } = connections[0]!;
  const { proposals: esp, ...child } = children[0]!;

  test('of the instance', () => {
    expect(rest).toMatchObject({
      name: undefined,
      limits: { cookieThreshold: 32, halfOpenPerAddress: 5, halfOpenLife: 10_000 },
      listen: { addresses: ['%any'], ports: { ike: 500, nat: 4500, tcp: 4500, tcpNeeded: false }, fallback: undefined },
      plane: 'auto',
      mtu: undefined,
      congestion: undefined,
      addresses: [],
      pools: [],
      transfer: { share: undefined, inbox: undefined },
      control: { socket: undefined },
      warnings: [],
    });
  });

  test('of a connection', () => {
    expect(ike).toEqual({
      name: 'c',
      localAddresses: ['%any'],
      remoteAddresses: ['%any'],
      remotePort: 500,
      remoteNatPort: 4500,
      local: [{ auth: 'psk', id: { idType: 2, data: utf8('us') } }],
      remote: [{ auth: 'psk', id: { kind: 'any' } }],
      pools: [],
      virtualIps: [],
      splitDns: { accept: 'any', trustAnchors: [] },
      encryptedDns: false,
      fragmentation: 'yes',
      fragmentSize: 1280,
      windowSize: 1,
      encap: false,
      sendCert: 'always',
      sendCertreq: true,
      lifetimes: { rekey: 4 * HOUR, jitter: 24 * MINUTE, hard: 264 * MINUTE, reauth: 0 },
      liveness: { delay: 30_000 },
      retransmission: { initial: 1000, base: 1.8, giveUp: 165_000, responderGiveUp: 300_000 },
      natKeepalive: 20_000,
      transport: 'auto',
      remoteTcpPort: 4500,
      tcpAfter: 5000,
      natKeepaliveMost: 110_000,
      unique: 'replace',
      mobike: true,
      mobikeReturnRoutability: true,
      mobikeAddresses: ['%any'],
      natsAllowed: true,
      childless: 'allow',
      testRekey: false,
      authMethods: true,
      puzzles: 18,
      redirect: { follow: true, most: 5, within: 300_000 },
      resumption: false,
      counterSync: true,
      crashDetection: true,
      keyingTries: 1,
    });
    expect(proposals.map(formatProposalWords)).toEqual([
      'aes256gcm16-aes128gcm16-chacha20poly1305-prfsha384-prfsha256-x25519-ecp256-ecp384',
      'aes256-aes128-prfsha256-prfsha384-sha256-sha384-x25519-ecp256-modp2048-modp3072',
    ]);
  });

  test('of a child', () => {
    expect(child).toEqual({
      name: 'net',
      mode: 'tunnel',
      localTs: ['dynamic'],
      remoteTs: ['dynamic'],
      pfs: 'prefer',
      lifetimes: {
        rekey: HOUR,
        jitter: 6 * MINUTE,
        hard: 66 * MINUTE,
        rekeyBytes: 64 * 2 ** 30,
        hardBytes: Math.round(64 * 2 ** 30 * 1.1),
        rekeyPackets: 2 ** 30,
        hardPackets: Math.round(2 ** 30 * 1.1),
        jitterBytes: Math.round(64 * 2 ** 30 * 0.1),
        jitterPackets: Math.round(2 ** 30 * 0.1),
      },
      inactivity: 0,
      replayWindow: 1024,
      startAction: 'none',
      closeAction: 'none',
      dpdAction: 'clear',
    });
    expect(esp.map(formatProposalWords)).toEqual([
      'aes256gcm16-aes128gcm16-chacha20poly1305-x25519-ecp256-ecp384-esn-noesn',
      'aes256-sha256-x25519-ecp256-modp2048-modp3072-esn-noesn',
    ]);
  });

  test('a client gives up sooner than a site', () => {
    expect(connection('    vips: 0.0.0.0').retransmission).toEqual({
      initial: 1000,
      base: 1.8,
      giveUp: 60_000,
      responderGiveUp: 300_000,
    });
    expect(connection('    vips: 0.0.0.0\n    retransmission: {give_up: 5s, base: 2}').retransmission).toEqual({
      initial: 1000,
      base: 2,
      giveUp: 5000,
    });
  });
});

describe('what is set is what holds', () => {
  test.each([
    ['reauth_time: 2h', { rekey: 4 * HOUR, jitter: 720_000, hard: 264 * MINUTE, reauth: 2 * HOUR, reauthGrace: 12 * MINUTE }],
    ['rekey_time: 0\n    reauth_time: 1h\n    over_time: 1m', { rekey: 0, jitter: 360_000, hard: 0, reauth: HOUR, reauthGrace: MINUTE }],
    ['rekey_time: 1h', { rekey: HOUR, jitter: 360_000, hard: 66 * MINUTE, reauth: 0 }],
    ['rekey_time: 0', { rekey: 0, jitter: 0, hard: 0, reauth: 0 }],
    ['rekey_time: 1h\n    over_time: 1m\n    rand_time: 30s', { rekey: HOUR, jitter: 30_000, hard: HOUR + 60_000, reauth: 0 }],
  ])('%j', (lines, lifetimes) => {
    expect(connection(`    ${lines}`).lifetimes).toEqual(lifetimes);
  });

  test('a child without time limits, and one with a hard limit alone', () => {
    expect(connection('', 'rekey_time: 0, rekey_bytes: 0, rekey_packets: 0').children[0]!.lifetimes).toEqual({
      rekey: 0,
      jitter: 0,
      hard: 0,
      rekeyBytes: 0,
      hardBytes: 0,
      rekeyPackets: 0,
      hardPackets: 0,
      jitterBytes: 0,
      jitterPackets: 0,
    });
    expect(
      connection('', 'rekey_bytes: 1GiB, rand_bytes: 100MiB, rekey_packets: 1000, rand_packets: 7').children[0]!.lifetimes,
    ).toMatchObject({
      jitterBytes: 100 * 2 ** 20,
      jitterPackets: 7,
    });
    expect(() => connection('', 'rekey_packets: 1000, rand_packets: 1000')).toThrow(/rand_packets: is not less than rekey_packets/);
    expect(connection('', 'rekey_time: 0, life_time: 1h').children[0]!.lifetimes).toMatchObject({ rekey: 0, hard: HOUR });
  });

  test('the suites of IKE are those of the connection, in its order (RFC 7296 §3.3.4)', () => {
    const words = ['aes128gcm16-prfsha256-ecp384', 'aes256-prfsha512-sha512-modp3072'];
    expect(connection(`    proposals: "${words.join(', ')}"`).proposals.map(formatProposalWords)).toEqual(words);
  });

  test('without a replay window 64-bit sequence numbers are not offered', () => {
    expect(connection('', 'esp_proposals: aes256gcm16, replay_window: 0').children[0]!.proposals.map(formatProposalWords)).toEqual([
      'aes256gcm16-noesn',
    ]);
  });

  test('what becomes of packets is said only where it is not the default', () => {
    const packets = (words: string) => connection('', words).children[0]!.packets;
    expect(packets('copy_df: yes, copy_ecn: yes, copy_dscp: out, clamp_mss: yes')).toBeUndefined();
    expect(packets('copy_df: no, copy_ecn: no, copy_dscp: in, outer_dscp: "101110", clamp_mss: 1200')).toEqual({
      df: 'clear',
      copyEcn: false,
      copyDscp: 'in',
      outerDscp: 46,
      clampMss: 1200,
    });
    expect(packets('ipcomp: yes, later_fragments: yes, dummy_packets: 5')).toEqual({ ipcomp: true, laterFragments: true, dummies: 5 });
    expect(packets('tfc_padding: mtu')).toEqual({ tfc: 'mtu' });
    expect(packets('tfc_padding: 1000')).toEqual({ tfc: 1000 });
    expect(packets('tfc_padding: 0, ipcomp: no')).toBeUndefined();
    expect(() => packets('tfc_padding: mtu, ipcomp: yes')).toThrow(/tfc_padding: what is compressed/);
    expect(() => packets('tfc_padding: mtu, mode: transport')).toThrow(/tfc_padding: padding needs tunnel mode/);
    expect(() => packets('dummy_packets: 5, ah_proposals: sha256')).toThrow(/dummy_packets: AH hides nothing/);
    expect(packets('copy_df: set, clamp_mss: no')).toEqual({ df: 'set', clampMss: false });
    expect(() => packets('outer_dscp: "101110"')).toThrow(/outer_dscp: the DSCP is copied/);
    expect(() => packets('clamp_mss: 100')).toThrow(/clamp_mss/);
  });

  test('congestion: by name', () => {
    expect(compiled(`${MINIMAL}congestion: cubic\n`).congestion).toBe('cubic');
    expect(() => compiled(`${MINIMAL}congestion: vegas\n`)).toThrow(/congestion/);
  });

  test('redirect: where to, when, and in which exchange; and whether a client follows', () => {
    expect(compiled(MINIMAL).redirect).toBeUndefined();
    expect(compiled(`${MINIMAL}redirect: {to: vpn2.example.com}`).redirect).toEqual({
      to: ['vpn2.example.com'],
      when: { kind: 'always' },
      exchange: 'init',
      grace: 30_000,
    });
    expect(compiled(`${MINIMAL}redirect: {to: "192.0.2.2, 2001:DB8::2", when: over 1000, exchange: auth, grace: 1m}`).redirect).toEqual({
      to: ['192.0.2.2', '2001:db8::2'],
      when: { kind: 'over', ikeSas: 1000 },
      exchange: 'auth',
      grace: 60_000,
    });
    for (const wrong of [
      '{to: "a b"}',
      '{to: 10.0.0.0/8}',
      '{when: always}',
      '{to: x.example, when: often}',
      '{to: x.example, when: over}',
    ])
      expect(() => compiled(`${MINIMAL}redirect: ${wrong}`)).toThrow(/redirect/);
    expect(connection('    redirect: refuse\n    max_redirects: 3\n    redirect_period: 1h').redirect).toEqual({
      follow: false,
      most: 3,
      within: HOUR,
    });
  });

  test('resumption is off and crash detection on; tokens that cannot be made are warned of where they were asked for', () => {
    expect(connection('    resumption: yes\n    crash_detection: no')).toMatchObject({ resumption: true, crashDetection: false });
    const asked = MINIMAL.replace('children:', 'crash_detection: yes, children:');
    expect(compiled(asked).warnings.map(({ message }) => message)).toEqual([expect.stringContaining('no secret that outlives a restart')]);
    expect(compiled(`${asked}state: kept`)).toMatchObject({ state: '/etc/tunnelwright/kept', warnings: [] });
  });

  test('puzzles are set where a difficulty is named, never before cookies are demanded', () => {
    const limits = (text: string) => compiled(`${MINIMAL}limits: {${text}}`).limits.puzzles;
    expect(limits('cookie_threshold: 50')).toBeUndefined();
    expect(limits('puzzle_difficulty: 16')).toEqual({ difficulty: 16, threshold: 128 });
    expect(limits('puzzle_difficulty: 16, cookie_threshold: 50, puzzle_threshold: 20')).toEqual({ difficulty: 16, threshold: 50 });
    expect(() => limits('puzzle_difficulty: 8')).toThrow('from 9 to 32');
    expect(connection('    max_puzzle: 0').puzzles).toBe(0);
  });

  test('authentication methods are announced unless they are not to be', () => {
    expect(connection('    announce_auth_methods: no').authMethods).toBe(false);
  });

  test('whether traffic may be narrowed, and comes in pairs', () => {
    const [child] = connection('', 'narrow: no, single_pair: yes').children;
    expect(child).toMatchObject({ narrow: false, singlePair: true });
    const [usual] = connection('', 'narrow: yes, single_pair: no').children;
    expect([usual!.narrow, usual!.singlePair]).toEqual([undefined, undefined]);
  });

  test('AH in the place of ESP, with a warning', () => {
    const config = compiled(MINIMAL.replace('net: {}', 'net: {ah_proposals: sha256-x25519, mode: transport}'));
    expect(config.connections[0]!.children[0]!.proposals).toMatchObject([{ protocol: 2 }]);
    expect(config.warnings.map((warning) => warning.message)).toEqual([expect.stringContaining('AH leaves traffic readable')]);
  });

  test('what is opt-in is warned of where it is named', () => {
    const text = MINIMAL.replace('net: {}', 'net: {esp_proposals: "camellia128-sha256, null-sha256"}');
    expect(compiled(text).warnings).toMatchObject([
      {
        message: expect.stringMatching(/^\S+:\d+:\d+ connections\.c\.children\.net\.esp_proposals: camellia128 is sound, but/),
        hint: expect.stringContaining('aes256gcm16'),
        place: { path: 'connections.c.children.net.esp_proposals', line: expect.any(Number), column: expect.any(Number) },
      },
      { message: expect.stringContaining('null leaves traffic readable to everybody on the way') },
    ]);
  });

  test('blocks of 64 bits are rekeyed long before they tell anything, unless the configuration says otherwise', () => {
    const legacy = (child: string) =>
      compiled(MINIMAL.replace('local: {', 'legacy: yes, local: {').replace('net: {}', `net: {esp_proposals: 3des-sha1${child}}`))
        .connections[0]!.children[0]!.lifetimes.rekeyBytes;
    expect(legacy('')).toBe(256 * 2 ** 20);
    expect(legacy(', rekey_bytes: 1GiB')).toBe(2 ** 30);
    expect(compiled(MINIMAL).connections[0]!.children[0]!.lifetimes.rekeyBytes).toBe(64 * 2 ** 30);
  });

  test('sha256_96 is not negotiated but done, with a warning', () => {
    const config = compiled(MINIMAL.replace('net: {}', 'net: {esp_proposals: aes128-sha256, sha256_96: yes}'));
    expect(config.connections[0]!.children[0]).toMatchObject({ sha256_96: true });
    expect(config.connections[0]!.children[0]!.proposals.map(formatProposalWords)).toEqual(['aes128-sha256-esn-noesn']);
    expect(config.warnings).toMatchObject([{ message: expect.stringContaining('a peer that keeps to RFC 4868') }]);
    expect(compiled(MINIMAL).connections[0]!.children[0]!.sha256_96).toBeUndefined();
  });

  test('dynamic with a protocol and port', () => {
    expect(connection('', 'local_ts: "dynamic[tcp/80], dynamic"').children[0]!.localTs).toEqual([
      { dynamic: true, protocol: 6, startPort: 80, endPort: 80 },
      'dynamic',
    ]);
  });

  test('with a pre-shared key the own address is the identity that needs no words', () => {
    const text = MINIMAL.replace('local: {auth: psk, id: us}', 'local_addrs: 192.0.2.7, local: {auth: psk}');
    expect(formatIdentity(compiled(text).connections[0]!.local[0]!.id!)).toBe('192.0.2.7');
  });

  test('uniqueness', () => {
    expect(['replace', 'never', 'no', 'keep', '3'].map((word) => connection(`    unique: ${word}`).unique)).toEqual([
      'replace',
      'never',
      'keep',
      1,
      3,
    ]);
    for (const word of ['0', 'perhaps', '1001'])
      expect(() => connection(`    unique: ${word}`), word).toThrow(
        /connections.c.unique: .* is neither replace, keep, never, no nor a number from 1 to 1000/,
      );
  });

  test('identities are patterns on the other end', () => {
    const text = MINIMAL.replace('remote: {auth: psk}', 'remote: {auth: psk, id: "*@example.com"}');
    expect(formatIdentityPattern(compiled(text).connections[0]!.remote[0]!.id)).toBe('*@example.com');
  });

  test('what peers may move and fill is bounded as it says, and some of the disk stays free anyway', () => {
    const text = 'transfer: {inbox: /in, limit: 5M, largest: 2GiB, keep_free: 1GB}\n';
    expect(compiled(text).transfer).toMatchObject({ limit: 5 * 1024 ** 2, largest: 2 * 1024 ** 3, keepFree: 1e9 });
    const bare = compiled('transfer: {inbox: /in, largest: 0}\n').transfer;
    expect(bare).toMatchObject({ limit: undefined, largest: undefined, keepFree: 64 * 1024 ** 2 });
    const bySftp = compiled('transfer: {largest: 2GiB, keep_free: 1GB}\nsftp: {folder: /files}\n').sftp;
    expect(bySftp).toMatchObject({ largest: 2 * 1024 ** 3, keepFree: 1e9 });
    expect(compiled('sftp: {folder: /files}\n').sftp).toMatchObject({ largest: undefined, keepFree: 64 * 1024 ** 2 });
  });

  test('paths start beside the file, or at home', () => {
    const text = 'transfer: {share: ./a, inbox: ~/in}\ncontrol: {socket: /run/x.sock}\n';
    expect(compiled(text)).toMatchObject({
      transfer: { share: '/etc/tunnelwright/a', inbox: join(homedir(), 'in') },
      control: { socket: '/run/x.sock' },
    });
  });
});

test('more traffic selectors than one payload holds are refused here, not by the peer', () => {
  const text = (count: number) =>
    `secrets: {a: {kind: psk, secret: 0123456789abcdef}}\nconnections:\n  c:\n    local: {auth: psk, id: a.example}\n    remote: {auth: psk}\n    children: {net: {remote_ts: [${Array.from({ length: count }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`).join(', ')}]}}\n`;
  expect(compiled(text(255)).connections[0]!.children[0]!.remoteTs).toHaveLength(255);
  expect(() => compiled(text(256))).toThrow(/has 256 traffic selectors/);
});

describe('pools', () => {
  test('keep the first address of a prefix for the gateway', () => {
    const config = compiled(
      'pools: {a: {addrs: "10.66.0.0/24, fd5a::/64, 10.67.0.10-10.67.0.20", dns: 10.66.0.1, split_include: 10.0.0.0/8}}',
    );
    expect(config.addresses).toEqual(['10.66.0.1/24', 'fd5a::1/64']);
    expect(config.pools).toEqual([
      {
        name: 'a',
        ranges: ['10.66.0.0/24', 'fd5a::/64', '10.67.0.10-10.67.0.20'],
        reserved: ['10.66.0.1', 'fd5a::1'],
        servers: ['10.66.0.1', 'fd5a::1'],
        dns: ['10.66.0.1'],
        domains: [],
        subnets: ['10.0.0.0/8'],
      },
    ]);
  });

  test('or the addresses that are named', () => {
    expect(compiled('addresses: 10.66.0.254/24\npools: {a: {addrs: 10.66.0.0/24}}')).toMatchObject({
      addresses: ['10.66.0.254/24'],
      pools: [{ reserved: ['10.66.0.254'] }],
    });
  });
});

describe('credentials', () => {
  const text = (remote: string) =>
    `authorities: {corp: {cacert: corp.crt}}\nconnections:\n  c:\n    local: {auth: pubkey, certs: [a.crt, b.crt], key: a.key}\n    remote: {auth: pubkey${remote}}\n    children: {net: {}}\n`;

  test('a round without cacerts trusts the authorities of the top, and those alone', () => {
    const two = `${text('')}  d:\n    local: {auth: pubkey, certs: a.crt}\n    remote: {auth: pubkey, cacerts: other.crt}\n    children: {net: {}}\n`;
    const config = compiled(two);
    expect(config.connections.map((c) => c.remote[0]!.authorities)).toEqual([['corp'], ['/etc/tunnelwright/other.crt']]);
    expect(config.credentials.authorities.map((authority) => authority.handle)).toEqual(['corp', '/etc/tunnelwright/other.crt']);
    expect(
      config.credentials.certificates.map(({ handle, certificates, key }) => [handle, certificates.map((file) => file.path), key?.path]),
    ).toEqual([
      ['c.local[0]', ['/etc/tunnelwright/a.crt', '/etc/tunnelwright/b.crt'], '/etc/tunnelwright/a.key'],
      ['d.local[0]', ['/etc/tunnelwright/a.crt'], undefined],
    ]);
    expect(config.connections[0]!.local[0]!.credential).toBe('c.local[0]');
  });

  test('a certificate of the peer itself is trusted in the place of authorities, or beside them', () => {
    const config = compiled(text(', certs: peer.crt'));
    expect(config.connections[0]!.remote[0]!.authorities).toEqual(['/etc/tunnelwright/peer.crt']);
    expect(config.credentials.peers.map((peer) => peer.certificate.path)).toEqual(['/etc/tunnelwright/peer.crt']);
    expect(compiled(text(', certs: peer.crt, cacerts: x.crt')).connections[0]!.remote[0]!.authorities).toEqual([
      '/etc/tunnelwright/x.crt',
      '/etc/tunnelwright/peer.crt',
    ]);
  });

  test('a peer may be whom its certificate names, and needs one then', () => {
    expect(compiled(text('')).connections[0]!.remote[0]).not.toHaveProperty('idFromCertificate');
    expect(compiled(text(', id: "*@corp.example", id_from_cert: yes')).connections[0]!.remote[0]).toMatchObject({
      idFromCertificate: true,
    });
    expect(() => compiled(text(', id_from_cert: yes, pubkeys: peer.pub'))).toThrow(/id_from_cert/);
  });

  test('a named authority is loaded once', () => {
    expect(compiled(text(', cacerts: [x.crt, x.crt]')).credentials.authorities).toHaveLength(2);
  });
});

describe('names', () => {
  const named = () => compiled(MINIMAL.replace('{c: {', '{c: {remote_addrs: "vpn.example.com, 192.0.2.9, %any", '));

  test('become addresses', async () => {
    const config = await resolveNames(named(), async () => ['2001:db8::1', '192.0.2.1']);
    expect(config.connections[0]!.remoteAddresses).toEqual(['2001:db8::1', '192.0.2.1', '192.0.2.9', '%any']);
  });

  test('that do not resolve matter only where they are needed', async () => {
    const fails = () => Promise.reject(Object.assign(new Error('x'), { code: 'ENOTFOUND' }));
    expect((await resolveNames(named(), fails)).connections[0]!.remoteAddresses).toEqual(['192.0.2.9', '%any']);
    await expect(resolveNames(named(), fails, () => true)).rejects.toMatchObject({
      code: 'NAME_NOT_FOUND',
      message: 'c: the name vpn.example.com has no address (ENOTFOUND)',
    });
  });
});

const EXAMPLES = join(import.meta.dirname, '..', '..', '..', 'examples');
describe('examples', () => {
  test.each(readdirSync(EXAMPLES).filter((file) => file.endsWith('.yaml')))('%s compiles without a warning', (file) => {
    const config = compile(loadConfig(readFileSync(join(EXAMPLES, file), 'utf8'), { file: join(EXAMPLES, file) }));
    expect(config.warnings).toEqual([]);
    expect(config.connections).not.toHaveLength(0);
  });

  test('merged settings hold', () => {
    const [east] = compile(loadConfig(readFileSync(join(EXAMPLES, 'site-to-site.yaml'), 'utf8'))).connections;
    expect(east!.children.map(({ name, pfs, startAction, lifetimes }) => [name, pfs, startAction, lifetimes.rekey])).toEqual([
      ['offices', 'require', 'start', HOUR],
      ['printers', 'require', 'start', HOUR / 2],
    ]);
  });
});
