// Draws requirements of docs/requirements, takes the line away that obeys each, and runs the test that is to fail then.
//   node dist/.tools/tools/mutate.js [--count 50] [--seed 1] [--only §2.1] [--all]
// Works on a copy of what is committed. The last line counts what was noticed and what was not; a test that passes is a failure here.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { parseAst } from 'vitest/node';
import { linesWith, parseRequirements, type Requirement } from './requirements.ts';

const args = process.argv.slice(2);
const value = (flag: string, otherwise: string): string => (args.includes(flag) ? (args[args.indexOf(flag) + 1] ?? otherwise) : otherwise);
const seed = value('--seed', '1');
const only = value('--only', '').replace('§', '');

const folder = 'docs/requirements';
const all = readdirSync(folder)
  .filter((name) => name.endsWith('.yaml'))
  .flatMap((name) => parseRequirements(readFileSync(join(folder, name), 'utf8'), name))
  .filter(({ code, test, level }) => code !== undefined && test !== undefined && level.startsWith('MUST'))
  .filter(({ section }) => only === '' || section === only || section.startsWith(`${only}.`));
const drawn = args.includes('--all') ? all : shuffle(all, Number(seed)).slice(0, Number(value('--count', '50')));

const MOST_LINES = 12;
/** Milliseconds, on a machine that is busy with something else. */
const LONGEST_TEST = 600_000;
const known = new Map<string, Outcome>();
const copy = mkdtempSync(join(tmpdir(), 'tunnelwright-mutate-'));
let noticed = 0;
const missed: string[] = [];
try {
  execFileSync('git', ['worktree', 'add', '--detach', '--quiet', copy, 'HEAD']);
  symlinkSync(join(process.cwd(), 'node_modules'), join(copy, 'node_modules'));
  for (const requirement of drawn) judge(requirement);
} finally {
  spawnSync('git', ['worktree', 'remove', '--force', copy]);
  rmSync(copy, { recursive: true, force: true });
}
process.stdout.write(`${missed.map((each) => `not noticed: ${each}\n`).join('')}`);
process.stdout.write(`seed ${seed}: ${noticed} of ${drawn.length} drawn of ${all.length} were noticed\n`);
process.exit(missed.length === 0 ? 0 : 1);

function judge({ section, nth, code, test }: Requirement): void {
  const path = join(copy, code!.path);
  const text = readFileSync(path, 'utf8');
  const at = linesWith(text, code!.line)[0]!;
  const taken = without(text, at);
  const name = `§${section} ${nth}: ${code!.path}:${at + 1} (${test!.path})`;
  if (taken === undefined) {
    missed.push(`${name}: nothing that could be taken away begins there`);
    return;
  }
  const before = outcomeOf(test!.path, test!.line);
  if (before !== 'passed') {
    missed.push(`${name}: with the line there, the test ${before}`);
    return;
  }
  writeFileSync(path, taken.text);
  const outcome = outcomeOf(test!.path, test!.line);
  writeFileSync(path, text);
  if (outcome === 'passed') missed.push(name);
  else noticed++;
  process.stdout.write(`${outcome === 'passed' ? 'NOT NOTICED' : 'noticed'}  ${name}, ${taken.lines} lines\n`);
}

/** The text without the line, and as many more behind it as it takes to leave a program. */
function without(text: string, at: number): { readonly text: string; readonly lines: number } | undefined {
  const lines = text.split('\n');
  for (let count = 1; count <= MOST_LINES; count++) {
    const rest = lines.toSpliced(at, count).join('\n');
    try {
      parseAst(rest, { lang: 'ts' });
      return { text: rest, lines: count };
    } catch {
      // a line more
    }
  }
  return undefined;
}

type Outcome = 'passed' | 'failed' | 'did not end' | 'was not found';

/** Of the tests of that name. Unchanged files are asked once. */
function outcomeOf(path: string, name: string): Outcome {
  const clean = execFileSync('git', ['status', '--porcelain', '--untracked-files=no'], { cwd: copy, encoding: 'utf8' }) === '';
  const key = `${path} ${name}`;
  if (clean && known.has(key)) return known.get(key)!;
  const escaped = name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const projects = ['unit', 'alone', 'simulation', 'e2e'].flatMap((project) => ['--project', project]);
  const vitest = join('node_modules', 'vitest', 'vitest.mjs');
  const { status, stdout } = spawnSync(process.execPath, [vitest, 'run', ...projects, path, '-t', escaped, '--reporter=json'], {
    cwd: copy,
    encoding: 'utf8',
    timeout: LONGEST_TEST,
    maxBuffer: 1 << 28,
  });
  const ran = Number(/"numPassedTests":(\d+)/.exec(stdout)?.[1] ?? 0);
  const outcome = status === null ? 'did not end' : status !== 0 ? 'failed' : ran > 0 ? 'passed' : 'was not found';
  if (clean) known.set(key, outcome);
  return outcome;
}

/** The same order for the same seed. */
function shuffle<T>(items: readonly T[], seeded: number): T[] {
  const list = [...items];
  let state = seeded >>> 0 || 1;
  for (let i = list.length - 1; i > 0; i--) {
    // xorshift32
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const j = (state >>> 0) % (i + 1);
    [list[i], list[j]] = [list[j]!, list[i]!];
  }
  return list;
}
