import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { filesBelow, ROOT, readSource } from '../architecture/sources.ts';
import { CHECKLIST, type Row, RULES } from './checklist.ts';

const sources = filesBelow('src', '.ts').map(readSource);
const entries = [
  ...CHECKLIST.map((row) => [row.names.join(', '), row] as const),
  ...RULES.map((row) => [row.rule, row] as const),
] satisfies (readonly [string, Pick<Row, 'tests' | 'waits' | 'untestable'>])[];

describe('what went wrong elsewhere', () => {
  test.each(entries)('%s: has its tests, or a reason', (_name, { tests, waits, untestable }) => {
    const missing = Object.entries(tests ?? {}).flatMap(([file, titles]) =>
      titles.filter((title) => !titlesOf(file).includes(title)).map((title) => `${file}: ${title}`),
    );
    expect(missing).toEqual([]);
    expect(tests ?? waits ?? untestable).toBeDefined();
  });

  test.each(entries.filter(([, { waits }]) => waits !== undefined))('%s: still waits for a part that is not built', (_name, { waits }) => {
    const built = sources.map(({ path }) => path).filter((path) => waits!.room.test(path));
    expect(built, 'this part is there now: give the row in test/security/checklist.ts its tests, and take `waits` off').toEqual([]);
  });

  test('no CVE stands twice', () => {
    const names = CHECKLIST.flatMap((row) => row.names);
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
  });

  test('the check itself: a title that is not there is noticed', () => {
    expect(titlesOf('security/checklist.test.ts').includes('the check itself')).toBe(true);
    expect(titlesOf('security/checklist.test.ts').includes(['a title', 'nobody has'].join(' '))).toBe(false);
    expect(titlesOf('security/nowhere.test.ts')).toBe('');
  });
});

describe('rules that the source itself shows', () => {
  const where = (pattern: RegExp, folders = /^src\//): string[] =>
    sources.filter(({ path, text }) => folders.test(path) && pattern.test(text)).map(({ path }) => path);

  test('CVE-2023-28771: no shell, and every program that is started is named here', () => {
    const starters = where(/child_process/);
    const started = Object.fromEntries(
      sources
        .filter(({ path }) => starters.includes(path))
        .map(({ path, text }) => [
          path.replace('src/host/platform/', ''),
          [...text.matchAll(/\b(?:spawn|fork)\(([^,]+),/g)].map(([, what]) => what),
        ]),
    );
    expect(started).toEqual({
      'detached.ts': ['process.execPath'],
      'worker-process.ts': ['process.execPath'],
      // what the user wrote behind `exec --`, or runs in the namespace of the plane `netns`, its arguments apart
      'program.ts': ['command'],
      'linux/namespace.ts': ["'unshare'", "'unshare'"],
      // Node with a module of ours, by the same way into the namespace
      'linux/namespace-sockets.ts': ['program'],
      // the address is a literal that was parsed before
      'system-ping.ts': ["'ping'"],
    });
    expect(where(/\bshell\b|\bexec(?:File)?(?:Sync)?\(/).filter((path) => starters.includes(path))).toEqual([]);
    expect(where(/\bnew Function\(|\beval\(|node:vm/)).toEqual([]);
  });

  test('CVE-2022-40617: nothing fetches what a certificate or a peer names, but for certificates below a place that the operator has named', () => {
    // `tunnel.fetch` and the agents are the user's own calls, through the tunnel: nobody else has them
    const ofUsers = /^src\/product\/(?:reach\/(?:agents|fetch)|client\/tunnel)\.ts$/;
    expect(where(/(?<![#.\w])fetch\(|node:https|\bnode:http2/).filter((path) => !ofUsers.test(path))).toEqual([]);
    expect(where(/reach\/(?:agents|fetch|index)\.ts'/, /^src\/(?:core|host|product\/config)\//)).toEqual([]);
    expect(where(/from 'node:http'/, /^src\/(?:core|host)\//)).toEqual(['src/host/platform/http.ts']);
    expect(where(/httpGet\b/, /^src\/(?!host\/platform\/)/)).toEqual([
      'src/host/engine/credentials/credentials.ts',
      'src/host/engine/credentials/keyring.ts',
      'src/product/config/prepare.ts',
    ]);
  });

  test('AUTH, ICVs and cookies are compared in constant time', () => {
    for (const path of [
      'src/core/ike/tasks/cookie.ts',
      'src/host/engine/credentials/secrets.ts',
      'src/core/crypto/packet-ciphers/encrypt-then-mac.ts',
    ]) {
      expect(where(/equalSecrets|timingSafeEqual/), path).toContain(path);
    }
  });

  test('randomness comes from one place, and from nowhere that can be guessed', () => {
    expect(where(/Math\.random/)).toEqual([]);
    const drawing = where(
      /\brandomBytes\b|\bgetRandomValues\b|\brandomFillSync\b|\brandomInt\b|\brandomUUID\b/,
      /^src\/(?:core|host|product)\//,
    );
    expect(drawing.filter((path) => !DRAWN_BY.has(path))).toEqual([]);
  });
});

/** Who draws random octets by itself; everybody else is handed a source. */
const DRAWN_BY: ReadonlySet<string> = new Set([
  'src/core/crypto/system-random.ts',
  // the one secret that outlives this process, and the name of the file that it is written to
  'src/host/platform/lasting-secret.ts',
  // names of uploads, which nobody may guess
  'src/product/transfer/server/server.ts',
  // names of what arrives and has none of its own yet, in a folder that others use
  'src/product/transfer/tree/sink.ts',
  // the same for what is to take the place of a file, beside it
  'src/product/sftp/server-draft.ts',
  // the salt of a hashed name in known_hosts
  'src/product/sftp/known-hosts.ts',
]);

function titlesOf(file: string): string {
  const path = join(ROOT, 'test', file);
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}
