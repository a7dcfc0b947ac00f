import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { EXIT, EXIT_MEANINGS, exitCodeOf } from '../../src/cli/exit-codes.ts';
import { buildProgram } from '../../src/cli/program.ts';
import { describeWithShared, sharedPath } from '../support/shared.ts';
import { Cli, cli, json } from './harness.ts';

const commands = buildProgram({ version: '0' } as Parameters<typeof buildProgram>[0]).program.commands.map((command) => command.name());

describe('help', () => {
  test('everything on one screen', async () => {
    const { code, out, err } = await cli([], { columns: 80 });
    expect(code).toBe(0);
    expect(err).toBe('');
    for (const command of commands) expect(out).toMatch(new RegExp(`^(.{10}|.* · )${command}\\b`, 'm'));
    for (const [exit, meaning] of EXIT_MEANINGS.filter(([exit]) => exit < 10)) expect(out).toContain(`${exit} ${meaning.split(/[,;]/)[0]}`);
    expect((await cli(['--help'])).out).toBe(out);
  });

  test.each([[[]], ...commands.map((command) => [[command]] as [string[]])])('of %j fits a screen', async (path) => {
    const { code, out } = await cli(['help', ...path], { columns: 80 });
    const lines = out.trimEnd().split('\n');
    expect(code).toBe(0);
    expect(lines.length).toBeLessThanOrEqual(24);
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    if (path.length > 0) expect((await cli([...path, '--help'], { columns: 80 })).out).toBe(out);
  });

  test('the version alone', async () => {
    expect(await cli(['--version'])).toMatchObject({ code: 0, out: '1.2.3\n' });
  });
});

describe('mistakes on the command line', () => {
  test.each([
    [['statsu'], "unknown command 'statsu'", 'Did you mean status?'],
    [['up', 'x', '--pks-file', 'y'], "unknown option '--pks-file'", 'Did you mean --psk-file?'],
    [['statsu-of-all'], "unknown command 'statsu-of-all'", 'See: tunnelwright help'],
    [['up', 'x', '--psk', 'y'], "unknown option '--psk'", 'Did you mean --psk-file?'],
    [['up', 'x', '--nonsense'], "unknown option '--nonsense'", 'See: tunnelwright help up'],
    [['up'], '✗ up: TARGET is missing', 'Write: tunnelwright up TARGET\n'],
    [['get'], '✗ get: SOURCE is missing', 'Write: tunnelwright get PEER:PATH|URL [DEST]\n'],
    [['status', 'extra'], '✗ status: too many operands, it takes none', 'Write: tunnelwright status\n'],
    [['rekey', 'a', 'b'], '✗ rekey: too many operands, it takes 1', 'Write: tunnelwright rekey NAME\n'],
    [['status', '--timeout', 'soon'], '✗ --timeout: "soon" is not a length of time', 'fix   Write 30s, 5m, 4h or 1d.\n'],
    [['up', 'x', '--cert'], '✗ --cert needs a value', 'Write: --cert FILE\n'],
    [['status', '-c'], '✗ --config needs a value', 'Write: --config FILE\n'],
    [['down'], 'who is to be disconnected?', 'Give a NAME, or --all.'],
    [['down', 'x', '--all'], 'who is to be disconnected?', 'Give a NAME, or --all.'],
    [['send', 'file'], 'what is to be sent where?', 'FILE... PEER:PATH'],
    [['send', 'file', 'nowhere'], 'nowhere does not say which peer', 'alice:inbox/'],
    [['send', 'file', 'a:', '--limit', 'fast'], '✗ --limit: fast is no rate', 'Write octets a second: 800K, 5M or 1.5G.'],
    [['receive', '--keep-free', 'much'], '✗ --keep-free: much is not a size', 'Write 64GiB, 500MB or a number of octets.'],
    [['get', 'a:file', '--limit', '8K'], '✗ --limit: 8K is less than a connection needs', 'Write 16K at the least.'],
    [['get', 'a:file', '--limit', `1${'0'.repeat(20)}`], 'is no limit', 'Leave it out.'],
    [['send', 'file', 'a:', '--parallel', '17'], '✗ --parallel: 17 is not a number from 1 to 16', 'Write digits alone.'],
    [['receive', '--count', 'all'], '✗ --count: all is no number of files', 'Write digits alone.'],
    [['up', 'corp'], 'there is no connection corp', '--psk-file FILE'],
    [['up', 'vpn.example.com'], 'how to authenticate is not said', '--psk-file FILE'],
    [['serve'], 'there is no configuration', '--psk-file FILE'],
    [['serve', '--config', 'nowhere.yaml'], 'nowhere.yaml: there is no such file', '--config'],
    [['serve', '--psk-file', 'p', '--pool', 'everything'], '--pool: "everything" is not an address, a prefix or a range', '10.0.0.0/24'],
  ])('%j', async (argv, what, fix) => {
    const { code, out, err } = await cli(argv, { columns: 200 });
    expect(code).toBe(EXIT.usage);
    expect(out).toBe('');
    expect(err).toContain(`✗ `);
    expect(err).toContain(what);
    expect(err).toContain('exit 2');
    expect(err).toContain(fix);
  });

  test('with --json the same as a document on the output', async () => {
    const ran = await cli(['--json', 'down']);
    expect(ran).toMatchObject({ code: 2, err: '' });
    expect(json(ran)).toEqual({
      schema: 1,
      error: { type: 'CliError', code: 'USAGE', message: 'who is to be disconnected?', hint: 'Give a NAME, or --all.', exit: 2 },
    });
    expect(json(await cli(['statsu', '--json'])).error).toMatchObject({ code: 'USAGE' });
  });
});

describe('exit codes', () => {
  test.each<[number, Parameters<typeof exitCodeOf>[0]]>([
    [1, { type: 'InternalError', code: 'INTERNAL_ERROR' }],
    [1, { type: 'PeerViolation', code: 'BAD_NONCE' }],
    [1, { type: 'ControlError', code: 'ALREADY_RUNNING' }],
    [1, { type: 'PeerRefused', code: 'PEER_TEMPORARY_FAILURE', notify: 43 }],
    [1, { type: 'NegotiationFailure', code: 'POOL_EXHAUSTED' }],
    [1, { type: 'NegotiationFailure', code: 'ADDRESS_NOT_ASSIGNED' }],
    [2, { type: 'ConfigError', code: 'CONFIG_INVALID' }],
    [2, { type: 'ConfigError', code: 'SECRET_FILE_PERMISSIONS' }],
    [2, { type: 'CliError', code: 'USAGE' }],
    [3, { type: 'ControlError', code: 'NOT_RUNNING' }],
    [3, { type: 'ApiMisuse', code: 'NO_SUCH_CONNECTION' }],
    [3, { type: 'TransferError', code: 'TRANSFER_NOT_FOUND' }],
    [4, { type: 'AuthenticationFailure', code: 'PSK_MISMATCH' }],
    [4, { type: 'PeerRefused', code: 'PEER_AUTHENTICATION_FAILED', notify: 24 }],
    [5, { type: 'NegotiationFailure', code: 'NO_PROPOSAL_CHOSEN' }],
    [5, { type: 'PeerRefused', code: 'PEER_NO_PROPOSAL_CHOSEN', notify: 14 }],
    [5, { type: 'PeerRefused', code: 'PEER_TS_UNACCEPTABLE', notify: 38 }],
    [6, { type: 'TimedOut', code: 'PEER_SILENT' }],
    [6, { type: 'ConfigError', code: 'NAME_NOT_FOUND' }],
    [6, { type: 'DataPlaneError', code: 'EHOSTUNREACH' }],
    [7, { type: 'CertificateFailure', code: 'CERTIFICATE_EXPIRED' }],
    [8, { type: 'TransferError', code: 'TRANSFER_INTERRUPTED', resumable: true }],
    [8, { type: 'CliError', code: 'INTERRUPTED', resumable: true }],
    [9, { type: 'DataPlaneError', code: 'PORT_NEEDS_PRIVILEGE', privilege: 'CAP_NET_BIND_SERVICE' }],
    [9, { type: 'ControlError', code: 'CONTROL_FORBIDDEN' }],
    [130, { type: 'CliError', code: 'INTERRUPTED' }],
  ])('%i for %j', (code, ending) => {
    expect(exitCodeOf(ending)).toBe(code);
  });
});

describe('schema', () => {
  test('prints the published file', async () => {
    const published = readFileSync(join(import.meta.dirname, '..', '..', 'schema', 'tunnelwright.schema.json'), 'utf8');
    expect(await cli(['schema'])).toMatchObject({ code: 0, out: published });
  });

  test('or the reference page', async () => {
    const published = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'reference', 'config.md'), 'utf8');
    expect((await cli(['schema', '--markdown'])).out).toBe(published);
  });
});

describe('version', () => {
  test('says what the program is made of and what this machine can do', async () => {
    const ran = await cli(['version', '--json']);
    expect(json(ran)).toMatchObject({
      schema: 1,
      version: '1.2.3',
      node: process.version,
      openssl: process.versions.openssl,
      planes: [
        expect.objectContaining({ name: 'netstack', available: true }),
        expect.objectContaining({ name: 'tun' }),
        expect.objectContaining({ name: 'netns' }),
        expect.objectContaining({ name: 'xfrm' }),
      ],
      ciphers: expect.arrayContaining(['aes256gcm16', 'chacha20poly1305']),
      keyExchange: expect.arrayContaining(['x25519']),
    });
    const { out } = await cli(['version'], { columns: 80 });
    expect(out).toMatch(/^tunnelwright {3}1\.2\.3$/m);
    expect(out.split('\n').filter((line) => line.length > 80)).toEqual([]);
  });
});

describe('nothing is running', () => {
  test.each([['status'], ['sas'], ['events'], ['rekey x'], ['down x'], ['down --all'], ['get x:y']])(
    '%s says so and what to do',
    async (line) => {
      const { code, out, err } = await cli(line.split(' '), { env: { XDG_RUNTIME_DIR: '/nonexistent' } });
      expect({ code, out }).toEqual({ code: EXIT.notFound, out: '' });
      expect(err).toBe(
        '✗ nothing is running here   exit 3\n  fix   Start a gateway with tunnelwright serve, or connect with tunnelwright up TARGET.\n',
      );
    },
  );

  test('for scripts an empty list', async () => {
    const ran = await cli(['status', '--json'], { env: { XDG_RUNTIME_DIR: '/nonexistent' } });
    expect(ran.code).toBe(3);
    expect(json(ran)).toEqual({ schema: 1, instances: [] });
  });

  test('a socket that is named must be there', async () => {
    expect(await cli(['status', '--control', '/nonexistent/x.sock'])).toMatchObject({
      code: 3,
      err: expect.stringContaining('nothing is running at /nonexistent/x.sock'),
    });
  });
});

describe('colours', () => {
  const coloured = async (env: Record<string, string>, tty: boolean, ...flags: string[]) =>
    (await cli(['status', ...flags], { env, tty })).err.includes('\u001b[');

  test('only on a terminal that wants them', async () => {
    expect(await coloured({}, true)).toBe(true);
    expect(await coloured({}, false)).toBe(false);
    expect(await coloured({ NO_COLOR: '1' }, true)).toBe(false);
    expect(await coloured({ NO_COLOR: '' }, true)).toBe(true);
    expect(await coloured({ TERM: 'dumb' }, true)).toBe(false);
    expect(await coloured({}, true, '--no-color')).toBe(false);
    expect(await coloured({ FORCE_COLOR: '1' }, false)).toBe(true);
  });
});

test('no listener for Ctrl-C stays behind', async () => {
  const run = new Cli(['status']);
  await run.done;
  expect(run.deaf).toBe(true);
});

describe('decode', () => {
  test('a file that is not there, and one that is no capture', async () => {
    expect(await cli(['decode', 'nowhere.pcap'])).toMatchObject({
      code: 3,
      err: expect.stringContaining('nowhere.pcap: there is no such file'),
    });
    expect(await cli(['decode', '-'], { stdin: new TextEncoder().encode('hello, this is no capture at all') })).toMatchObject({
      code: 1,
      err: expect.stringContaining('✗'),
    });
    expect(await cli(['decode', '-', '--nat-port', '0'])).toMatchObject({ code: 2 });
    expect(await cli(['decode', 'x', '--keys', '/nonexistent'])).toMatchObject({ code: 3 });
  });
});

const CAPTURES = 'vectors/captures';
describeWithShared('decode of captures of others', CAPTURES, () => {
  test('text, brief and JSON say the same number of packets', async () => {
    const { listShared } = await import('../support/shared.ts');
    const file = listShared(CAPTURES, '.pcap').find((name) => /ikev2/i.test(name)) ?? listShared(CAPTURES, '.pcap')[0]!;
    const ran = await cli(['decode', sharedPath(file), '--json']);
    const packets = (json(ran).packets as unknown[]).length;
    expect(packets).toBeGreaterThan(0);
    const brief = await cli(['decode', sharedPath(file), '--brief']);
    expect(brief.out.trimEnd().split('\n')).toHaveLength(packets);
    expect((await cli(['decode', sharedPath(file)])).out.length).toBeGreaterThan(brief.out.length);
  });
});
