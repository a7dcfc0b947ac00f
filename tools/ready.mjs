// Makes a fresh clone ready with Node's own modules only: dependencies when they are absent or older than the lock,
// a build when a source is newer than the last one. Silent when there is nothing to do.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const FLOOR = [20, 19];
const STAMP = 'dist/.built';
const root = dirname(dirname(fileURLToPath(import.meta.url)));

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < FLOOR[0] || (major === FLOOR[0] && minor < FLOOR[1])) {
  fail(
    `Tunnelwright needs Node ${FLOOR.join('.')} or newer; this is ${process.version}.`,
    'Install a current Node from your distribution or nodejs.org.',
  );
}

const installed = modified('node_modules/.package-lock.json');
if (installed < modified('package-lock.json')) {
  // Not `npm ci`: it refuses a lock that lacks an optional package of some other platform. What the lock names is installed as it says.
  run(
    'installing dependencies',
    'npm',
    ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error'],
    'Is the npm registry reachable? Then run: npm install --no-save',
  );
}
// a stamp of our own: the compiler keeps its notes also where it only checks types
const built = modified(STAMP);
if (built < newest('src') || built < modified('tsconfig.src.json') || built < modified('tsconfig.base.json')) {
  run(
    'building',
    process.execPath,
    ['node_modules/typescript/bin/tsc', '-b', 'tsconfig.src.json'],
    'The sources do not compile; the compiler says where, above.',
  );
  writeFileSync(join(root, STAMP), '');
}

function modified(path) {
  const file = join(root, path);
  return existsSync(file) ? statSync(file).mtimeMs : 0;
}

function newest(path) {
  let latest = 0;
  for (const entry of readdirSync(join(root, path), { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) latest = Math.max(latest, statSync(join(entry.parentPath, entry.name)).mtimeMs);
  }
  return latest;
}

function run(what, command, args, hint) {
  process.stderr.write(`tunnelwright: ${what} …\n`);
  const result = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (result.error) fail(`${what} failed: ${result.error.message}`, hint);
  if (result.status !== 0) fail(`${what} failed (${command} ended with ${result.status ?? result.signal})`, hint);
}

function fail(what, hint) {
  process.stderr.write(`✗ ${what}\n  fix   ${hint}\n`);
  process.exit(1);
}
