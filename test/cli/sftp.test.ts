import { existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseSftpTarget, wordsOf } from '../../src/cli/sftp/words.ts';
import { type Cli, type CliOptions, cli } from './harness.ts';
import { clientOf, portsOf, User } from './user.ts';

/** A gateway that serves a folder and a client, both as the command line has them, in one process over loopback. */
let user: User;
let folder: string;
let options: CliOptions;
let gateway: Cli;

const sftp = (...words: string[]) => cli(['sftp', 'alice@10.66.0.1', '--known-hosts', 'known', '--accept-new', ...words], options);

beforeAll(async () => {
  user = new User();
  ({ folder, options } = user);
  mkdirSync(join(folder, 'served', 'inner'), { recursive: true });
  user.put('served/report.txt', 'forty-two\n');
  user.put('served/inner/deep.txt', 'deep\n');
  user.put(
    'gateway.yaml',
    `connections:
  clients:
    pools: clients
    local: {auth: psk, id: home.example.com}
    remote: {auth: psk}
    children: {net: {local_ts: 0.0.0.0/0}}
pools: {clients: {addrs: 10.66.0.0/24}}
secrets: {home: {kind: psk, secret_file: home.psk}}
listen: {addresses: 127.0.0.1, port: 0, nat_port: 0}
state: state
`,
  );
  gateway = user.start('serve', '--config', 'gateway.yaml', '--sftp', 'served');
  user.put('client.yaml', clientOf(await portsOf(gateway)));
  await user.start('up', 'home', '--config', 'client.yaml', '--name', 'laptop').says(/✓ up in/);
});
afterAll(() => user.leave());

describe('tunnelwright sftp', () => {
  test('asks for the key of a server that was never seen, and says how to go on', async () => {
    const { code, err } = await cli(['sftp', 'alice@10.66.0.1', '--known-hosts', 'nobody', 'ls'], options);
    expect(err).toMatch(/10\.66\.0\.1 is not known yet: it shows SHA256:\S+ \(ssh-ed25519\) {3}exit 4\n {2}fix {3}Compare that/);
    expect(code).toBe(4);
    expect(existsSync(join(folder, 'nobody'))).toBe(false);
    const [, shown] = /it shows (SHA256:\S+)/.exec(err)!;
    expect(gateway.out, 'what the gateway printed when it began').toContain(`host key ${shown}`);
    expect(await cli(['sftp', 'alice@10.66.0.1', '--host-key', shown!, 'pwd'], options)).toMatchObject({ code: 0, out: '/\n' });
  });

  test('gets, puts and lists', async () => {
    expect(await sftp('ls')).toMatchObject({ code: 0, out: 'inner/\nreport.txt\n' });
    expect((await sftp('ls', '-l', 'report.txt')).out).toMatch(/^-rw------- +10 B {2}\w{3} [ \d]\d \d\d:\d\d {2}report\.txt\n$/);
    const got = await sftp('get', 'report.txt', 'got.txt');
    expect(got.out).toMatch(/^\/report\.txt → \S+\/got\.txt {2}10 B in [\d.]+ m?s(, \d+ B\/s)?\n$/);
    expect(readFileSync(join(folder, 'got.txt'), 'utf8')).toBe('forty-two\n');
    user.put('new.txt', 'new');
    expect(await sftp('put', 'new.txt', 'inner')).toMatchObject({ code: 0 });
    expect(readFileSync(join(folder, 'served', 'inner', 'new.txt'), 'utf8')).toBe('new');
    expect(gateway.out).toMatch(/sftp {2}laptop@home\.example\.com sent 3 B to \/inner\/\.new\.txt\.[0-9a-f]{16}\.part/);
  });

  test('copies a folder, and the second time only what is new', async () => {
    symlinkSync('report.txt', join(folder, 'served', 'link'));
    const first = JSON.parse((await sftp('--json', 'get', '/', 'copy')).out);
    expect(first).toMatchObject({ schema: 1, command: 'get', same: 0, left: [{ path: '/link', why: 'is a link' }] });
    expect(readFileSync(join(folder, 'copy', 'inner', 'deep.txt'), 'utf8')).toBe('deep\n');
    expect(statSync(join(folder, 'copy', 'report.txt')).mtimeMs).toBe(
      Math.floor(statSync(join(folder, 'served', 'report.txt')).mtimeMs / 1000) * 1000,
    );
    rmSync(join(folder, 'copy', 'report.txt'));
    rmSync(join(folder, 'served', 'link'));
    // a folder that is there already takes what is named into itself, so what it holds is named
    const second = JSON.parse((await sftp('--json', 'get', '/*', 'copy')).out);
    expect(second.files.map(({ path }: { path: string }) => path)).toEqual([join(folder, 'copy', 'report.txt')]);
    expect(second.same).toBeGreaterThan(0);
    user.put('copy/inner/more.txt', 'more');
    const back = JSON.parse((await sftp('--json', 'put', 'copy', '/back')).out);
    expect(back.files).toHaveLength(second.same + 2);
    expect(readFileSync(join(folder, 'served', 'back', 'inner', 'more.txt'), 'utf8')).toBe('more');
  });

  test('does lines of its input, and stops at the first that fails', async () => {
    const lines = `# a comment
mkdir "two words"
-rm no-such-file
cd 'two words'
put ${join(folder, 'home.psk')} kept
chmod 600 kept
rename kept moved
ls
cd /nowhere
mkdir never
`;
    const { code, out, err } = await cli(['sftp', 'alice@10.66.0.1', '--known-hosts', 'known'], {
      ...options,
      stdin: new TextEncoder().encode(lines),
    });
    expect(out).toMatch(/\/two words\n\S+\/home\.psk → \/two words\/kept .*\nmoved\n$/);
    expect(err).toMatch(/no-such-file: no such file on the server.*\/nowhere: no such file on the server/s);
    expect(code).toBe(3);
    expect(existsSync(join(folder, 'served', 'two words', 'moved'))).toBe(true);
    expect(existsSync(join(folder, 'served', 'two words', 'never'))).toBe(false);
  });

  test.each([
    [['get', 'nothing'], 3, /\/nothing: no such file on the server/],
    [['get', '*.pdf'], 3, /\*\.pdf fits nothing/],
    [['fetch', 'x'], 2, /fetch is no command of sftp/],
    [['get'], 2, /Write: get REMOTE\.\.\. \[LOCAL\]/],
    [['get', '--recursive', 'x'], 2, /--recursive is no flag of sftp/],
    [['put', 'nowhere.txt'], 3, /nowhere\.txt: no such file/],
    [['put', 'home.psk', 'client.yaml', 'report.txt'], 2, /report\.txt is no folder/],
    [['chmod', 'u+x', 'report.txt'], 2, /u\+x is no mode/],
    [['ln', '-s', '/etc', 'way'], 1, /server denies permission/],
    [['df'], 0, /free of/],
  ] as const)('%j ends with %i', async (words, exit, says) => {
    const { code, out, err } = await sftp(...words);
    expect(`${out}${err}`).toMatch(says);
    expect(code).toBe(exit);
  });

  test('a port where nothing listens, and a server that is none, are told at once', async () => {
    expect(await cli(['sftp', 'alice@10.66.0.1:23', 'ls'], options)).toMatchObject({ code: 6 });
    expect(await cli(['sftp', 'alice@', 'ls'], options)).toMatchObject({ code: 2 });
    expect(await cli(['sftp', '10.66.0.1', 'ls'], options)).toMatchObject({ code: 2, err: expect.stringContaining('USER@10.66.0.1') });
  });
});

describe('the words of a line', () => {
  test.each([
    ['get a b', ['get', 'a', 'b']],
    [`put "two words" 'it''s' a\\ b`, ['put', 'two words', 'its', 'a b']],
    ['  # nothing', []],
    ['ls a#b # rest', ['ls', 'a#b']],
    [`rm "" '\\'`, ['rm', '', '\\']],
  ])('%s', (line, words) => {
    expect(wordsOf(line)).toEqual(words);
  });

  test('a quote that does not end is an error', () => {
    expect(() => wordsOf('get "x')).toThrow(/does not end/);
  });

  test.each([
    ['alice@files.internal', { user: 'alice', host: 'files.internal', port: 22 }],
    ['files.internal:2022', { user: 'me', host: 'files.internal', port: 2022 }],
    ['sftp://bob@[fd00::5]:2022/', { user: 'bob', host: 'fd00::5', port: 2022 }],
  ])('%s', (text, target) => {
    expect(parseSftpTarget(text, 'me')).toEqual(target);
  });

  test.each(['', '@x', 'a@b@c', 'a@b:0', 'a@b:65536', 'a@b:x', '-oProxyCommand=x y', 'fd00::5'])('%s is no server', (text) => {
    expect(() => parseSftpTarget(text, 'me')).toThrow();
  });
});
