import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { utils } from 'ssh2';
import { describe, expect, test } from 'vitest';
import { Passwords, readAuthorizedKeys } from '../../../src/product/sftp/authorized-keys.ts';
import { newEd25519Key } from '../../../src/product/sftp/ed25519-key.ts';
import type { Credential } from '../../../src/product/sftp/login.ts';
import type { SftpServerOptions } from '../../../src/product/sftp/server.ts';
import { folder, Scene } from './scene.ts';

const pairOf = (text: string) => {
  const parsed = utils.parseKey(text);
  if (parsed instanceof Error) throw parsed;
  return { private: text, public: `${parsed.type} ${parsed.getPublicSSH().toString('base64')}` };
};
const ours = pairOf(newEd25519Key());
const foreign = pairOf(newEd25519Key());
const rsa = pairOf(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs1', format: 'pem' }).toString());

async function keysOf(...lines: string[]): Promise<Pick<SftpServerOptions, 'authorizedKeys'>> {
  const file = join(folder(), 'authorized_keys');
  writeFileSync(file, `# who may\n\n${lines.join('\n')}\n`);
  return { authorizedKeys: await readAuthorizedKeys(file) };
}

async function passwordsOf(text: string): Promise<Pick<SftpServerOptions, 'passwords'>> {
  const file = join(folder(), 'passwords');
  writeFileSync(file, text, { mode: 0o600 });
  return { passwords: await Passwords.read(file) };
}

const key = (pair: { readonly private: string }): Credential => ({ kind: 'key', name: 'id', load: async () => ({ key: pair.private }) });
const password = (text: string): Credential => ({ kind: 'password', password: async () => text });

describe('who may come in', () => {
  const enter = async (options: Partial<SftpServerOptions>, credentials: readonly Credential[], user = 'alice'): Promise<string> => {
    const scene = await Scene.open(options);
    const link = scene.link({ credentials, user });
    return link.session().then(
      (session) => session.realpath('.'),
      (error: { code: string; message: string }) => `${error.code} ${error.message}`,
    );
  };

  test('everybody whom the tunnel has proven, where nothing else is asked for', async () => {
    expect(await enter({}, [])).toBe('/');
  });

  test('who holds a key', async () => {
    expect(await enter(await keysOf(ours.public), [key(foreign), key(ours)])).toBe('/');
    expect(await enter(await keysOf(ours.public, rsa.public), [key(rsa)])).toBe('/');
  });

  test('and nobody else', async () => {
    expect(await enter(await keysOf(ours.public), [key(foreign), password('x')])).toBe(
      'SFTP_LOGIN alice@files.example.com: the server does not let us in: it refused key id; it takes publickey',
    );
  });

  test('who knows a password', async () => {
    const options = await passwordsOf('alice:secret:with colon\nbob:other\n');
    expect(await enter(options, [password('secret:with colon')])).toBe('/');
    expect(await enter(options, [password('other')], 'carol')).toMatch(/^SFTP_LOGIN .*it refused a password; it takes password$/);
    expect(await enter(options, [password('')], 'carol')).toMatch(/^SFTP_LOGIN /);
  });

  test('is told by name, from coming to going', async () => {
    const scene = await Scene.open();
    const link = scene.link({ peer: 'laptop', user: 'bob' });
    await link.session();
    link.close();
    await expect
      .poll(() => scene.events, { timeout: 20_000 })
      .toEqual([
        { kind: 'opened', peer: 'laptop', user: 'bob' },
        { kind: 'closed', peer: 'laptop', user: 'bob' },
      ]);
  });

  test('is not asked for a secret that is of no use', async () => {
    let asked = 0;
    const curious: Credential = {
      kind: 'password',
      password: async () => {
        asked++;
        return 'x';
      },
    };
    await enter(await keysOf(ours.public), [curious]);
    await enter({}, [curious]);
    expect(asked).toBe(0);
  });
});

describe('files that say who may', () => {
  test('a key with options is refused, not let in without them', async () => {
    await expect(keysOf(`restrict,from="10.0.0.1" ${ours.public}`)).rejects.toMatchObject({ code: 'AUTHORIZED_KEYS', line: 3 });
    await expect(keysOf('ssh-dss AAAA')).rejects.toMatchObject({ code: 'AUTHORIZED_KEYS' });
  });

  test('passwords that others may read are refused', async () => {
    const file = join(folder(), 'passwords');
    writeFileSync(file, 'alice:secret\n');
    chmodSync(file, 0o644);
    await expect(Passwords.read(file)).rejects.toMatchObject({ code: 'SECRET_FILE_PERMISSIONS' });
  });

  test.each(['alice', ':x', 'alice:'])('passwords are lines USER:PASSWORD, and %s is none', async (line) => {
    await expect(passwordsOf(`bob:b\n${line}\n`)).rejects.toMatchObject({ code: 'PASSWORD_FILE', line: 2 });
  });
});

describe('guessing', () => {
  test('six wrong passwords end the connection, and each is answered late', async () => {
    const waits: number[] = [];
    const timing = {
      now: () => performance.now(),
      after: (milliseconds: number, action: () => void) => {
        if (milliseconds > 60_000) return () => {};
        waits.push(milliseconds);
        setImmediate(action);
        return () => {};
      },
    };
    const scene = await Scene.open({ ...(await passwordsOf('alice:secret\n')), timing });
    const wrong = Array.from({ length: 10 }, (_, i) => password(`guess ${i}`));
    await expect(scene.link({ credentials: wrong }).session()).rejects.toThrow();
    expect(waits).toEqual([1000, 1000, 1000, 1000, 1000]);
    expect(scene.events).toEqual([]);
  });
});
