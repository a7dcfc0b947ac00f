import { createPrivateKey, randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { CliContext } from '../../src/cli/context.ts';
import { buildProgram } from '../../src/cli/program.ts';
import { startWorker } from '../../src/host/platform/worker-process.ts';
import { createClient } from '../../src/product/client/index.ts';
import { compile, loadConfig } from '../../src/product/config/index.ts';
import { createGateway } from '../../src/product/gateway/index.ts';
import { Cli, type CliOptions, cli } from '../cli/harness.ts';
import { TestPki } from '../cli/pki.ts';
import { SecretScanner } from './support/secret-scanner.ts';

/**
 * SECURITY.md: secrets leave the process only by an explicit command for key logging. Gateways and clients run with every log turned up and
 * `--keylog` off, while the primitives tell this test which keys were derived; then everything that came out is searched for them.
 */
const derived = vi.hoisted(() => ({ secrets: [] as { name: string; octets: Uint8Array }[] }));

vi.mock('../../src/core/crypto/prf.ts', async (original) => {
  const actual = await original<typeof import('../../src/core/crypto/prf.ts')>();
  const prfPlus: typeof actual.prfPlus = (f, key, seed, length) => {
    const stream = actual.prfPlus(f, key, seed, length);
    derived.secrets.push({ name: 'SKEYSEED or SK_d', octets: key.slice() }, { name: 'SK_* or KEYMAT', octets: stream.slice() });
    return stream;
  };
  return { ...actual, prfPlus };
});

vi.mock('../../src/core/crypto/packet-ciphers.ts', async (original) => {
  const actual = await original<typeof import('../../src/core/crypto/packet-ciphers.ts')>();
  const createPacketCipher: typeof actual.createPacketCipher = (keys, ...rest) => {
    derived.secrets.push({ name: 'a key of a cipher', octets: keys.encryptionKey.slice() });
    if (keys.integrityKey) derived.secrets.push({ name: 'a key of a MAC', octets: keys.integrityKey.slice() });
    return actual.createPacketCipher(keys, ...rest);
  };
  return { ...actual, createPacketCipher };
});

vi.mock('../../src/host/platform/linux/evp.ts', async (original) => {
  const actual = await original<typeof import('../../src/host/platform/linux/evp.ts')>();
  const packetCiphers: typeof actual.packetCiphers = (native) => {
    const make = actual.packetCiphers(native);
    return (keys) => {
      derived.secrets.push({ name: 'a key of a cipher in place', octets: keys.encryptionKey.slice() });
      if (keys.integrityKey) derived.secrets.push({ name: 'a key of a MAC in place', octets: keys.integrityKey.slice() });
      return make(keys);
    };
  };
  return { ...actual, packetCiphers };
});

vi.mock('../../src/core/crypto/key-exchange.ts', async (original) => {
  const actual = await original<typeof import('../../src/core/crypto/key-exchange.ts')>();
  const keyExchange: typeof actual.keyExchange = (id) => {
    const method = actual.keyExchange(id);
    if (method === undefined) return undefined;
    const note = (octets: Uint8Array) => derived.secrets.push({ name: 'g^ir', octets: octets.slice() });
    return {
      ...method,
      offer: (seed) => {
        const offer = method.offer(seed);
        const finish = (value: Uint8Array) => {
          const secret = offer.finish(value);
          note(secret);
          return secret;
        };
        return { method: offer.method, publicValue: offer.publicValue, finish, destroy: () => offer.destroy() };
      },
      accept: (value, seed) => {
        const made = method.accept(value, seed);
        note(made.sharedSecret);
        return made;
      },
    };
  };
  return { ...actual, keyExchange };
});

let folder: string;
let options: CliOptions;
let running: Cli[];
let ran: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tw-redaction-'));
  mkdirSync(join(folder, 'run'), { mode: 0o700 });
  options = { cwd: folder, env: { XDG_RUNTIME_DIR: join(folder, 'run') }, columns: 200 };
  running = [];
  ran = [];
  derived.secrets.length = 0;
});
afterEach(async () => {
  await stopAll();
  rmSync(folder, { recursive: true, force: true });
});

describe('the scanner itself', () => {
  const secret = Uint8Array.from({ length: 32 }, (_, i) => (i * 89 + 17) & 0xff);
  const scanner = new SecretScanner();
  scanner.add('it', secret);
  const part = Buffer.from(secret.subarray(5, 18));

  test.each<[string, string | Uint8Array]>([
    ['raw', Uint8Array.from([1, 2, ...part, 3])],
    ['hex', `SK_ei ${part.toString('hex')}`],
    ['HEX with colons', part.toString('hex').toUpperCase().match(/../g)!.join(':')],
    ['a hex dump', part.toString('hex').match(/../g)!.join(' ')],
    ['an odd offset of hex', `a${part.toString('hex')}`],
    ['base64', `x${part.toString('base64')}`],
    ['base64url', part.toString('base64url')],
    [
      'base64 broken into lines',
      part
        .toString('base64')
        .match(/.{1,6}/g)!
        .join('\n'),
    ],
    ['JSON of an array', JSON.stringify([...part])],
    ['JSON of a typed array', JSON.stringify(new Uint8Array(part))],
    ['JSON of a Buffer', JSON.stringify(part)],
    ['inspect', inspect(new Uint8Array(part))],
    ['JSON of a string', JSON.stringify({ text: part.toString('latin1') })],
  ])('finds %s', (_form, text) => expect(scanner.scan(text).length).toBeGreaterThan(0));

  test('finds nothing where nothing is', () => {
    expect(scanner.scan(randomBytes(10_000).toString('hex') + randomBytes(10_000).toString('base64'))).toEqual([]);
  });
});

describe('a gateway and a client that tell everything but keys', () => {
  test.each([
    ['a pre-shared key', false, false],
    ['a pre-shared key, as JSON', false, true],
    ['certificates', true, false],
    ['certificates, as JSON', true, true],
  ])(
    'with %s: up, rekeying, files, trouble and the end',
    async (_what, certificates, asJson) => {
      const secrets = certificates ? writeCertificates() : writePsk();
      const flags = ['-vv', ...(asJson ? ['--json'] : [])];
      const gateway = start(['serve', '--config', 'gateway.yaml', ...flags]);
      const [, ike, nat] = await gateway.says(LISTENING);
      writeClient(certificates, Number(ike), Number(nat));
      const client = start(['up', 'home', '--config', 'client.yaml', ...flags]);
      await client.says(asJson ? /"event":"up"/ : /up in/);
      const watch = start(['events', 'gateway', ...flags]);
      const socket = join(folder, 'run', 'tunnelwright', 'gateway.sock');
      const enough = new AbortController();
      const follow = control(socket, 'GET', '/v1/events?messages=1', { signal: enough.signal });

      writeFileSync(join(folder, 'big.bin'), randomBytes(300_000));
      await run(['send', 'big.bin', 'home:', ...flags]);
      await run(['rekey', 'home', '--children', ...flags]);
      for (const look of ['status', 'sas', 'version']) await run([look, ...flags]);
      for (const path of ['/v1/status', '/v1/sas', '/v1/version', '/v1/nothing']) ran.push(await control(socket, 'GET', path));
      for (const body of ['{', '{"connection":"home","psk":"x"}', '{"connection":"nowhere"}'])
        ran.push(await control(socket, 'POST', '/v1/up', { body }));
      await trouble(certificates, Number(ike), Number(nat), flags);
      enough.abort();
      ran.push(await follow);
      watch.signal();
      await stopAll();

      const everything = ran.join('\n');
      expect(everything).toMatch(/CREATE_CHILD_SA/);
      expect(everything).toMatch(/AUTHENTICATION_FAILED|PEER_AUTHENTICATION_FAILED/);
      expect(everything.length).toBeGreaterThan(10_000);
      const scanner = new SecretScanner();
      for (const { name, octets } of [...secrets, ...derived.secrets]) scanner.add(name, octets);
      expect(derived.secrets.length).toBeGreaterThan(40);
      expect(scanner.scan(everything)).toEqual([]);
      // The same search finds them where they were asked for.
      expect(scanner.scan(Buffer.from(derived.secrets[1]!.octets).toString('hex'))).not.toEqual([]);
    },
    60_000,
  );

  test('what is left on disk: sockets and files for their owner alone, and no key in any of them', async () => {
    const secrets = writePsk();
    const gateway = start(['serve', '--config', 'gateway.yaml']);
    const [, ike, nat] = await gateway.says(LISTENING);
    writeClient(false, Number(ike), Number(nat));
    const client = start(['up', 'home', '--config', 'client.yaml']);
    await client.says(/up in/);
    for (const path of below(join(folder, 'run'))) expect([path, statSync(path).mode & 0o077]).toEqual([path, 0]);
    await stopAll();
    const scanner = new SecretScanner();
    for (const { name, octets } of derived.secrets) scanner.add(name, octets);
    for (const path of below(folder))
      if (statSync(path).isFile()) expect([path, scanner.scan(new Uint8Array(readFileSync(path)))]).toEqual([path, []]);
    expect(secrets).toHaveLength(1);
  }, 30_000);
});

test('with --keylog keys stand in its folder, for their owner alone, and still nowhere else', async () => {
  writePsk();
  const gateway = start(['serve', '--config', 'gateway.yaml', '-vv', '--keylog', 'keys']);
  const [, ike, nat] = await gateway.says(LISTENING);
  writeClient(false, Number(ike), Number(nat));
  const client = start(['up', 'home', '--config', 'client.yaml', '-vv']);
  await client.says(/up in/);
  await stopAll();
  const scanner = new SecretScanner();
  for (const { name, octets } of derived.secrets) scanner.add(name, octets);
  const logged = below(join(folder, 'keys'));
  expect(logged.length).toBeGreaterThan(1);
  for (const path of logged) expect([path, statSync(path).mode & 0o777]).toEqual([path, 0o600]);
  expect(logged.flatMap((path) => scanner.scan(new Uint8Array(readFileSync(path))))).not.toEqual([]);
  expect(scanner.scan(ran.join('\n'))).toEqual([]);
}, 30_000);

describe('objects that somebody prints', () => {
  test('a gateway, its state and what went wrong, by inspect and by JSON', async () => {
    const secrets = [...writePsk(), ...writeCertificates('both')];
    const config = compile(loadConfig(readFileSync(join(folder, 'both.yaml'), 'utf8'), { file: join(folder, 'both.yaml') }));
    const gateway = await createGateway({ config });
    const client = await createClient({ config });
    const failed = await client.up({ connection: 'clients' }).catch((error: unknown) => error);
    const printed = [gateway, client, gateway.ikeSas(), failed, config]
      .map((value) => `${inspect(value, { depth: 12, maxArrayLength: 10_000, showHidden: true })}\n${json(value)}`)
      .join('\n');
    await Promise.all([gateway.close(0), client.close(0)]);
    const scanner = new SecretScanner();
    for (const { name, octets } of secrets) scanner.add(name, octets);
    expect(printed.length).toBeGreaterThan(1000);
    expect(scanner.scan(printed)).toEqual([]);
  });

  test('a mistake in a configuration file is shown without the secret that stands beside it', async () => {
    const inline = 'sooth-lantern-92-orbit-moss';
    const scanner = new SecretScanner();
    scanner.add('an inline secret', new TextEncoder().encode(inline));
    for (const line of [
      `secrets: {home: {kind: psk, secret: ${inline}`,
      `secrets: {home: {kind: psk, secret: "${inline}}}`,
      `secrets: {home: {kind: psk, secrt: ${inline}}}`,
      `secrets: {home: {kind: nonsense, secret: ${inline}}}`,
      `secrets: {home: {kind: psk, secret: {value: ${inline}}}}`,
      `secrets: {home: {kind: psk, secret: 0x${inline}}}`,
      `secrets: {home: {kind: psk, secret: ${inline}, secret_file: x}}`,
      `secrets:\n  home: {kind: psk, secret: ${inline}}\n\tx: 1`,
      ...['*', '!', '!!', '!<', '&', '@', '%', '|', '"abc" '].map(
        (sign) => `secrets:\n  home: {kind: psk}\n  other:\n    kind: psk\n    secret: ${sign}${inline}`,
      ),
      `secrets: {home: {kind: psk, secret: *${inline}}}`,
      `connections: {home: {remote_addrs: 127.0.0.1, local: {auth: psk, psk: ${inline}}}}`,
    ]) {
      writeFileSync(join(folder, 'bad.yaml'), `${line}\n`, { mode: 0o600 });
      for (const flags of [[], ['--json'], ['-vv']]) {
        const { code, out, err } = await cli(['serve', '--config', 'bad.yaml', ...flags], options);
        // some of these are no mistake of the text, and then the file has no connection
        expect([line, code === 0]).toEqual([line, false]);
        expect([line, scanner.scan(out + err)]).toEqual([line, []]);
      }
    }
  });
});

describe('files with secrets that others may read', () => {
  const MODES = ['0640', '0604', '0644', '0660', '0666', '0755'];

  test.each(MODES)('a pre-shared key with mode %s', async (mode) => {
    writePsk();
    chmodSync(join(folder, 'home.psk'), Number.parseInt(mode, 8));
    await expectRefused(['serve', '--config', 'gateway.yaml']);
    await expectRefused(['serve', '--psk-file', 'home.psk', '--port', '0', '--nat-port', '0', '--address', '127.0.0.1']);
    await expectRefused(['up', 'ike://laptop@127.0.0.1:1', '--psk-file', 'home.psk']);
  });

  test.each(MODES)('a private key with mode %s', async (mode) => {
    writeCertificates();
    chmodSync(join(folder, 'gateway.key'), Number.parseInt(mode, 8));
    await expectRefused(['serve', '--config', 'gateway.yaml']);
  });

  test.each(MODES)('a configuration file that holds a secret itself, with mode %s', async (mode) => {
    for (const secret of [
      'home: {kind: psk, secret: a secret that stands in it}',
      'home: {kind: psk, secret_file: home.psk}, key: {kind: private, file: home.psk, secret: a passphrase that stands in it}',
    ]) {
      writePsk();
      const text = readFileSync(join(folder, 'gateway.yaml'), 'utf8').replace(/secrets: .*/, `secrets: {${secret}}`);
      writeFileSync(join(folder, 'gateway.yaml'), text);
      chmodSync(join(folder, 'gateway.yaml'), Number.parseInt(mode, 8));
      await expectRefused(['serve', '--config', 'gateway.yaml']);
    }
  });

  async function expectRefused(argv: readonly string[]): Promise<void> {
    const { code, err } = await cli(argv, options);
    expect([argv, code]).toEqual([argv, 2]);
    expect(err).toMatch(/others may read or change it/);
    expect(err).toMatch(/chmod 600/);
  }
});

describe('what other users of the machine see of a process', () => {
  test('no option of any command takes a secret itself: the command line is everybody’s', () => {
    const { program } = buildProgram({ version: '1', out: { columns: 80 }, err: { columns: 80 } } as CliContext);
    const options = [program, ...program.commands].flatMap((command) =>
      command.options.map((option) => ({ command: command.name(), flags: option.flags })),
    );
    expect(options.length).toBeGreaterThan(30);
    const suspicious = options.filter(({ flags }) => /psk|pass|secret|key|token|credential/i.test(flags));
    expect(suspicious.length).toBeGreaterThan(2);
    // the fingerprint of a public key is public
    expect(suspicious.filter(({ flags }) => /<|\[/.test(flags) && !/<(file|folder|dir|fingerprint)>/.test(flags))).toEqual([]);
  });

  test.skipIf(process.platform !== 'linux')(
    'a process that is started by us gets its setup on its input: neither argv nor environment holds it',
    async () => {
      const module = join(folder, 'worker.mjs');
      writeFileSync(module, "process.stdin.once('data', () => process.stdout.write(JSON.stringify({ pid: process.pid }) + '\\n'));\n");
      const secret = randomBytes(24);
      const scanner = new SecretScanner();
      scanner.add('a secret in the setup', secret);
      const pid = await new Promise<number>((resolve) => {
        const worker = startWorker(
          new URL(`file://${module}`),
          { psk: secret.toString('base64'), hex: secret.toString('hex') },
          (message) => {
            const { pid } = message as { pid: number };
            for (const file of ['cmdline', 'environ'])
              expect(scanner.scan(new Uint8Array(readFileSync(`/proc/${pid}/${file}`)))).toEqual([]);
            void worker.close().then(() => resolve(pid));
          },
        );
      });
      expect(pid).toBeGreaterThan(0);
    },
  );
});

function start(argv: readonly string[]): Cli {
  const one = new Cli(argv, options);
  running.push(one);
  return one;
}

async function run(argv: readonly string[]): Promise<void> {
  const { out, err } = await cli(argv, options);
  ran.push(out, err);
}

async function stopAll(): Promise<void> {
  for (const one of running.splice(0).reverse()) {
    one.signal('SIGTERM');
    const { out, err } = await one.done;
    ran.push(out, err);
  }
}

/** A wrong secret or a certificate of nobody, told by both ends. */
async function trouble(certificates: boolean, ike: number, nat: number, flags: readonly string[]): Promise<void> {
  if (certificates) {
    const elsewhere = join(folder, 'elsewhere');
    mkdirSync(elsewhere);
    new TestPki(elsewhere, 'other').issue('client', 'laptop@home.example.com');
    writeFileSync(join(folder, 'wrong.yaml'), clientText(true, ike, nat).replaceAll('client.', 'elsewhere/client.'), { mode: 0o600 });
  } else {
    writeFileSync(join(folder, 'wrong.psk'), 'quite another secret than that\n', { mode: 0o600 });
    writeFileSync(join(folder, 'wrong.yaml'), clientText(false, ike, nat).replaceAll('home.psk', 'wrong.psk'), { mode: 0o600 });
  }
  await run(['up', 'home', '--config', 'wrong.yaml', '--name', 'wrong', '--control', join(folder, 'run', 'wrong.sock'), ...flags]);
}

interface Known {
  readonly name: string;
  readonly octets: Uint8Array;
}

function writePsk(): Known[] {
  const secret = randomBytes(24).toString('base64');
  writeFileSync(join(folder, 'home.psk'), `${secret}\n`, { mode: 0o600 });
  writeFileSync(join(folder, 'gateway.yaml'), gatewayText('{auth: psk, id: home.example.com}', '{auth: psk}', PSK_FILE), { mode: 0o600 });
  mkdirSync(join(folder, 'inbox'), { recursive: true });
  return [{ name: 'the pre-shared key', octets: new TextEncoder().encode(secret) }];
}

function writeCertificates(file = 'gateway'): Known[] {
  const pki = new TestPki(folder);
  pki.issue('gateway', 'home.example.com', { gateway: true });
  pki.issue('client', 'laptop@home.example.com');
  mkdirSync(join(folder, 'inbox'), { recursive: true });
  const local = '{auth: pubkey, id: home.example.com, certs: gateway.crt, key: gateway.key}';
  writeFileSync(join(folder, `${file}.yaml`), gatewayText(local, '{auth: pubkey, id: "*@home.example.com", cacerts: ca.crt}'), {
    mode: 0o600,
  });
  return ['gateway', 'client'].map((name) => {
    const { d } = createPrivateKey(readFileSync(join(folder, `${name}.key`))).export({ format: 'jwk' });
    return { name: `the private key ${name}`, octets: new Uint8Array(Buffer.from(d!, 'base64url')) };
  });
}

const gatewayText = (local: string, remote: string, secrets = ''): string => `name: gateway
listen: {addresses: 127.0.0.1, port: 0, nat_port: 0}
connections:
  clients:
    local: ${local}
    remote: ${remote}
    pools: lan
    children: {net: {local_ts: 10.66.0.0/24}}
pools: {lan: {addrs: 10.66.0.0/24}}
transfer: {inbox: inbox}
${secrets}`;

const LISTENING = /127\.0\.0\.1:(\d+)"?, ?"?127\.0\.0\.1:(\d+)/;
const PSK_FILE = 'secrets: {home: {kind: psk, secret_file: home.psk}}\n';

const clientText = (certificates: boolean, ike: number, nat: number): string => `connections:
  home:
    remote_addrs: 127.0.0.1
    remote_port: ${ike}
    remote_nat_port: ${nat}
    vips: 0.0.0.0
    retransmission: {initial: 200ms, give_up: 2s}
    local: ${certificates ? '{auth: pubkey, id: laptop@home.example.com, certs: client.crt, key: client.key}' : '{auth: psk, id: laptop@home.example.com}'}
    remote: ${certificates ? '{auth: pubkey, id: home.example.com, cacerts: ca.crt}' : '{auth: psk, id: home.example.com}'}
    children: {net: {remote_ts: 10.66.0.0/24}}
${certificates ? '' : PSK_FILE}listen: {port: 0, nat_port: 0}
`;

function writeClient(certificates: boolean, ike: number, nat: number): void {
  writeFileSync(join(folder, 'client.yaml'), clientText(certificates, ike, nat), { mode: 0o600 });
}

/** What the control socket says; a stream is read until the signal. */
function control(
  socketPath: string,
  method: string,
  path: string,
  { body, signal }: { body?: string; signal?: AbortSignal } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath, method, path, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('close', () => resolve(text));
      signal?.addEventListener('abort', () => response.destroy());
    });
    asking.on('error', reject);
    asking.end(body);
  });
}

function below(path: string): string[] {
  return readdirSync(path, { recursive: true, withFileTypes: true }).map((entry) => join(entry.parentPath, entry.name));
}

function json(value: unknown): string {
  const seen = new Set<unknown>();
  return (
    JSON.stringify(value, (_key, inner: unknown) => {
      if (typeof inner === 'bigint') return String(inner);
      if (typeof inner !== 'object' || inner === null) return inner;
      if (seen.has(inner)) return undefined;
      seen.add(inner);
      return inner;
    }) ?? ''
  );
}
