import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, expect, test } from 'vitest';
import type { CliContext } from '../../src/cli/context.ts';
import { credentialsFrom } from '../../src/cli/sftp/credentials.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A terminal with somebody at it, or none; what is typed, and what is shown. */
function person(tty: boolean): { readonly context: CliContext; readonly type: (line: string) => void; readonly shown: () => string } {
  const home = mkdtempSync(join(tmpdir(), 'sftp-cli-'));
  folders.push(home);
  const input = Object.assign(new PassThrough(), { isTTY: tty });
  const output = new PassThrough();
  let shown = '';
  output.on('data', (chunk: Uint8Array) => {
    shown += String(chunk);
  });
  const write = (text: string): void => {
    shown += text;
  };
  const context = { cwd: home, home, env: {}, err: { isTty: tty, columns: 80, write }, stdio: () => ({ input, output }) };
  return { context: context as unknown as CliContext, type: (line) => void input.write(`${line}\r`), shown: () => shown };
}

const says = (of: { readonly shown: () => string }, text: string): Promise<void> =>
  expect.poll(of.shown, { timeout: 60_000, interval: 5 }).toContain(text);

test('who sits at the terminal is asked for the passphrase, which is not shown, and for no second time', async () => {
  const at = person(true);
  const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const pem = key.export({ type: 'pkcs1', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'hidden words' });
  writeFileSync(join(at.context.home, 'id'), pem, { mode: 0o600 });
  const [credential] = credentialsFrom({ identity: ['id'] }, 'alice', at.context);
  if (credential?.kind !== 'key') expect.fail('a key was named');
  const loaded = credential.load();
  await says(at, `Passphrase of ${join(at.context.home, 'id')}: `);
  at.type('something else');
  await says(at, 'That is not it. Passphrase of');
  at.type('hidden words');
  expect(await loaded).toMatchObject({ passphrase: 'hidden words' });
  expect(await credential.load()).toBe(await loaded);
  expect(at.shown()).not.toMatch(/hidden|something/);
});

test('a password is asked for without being shown; an answer that may be seen is', async () => {
  const at = person(true);
  const credentials = credentialsFrom({}, 'alice@files', at.context);
  expect(credentials.map(({ kind }) => kind)).toEqual(['questions', 'password']);
  const [questions, password] = credentials;
  if (questions?.kind !== 'questions' || password?.kind !== 'password') expect.fail('two ways to ask a person');
  const asked = password.password();
  await says(at, "alice@files's password: ");
  at.type('hidden');
  expect(await asked).toBe('hidden');
  expect(at.shown()).not.toContain('hidden');
  const answered = questions.answer('Two steps', [
    { text: 'Token: ', echo: true },
    { text: 'PIN: ', echo: false },
  ]);
  await says(at, 'Two steps\n');
  await says(at, 'Token: ');
  at.type('12345');
  await says(at, 'PIN: ');
  at.type('0000');
  expect(await answered).toEqual(['12345', '0000']);
  expect(at.shown()).toContain('12345');
  expect(at.shown()).not.toContain('0000');
});

test('without a terminal nobody is asked', () => {
  expect(credentialsFrom({}, 'alice', person(false).context)).toEqual([]);
});

test('the agent comes first, and is missed where it was named', () => {
  const { context } = person(false);
  const withAgent = { ...context, env: { SSH_AUTH_SOCK: '/run/agent' } };
  expect(credentialsFrom({}, 'alice', withAgent)).toEqual([{ kind: 'agent', socket: '/run/agent' }]);
  expect(credentialsFrom({ agent: true }, 'alice', withAgent)).toEqual([{ kind: 'agent', socket: '/run/agent' }]);
  expect(() => credentialsFrom({ agent: true }, 'alice', context)).toThrow('there is no ssh-agent');
});
