import { describe, expect, test } from 'vitest';
import { ConfigError } from '../../../src/core/bytes/errors.ts';
import { checkConfig, compile, configFrom, loadConfig } from '../../../src/product/config/index.ts';

/** The first error of loading and compiling. */
function errorOf(text: string): ConfigError {
  try {
    compile(loadConfig(text, { file: 'tunnelwright.yaml' }));
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

/** A connection `road` with more lines from line 8 on. */
const road = (lines: string, top = '') => `secrets:
  home: {kind: psk, secret_file: x.psk}
connections:
  road:
    local: {auth: psk, id: us}
    remote: {auth: psk}
    remote_addrs: 192.0.2.1
${lines.replaceAll(/^/gm, '    ')}
    children: {net: {}}
${top}`;

const child = (lines: string) =>
  `${road('').replace('    children: {net: {}}\n', '')}    children:\n      net:\n${lines.replaceAll(/^/gm, '        ')}\n`;

describe('each mistake has its place, what is wrong and often how to mend it', () => {
  test.each<[name: string, text: string, message: string, hint?: string | RegExp]>([
    [
      'a wrong word',
      'connections:\n  road:\n    local:\n    - auth: cert\n    remote: {auth: psk}\n',
      'tunnelwright.yaml:4:13 connections.road.local[0].auth: expected one of "psk" | "pubkey" | "eap" | "null"',
    ],
    [
      'a word that is nearly right',
      road('send_cert: allways'),
      'tunnelwright.yaml:8:16 connections.road.send_cert: expected one of "always" | "ifasked" | "never"',
      'Did you mean "always"?',
    ],
    [
      'an unknown key',
      road('remot_port: 1'),
      'tunnelwright.yaml:8:5 connections.road.remot_port: unknown key: did you mean "remote_port"?',
    ],
    [
      'a network behind the gateway by a protocol that no socket carries',
      road('', 'behind: {lan: {networks: "10.20.0.0/16[gre]"}}'),
      'tunnelwright.yaml:10:26 behind.lan.networks: "10.20.0.0/16[gre]": only TCP, UDP and echo requests pass ordinary sockets',
      /10\.20\.1\.5\[tcp\/443\]/,
    ],
    [
      'a network behind the gateway that is an address of its own',
      road('', 'behind: {lan: {networks: dynamic}}'),
      'tunnelwright.yaml:10:26 behind.lan.networks: `dynamic` is no network behind the gateway',
    ],
    [
      'a network behind the gateway for a connection that is not there',
      road('', 'behind: {lan: {networks: 10.20.0.0/16, connections: rod}}'),
      'tunnelwright.yaml:10:53 behind.lan.connections: there is no connection rod',
      'Known: road.',
    ],
    [
      'letters exchanged',
      road('rekey_tiem: 1h'),
      'tunnelwright.yaml:8:5 connections.road.rekey_tiem: unknown key: did you mean "rekey_time"?',
    ],
    [
      'dashes for underscores',
      road('dpd-delay: 1s'),
      'tunnelwright.yaml:8:5 connections.road["dpd-delay"]: unknown key: did you mean "dpd_delay"?'.replace('["dpd-delay"]', '.dpd-delay'),
    ],
    [
      'a key that is like nothing',
      'pools: {p: {zebra: 1}}',
      /^tunnelwright.yaml:1:13 pools.p.zebra: unknown key; known here: addrs, dns, / as unknown as string,
    ],
    ['a key without a value', road('mobike:'), 'tunnelwright.yaml:8:5 connections.road.mobike: expected yes or no'],
    ['a section where a word belongs', road('mobike: {a: b}'), 'tunnelwright.yaml:8:13 connections.road.mobike: expected yes or no'],
    [
      'a word where a section belongs',
      'connections: road\n',
      'tunnelwright.yaml:1:14 connections: expected a section, not "road"',
      'Put its keys on lines of their own below it, indented.',
    ],
    ['a list where a section belongs', 'connections:\n- road\n', 'tunnelwright.yaml:2:1 connections: expected a section, not a list'],
    [
      'something missing',
      'connections:\n  road:\n    remote: {auth: psk}\n',
      'tunnelwright.yaml:2:3 connections.road.local: is missing: expected a section',
    ],
    [
      'something missing in a list',
      'connections:\n  road:\n    local:\n    - id: x\n    remote: {auth: psk}\n',
      'tunnelwright.yaml:4:7 connections.road.local[0].auth: is missing: expected one of "psk" | "pubkey" | "eap" | "null"',
    ],
    [
      'a name with blanks',
      'connections:\n  "my road": {}\n',
      'tunnelwright.yaml:2:3 connections["my road"]: a name has 1 to 64 letters, digits and . _ - @ +, and begins with a letter, a digit or _',
    ],
    [
      'a length of time',
      road('dpd_delay: soon'),
      'tunnelwright.yaml:8:16 connections.road.dpd_delay: "soon" is not a length of time',
      'Write 30s, 5m, 4h or 1d.',
    ],
    [
      'a number out of range',
      road('fragment_size: 100'),
      'tunnelwright.yaml:8:20 connections.road.fragment_size: expected a whole number from 576 to 65535, not "100"',
    ],
    ['a port', 'listen: {port: 70000}', 'tunnelwright.yaml:1:16 listen.port: expected a whole number from 0 to 65535, not "70000"'],
    [
      'a size',
      child('rekey_bytes: 5 barrels'),
      'tunnelwright.yaml:11:22 connections.road.children.net.rekey_bytes: "5 barrels" is not a size',
      'Write 64GiB, 500MB or a number of octets.',
    ],
    [
      'an identity',
      road('ppk_id: a b c'),
      /^tunnelwright.yaml:8:13 connections.road.ppk_id: "a b c" is not an identity: it has blanks inside/ as unknown as string,
    ],
    [
      'a virtual address',
      road('vips: 10.0.0.0/24'),
      'tunnelwright.yaml:8:11 connections.road.vips: "10.0.0.0/24" is not an IP address',
      'Ask for any with 0.0.0.0 or ::.',
    ],
    [
      'an address of the peer',
      road('local_addrs: 300.1.1.1'),
      'tunnelwright.yaml:8:18 connections.road.local_addrs: "300.1.1.1" is not an address, a prefix, a range or a DNS name',
    ],
    [
      'one of several',
      road('local_addrs: [192.0.2.1, "bad name!"]'),
      'tunnelwright.yaml:8:30 connections.road.local_addrs[1]: "bad name!" is not an address, a prefix, a range or a DNS name',
    ],
    [
      'a traffic selector',
      child('local_ts: 10.0.0.0/33'),
      'tunnelwright.yaml:11:19 connections.road.children.net.local_ts: the prefix length of "10.0.0.0/33" is not a number from 0 to 32',
    ],
    [
      'ports without a protocol',
      child('local_ts: 10.0.0.0/8[/80]'),
      'tunnelwright.yaml:11:19 connections.road.children.net.local_ts: ports need a protocol that has them, and none is given',
      /\[tcp\/80\]/,
    ],
    [
      'a protocol',
      child('local_ts: 10.0.0.0/8[tpc/80]'),
      'tunnelwright.yaml:11:19 connections.road.children.net.local_ts: "tpc" is no IP protocol known here',
      /^Write its number, or one of tcp, /,
    ],
    [
      'a pool',
      'pools:\n  p: {addrs: 10.0.0.9-10.0.0.1}\n',
      'tunnelwright.yaml:2:14 pools.p.addrs: the range "10.0.0.9-10.0.0.1" ends before it begins',
    ],
    [
      'an environment variable',
      'secrets: {a: {kind: psk, secret_env: 1X}}',
      'tunnelwright.yaml:1:38 secrets.a.secret_env: is not the name of an environment variable',
    ],
  ])('%s', (_, text, message, hint) => {
    const error = errorOf(text);
    if (typeof message === 'string') expect(error.message).toBe(message);
    else expect(error.message).toMatch(message);
    if (hint !== undefined) expect(error.hint).toMatch(hint);
    expect(error).toMatchObject({
      file: 'tunnelwright.yaml',
      line: expect.any(Number),
      column: expect.any(Number),
      path: expect.any(String),
    });
  });
});

describe('what fits the schema but not itself', () => {
  test.each<[name: string, text: string, message: string, hint: string | RegExp]>([
    [
      'no such pool',
      road('pools: [staff]', 'pools: {clients: {addrs: 10.66.0.0/24}}'),
      'tunnelwright.yaml:8:13 connections.road.pools[0]: there is no pool staff',
      'Known: clients.',
    ],
    [
      'no secret at all',
      road('').replace(/secrets:\n.*\n/, ''),
      'tunnelwright.yaml:3:19 connections.road.local.auth: there is no pre-shared key',
      /^Add one: secrets:/,
    ],
    [
      'no secret for this peer',
      road('')
        .replace('remote: {auth: psk}', 'remote: {auth: psk, id: east.example}')
        .replace('secret_file: x.psk', 'ids: west.example, secret_file: x.psk'),
      'tunnelwright.yaml:6:20 connections.road.remote.auth: there is no pre-shared key for this peer',
      /^Add one/,
    ],
    [
      'no PPK of that id',
      road('ppk_id: "*@example.com"'),
      'tunnelwright.yaml:8:13 connections.road.ppk_id: fits no post-quantum pre-shared key',
      /^Add one: secrets: {quantum: {kind: ppk,/,
    ],
    [
      'a PPK that is demanded and not said which',
      road('ppk_required: yes'),
      'tunnelwright.yaml:8:19 connections.road.ppk_required: needs ppk_id',
      /^Say which/,
    ],
    [
      'a PPK without an id',
      road('').replace('secrets:', 'secrets:\n  quantum: {kind: ppk, secret_env: Q}'),
      'tunnelwright.yaml:2:12 secrets.quantum: the post-quantum pre-shared key has no id, by which both ends would name it',
      /^Add ids/,
    ],
    [
      'a PPK whose id is a pattern',
      road('').replace('secrets:', 'secrets:\n  quantum: {kind: ppk, ids: "*.lab", secret_env: Q}'),
      'tunnelwright.yaml:2:29 secrets.quantum.ids: is a pattern, and a post-quantum pre-shared key has a name',
      /^Write one id/,
    ],
    [
      'no certificate',
      road('').replace('local: {auth: psk, id: us}', 'local: {auth: pubkey}'),
      'tunnelwright.yaml:5:5 connections.road.local.certs: is missing: with auth: pubkey we prove who we are with a certificate, or with a raw key',
      /^Add certs and key/,
    ],
    [
      'nobody trusted',
      road('').replace('remote: {auth: psk}', 'remote: {auth: pubkey}'),
      'tunnelwright.yaml:6:13 connections.road.remote: no authority is trusted for this peer, so no certificate of it would be',
      /^Add cacerts here/,
    ],
    [
      'nobody is said to be here',
      road('').replace('local: {auth: psk, id: us}', 'local: {auth: psk}'),
      'tunnelwright.yaml:5:5 connections.road.local.id: is missing: with a pre-shared key we must say who we are',
      /^Add a name/,
    ],
    [
      'a signature scheme',
      road('').replace('remote: {auth: psk}', 'remote: {auth: psk, schemes: [ecdas]}'),
      'tunnelwright.yaml:6:35 connections.road.remote.schemes[0]: "ecdas" is no signature scheme or hash known here',
      'Did you mean ecdsa?',
    ],
    [
      'no child',
      road('').replace('    children: {net: {}}\n', ''),
      'tunnelwright.yaml:4:3 connections.road.children: is missing: without a child no traffic passes',
      /^Add for instance/,
    ],
    [
      'nobody to start with',
      child('start_action: start').replace('    remote_addrs: 192.0.2.1\n', ''),
      'tunnelwright.yaml:10:23 connections.road.children.net.start_action: there is no address to connect to',
      /^Add remote_addrs/,
    ],
    [
      'ESP and AH',
      child('esp_proposals: default\nah_proposals: sha256'),
      'tunnelwright.yaml:12:23 connections.road.children.net.ah_proposals: a child is protected by ESP or by AH, not by both',
      /^Leave one/,
    ],
    [
      'PFS without a method',
      child('esp_proposals: aes256gcm16\npfs: require'),
      'tunnelwright.yaml:12:14 connections.road.children.net.pfs: require needs a key exchange method in every proposal of esp_proposals',
      /aes256gcm16-x25519/,
    ],
    [
      'D40 ESN without a window',
      child('esp_proposals: aes256gcm16-esn\nreplay_window: 0'),
      'tunnelwright.yaml:12:24 connections.road.children.net.replay_window: 0 does not go with extended sequence numbers',
      /noesn/,
    ],
    [
      'a life shorter than rekeying',
      child('rekey_time: 1h\nlife_time: 30m'),
      'tunnelwright.yaml:12:20 connections.road.children.net.life_time: is not more than rekey_time: the child would end before it can be rekeyed',
      /110 %/,
    ],
    [
      'luck longer than life',
      road('rekey_time: 1h\nrand_time: 1h'),
      'tunnelwright.yaml:9:16 connections.road.rand_time: is not shorter than rekey_time',
      /tenth/,
    ],
    [
      'no packet fits',
      child('local_ts: 10.0.0.0/8\nremote_ts: fd00::/8'),
      'tunnelwright.yaml:12:20 connections.road.children.net.remote_ts: local_ts and remote_ts have no address family in common, so no packet fits both',
      /IPv4/,
    ],
    [
      'pools that overlap',
      'pools:\n  a: {addrs: 10.0.0.0/24}\n  b: {addrs: 10.0.0.128-10.0.1.2}\n',
      'tunnelwright.yaml:3:14 pools.b.addrs: 10.0.0.128-10.0.1.2 overlaps 10.0.0.0/24 of pool a',
      /of its own/,
    ],
    [
      'a subnet that is a range',
      'pools:\n  a: {split_include: 10.0.0.1-10.0.0.3}\n',
      'tunnelwright.yaml:2:22 pools.a.split_include: 10.0.0.1-10.0.0.3 is not a prefix',
      /INTERNAL_IP4_SUBNET/,
    ],
    [
      'two secrets in one',
      'secrets:\n  a: {kind: psk, secret: abc, secret_file: f}\n',
      'tunnelwright.yaml:2:44 secrets.a.secret_file: the secret stands in secret and secret_file; which one holds?',
      /^Give one/,
    ],
    ['no secret in a secret', 'secrets:\n  a: {kind: psk}\n', 'tunnelwright.yaml:2:6 secrets.a: the secret is missing', /^Give one/],
    [
      'a passphrase for nothing',
      'secrets:\n  a: {kind: private, secret_file: f}\n',
      'tunnelwright.yaml:2:6 secrets.a: the passphrase of which file? file is missing',
      /^Add file/,
    ],
    [
      'a weak algorithm',
      road('proposals: aes256-sha256-modp1024'),
      /^tunnelwright.yaml:8:16 connections.road.proposals: .*modp1024/ as unknown as string,
      /legacy|/,
    ],
  ])('%s', (_, text, message, hint) => {
    const error = errorOf(text);
    if (typeof message === 'string') expect(error.message).toBe(message);
    else expect(error.message).toMatch(message);
    expect(error.hint ?? '').toMatch(hint);
  });
});

describe('what nothing carries out is refused or said aloud, never dropped', () => {
  test.each([
    [road('').replace('local: {auth: psk, id: us}', 'local: {auth: eap}'), 'connections.road.local.auth: auth: eap is not carried out'],
    [
      road('').replace('local: {auth: psk, id: us}', 'local: [{auth: psk, id: us}, {auth: psk}]'),
      'connections.road.local[1]: more than one round of authentication (RFC 4739) is not carried out',
    ],
    [
      road('').replace('remote: {auth: psk}', 'remote: {auth: psk, groups: [staff]}'),
      'connections.road.remote.groups: this setting is not carried out: peers have no groups',
    ],
    [
      road('').replace('remote: {auth: psk}', 'remote: {auth: psk, revocation: strict}'),
      'connections.road.remote.revocation: this setting is not carried out: revocation lists and OCSP are not asked',
    ],
    [child('mode: beet'), 'connections.road.children.net.mode: mode: beet is not carried out'],
    [child('updown: /bin/true'), 'connections.road.children.net.updown: this setting is not carried out: no programs are run'],
    [child('mark_in: "%unique"'), 'connections.road.children.net.mark_in: %unique is not carried out'],
  ])('%#', (text, message) => {
    const error = errorOf(text);
    expect(error.message).toContain(message);
    expect(error.code).toBe('CONFIG_UNSUPPORTED');
  });

  test('the harmless ones are warnings with their place', () => {
    const { warnings } = compile(loadConfig(child('hostaccess: yes\nhw_offload: auto\nper_cpu_sas: yes'), { file: 'f.yaml' }));
    expect(warnings.map((warning) => warning.message)).toEqual([
      'f.yaml:11:21 connections.road.children.net.hostaccess: this setting is not carried out: it only speaks to updown programs',
      'f.yaml:13:22 connections.road.children.net.per_cpu_sas: this setting is not carried out: one child carries the traffic of all processors',
    ]);
  });
});

test('all problems are found at once, in the order of the file, and only so many', () => {
  const text = `foo: 1\nlisten: {port: x, nat_port: y}\n${Array.from({ length: 50 }, (_, i) => `bar${i}: 1`).join('\n')}`;
  const errors = checkConfig(text, { file: 'f.yaml' });
  expect(errors).toHaveLength(20);
  expect(errors.slice(0, 4).map((error) => [error.line, error.column])).toEqual([
    [1, 1],
    [2, 16],
    [2, 29],
    [3, 1],
  ]);
});

test('a configuration made by a program has paths, and numbers and booleans as they are', () => {
  expect(() => configFrom({ listen: { port: 500, natPort: 1 } })).toThrow('listen.natPort: unknown key: did you mean "nat_port"?');
  const { settings } = configFrom({ listen: { port: 500, fallback: true }, limits: { half_open_life: 90 } });
  expect(settings).toEqual({ listen: { port: 500, fallback: true }, limits: { half_open_life: 90_000 } });
});

test('an empty text is an empty configuration', () => {
  expect(compile(loadConfig('')).connections).toEqual([]);
});
