import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { utils } from 'ssh2';
import { afterEach, describe, expect, test } from 'vitest';
import { readAuthorizedKeys } from '../../../src/product/sftp/authorized-keys.ts';
import type { Credential } from '../../../src/product/sftp/login.ts';
import { readPrivateKey } from '../../../src/product/sftp/private-key.ts';
import { folder, Scene } from './scene.ts';

const PASSPHRASE = 'correct horse';

const pair = () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs1', format: 'pem' }).toString();
const [ours, foreign] = [pair(), pair()];

function publicOf(pem: string): Buffer {
  const parsed = utils.parseKey(pem);
  if (parsed instanceof Error) throw parsed;
  return parsed.getPublicSSH();
}

/** A server that lets in who holds our key. */
async function strict(): Promise<Scene> {
  const file = join(folder(), 'authorized_keys');
  writeFileSync(file, `ssh-rsa ${publicOf(ours).toString('base64')}\n`);
  return Scene.open({ authorizedKeys: await readAuthorizedKeys(file) });
}

const enter = async (scene: Scene, credentials: readonly Credential[]): Promise<string> =>
  scene
    .link({ credentials })
    .session()
    .then(
      (session) => session.realpath('.'),
      (error: { message: string }) => error.message,
    );

const agents: Agent[] = [];
afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.close();
});

/** As ssh-agent speaks to one that asks it for keys and signatures (draft-ietf-sshm-ssh-agent). */
class Agent {
  readonly path = join(folder(), 'agent.sock');
  signatures = 0;
  readonly #keys: readonly string[];
  readonly #open = new Set<Socket>();
  readonly #server = createServer((socket) => this.#serve(socket));

  static async start(...keys: string[]): Promise<Agent> {
    const agent = new Agent(keys);
    await new Promise<void>((resolve) => void agent.#server.listen(agent.path, resolve));
    agents.push(agent);
    return agent;
  }

  private constructor(keys: readonly string[]) {
    this.#keys = keys;
  }

  close(): Promise<unknown> {
    for (const socket of this.#open) socket.destroy();
    return new Promise((resolve) => void this.#server.close(resolve));
  }

  #serve(socket: Socket): void {
    this.#open.add(socket);
    socket.on('error', () => undefined);
    let waiting = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      waiting = Buffer.concat([waiting, chunk]);
      while (waiting.length >= 4 && waiting.length >= 4 + waiting.readUInt32BE()) {
        const end = 4 + waiting.readUInt32BE();
        socket.write(string(this.#answer(waiting.subarray(4, end))));
        waiting = waiting.subarray(end);
      }
    });
  }

  #answer(request: Buffer): Buffer {
    if (request[0] === REQUEST_IDENTITIES) {
      const identities = this.#keys.map((key) => Buffer.concat([string(publicOf(key)), string(Buffer.from('a key'))]));
      return Buffer.concat([Buffer.of(IDENTITIES_ANSWER), number(this.#keys.length), ...identities]);
    }
    const [blob, data] = stringsOf(request.subarray(1));
    const key = this.#keys.find((candidate) => publicOf(candidate).equals(blob!));
    if (request[0] !== SIGN_REQUEST || key === undefined) return Buffer.of(FAILURE);
    this.signatures++;
    const hash = (request.readUInt32BE(request.length - 4) & RSA_SHA2_512) === 0 ? '256' : '512';
    const signature = sign(`sha${hash}`, data!, createPrivateKey(key));
    return Buffer.concat([Buffer.of(SIGN_RESPONSE), string(Buffer.concat([string(Buffer.from(`rsa-sha2-${hash}`)), string(signature)]))]);
  }
}

const [REQUEST_IDENTITIES, IDENTITIES_ANSWER, SIGN_REQUEST, SIGN_RESPONSE, FAILURE] = [11, 12, 13, 14, 5];
/** Flag of a request to sign. */
const RSA_SHA2_512 = 4;

const number = (value: number): Buffer => {
  const octets = Buffer.alloc(4);
  octets.writeUInt32BE(value);
  return octets;
};
const string = (octets: Buffer): Buffer => Buffer.concat([number(octets.length), octets]);
function stringsOf(octets: Buffer): Buffer[] {
  const strings: Buffer[] = [];
  for (let at = 0; at + 4 <= octets.length && at + 4 + octets.readUInt32BE(at) <= octets.length; ) {
    strings.push(octets.subarray(at + 4, at + 4 + octets.readUInt32BE(at)));
    at += 4 + octets.readUInt32BE(at);
  }
  return strings;
}

describe('an agent', () => {
  test('signs for who comes, with the key of several that the server knows', async () => {
    const agent = await Agent.start(foreign, ours);
    expect(await enter(await strict(), [{ kind: 'agent', socket: agent.path }])).toBe('/');
    expect(agent.signatures, 'only the key that is known is put to use').toBe(1);
  });

  test('without the right key is of no help, and that is said', async () => {
    const agent = await Agent.start(foreign);
    expect(await enter(await strict(), [{ kind: 'agent', socket: agent.path }])).toContain('it refused the agent');
    expect(agent.signatures).toBe(0);
  });

  test('that is gone keeps nobody from the next way in', async () => {
    const socket = join(folder(), 'nobody.sock');
    expect(existsSync(socket)).toBe(false);
    const key: Credential = { kind: 'key', name: 'id', load: async () => ({ key: ours }) };
    expect(await enter(await strict(), [{ kind: 'agent', socket }, key])).toBe('/');
  });
});

describe('a key with a passphrase', () => {
  const encrypted = createPrivateKey(ours)
    .export({ type: 'pkcs1', format: 'pem', cipher: 'aes-256-cbc', passphrase: PASSPHRASE })
    .toString();

  function keyFile(text = encrypted): string {
    const file = join(folder(), 'id_rsa');
    writeFileSync(file, text, { mode: 0o600 });
    return file;
  }

  /** Somebody who types these, and what they were asked. */
  function typing(...words: (string | undefined)[]): {
    readonly ask: (wrong: boolean) => Promise<string | undefined>;
    readonly asked: boolean[];
  } {
    const asked: boolean[] = [];
    return {
      asked,
      ask: async (wrong) => {
        asked.push(wrong);
        return words.shift();
      },
    };
  }

  test('opens for who knows it, and lets in', async () => {
    const { ask, asked } = typing('wrong', PASSPHRASE);
    const file = keyFile();
    expect(await enter(await strict(), [{ kind: 'key', name: 'id_rsa', load: () => readPrivateKey(file, ask) }])).toBe('/');
    expect(asked, 'the second time it is said that the first was wrong').toEqual([false, true]);
  });

  test('is left alone by who types nothing', async () => {
    expect(await readPrivateKey(keyFile(), typing('').ask)).toBeUndefined();
    expect(await readPrivateKey(keyFile(), typing(undefined).ask)).toBeUndefined();
  });

  test('three times wrong is enough', async () => {
    const { ask, asked } = typing('a', 'b', 'c', PASSPHRASE);
    await expect(readPrivateKey(keyFile(), ask)).rejects.toMatchObject({ code: 'SSH_KEY_ENCRYPTED' });
    expect(asked).toHaveLength(3);
  });

  test('with nobody to ask says what to do', async () => {
    await expect(readPrivateKey(keyFile())).rejects.toMatchObject({ code: 'SSH_KEY_ENCRYPTED', hint: expect.stringContaining('ssh-add') });
  });

  test('one without needs nobody', async () => {
    expect(await readPrivateKey(keyFile(ours))).toEqual({ key: ours });
  });
});
