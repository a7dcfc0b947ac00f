// npm run simulate -- --seeds FROM..TO [--steps N] [--temper light|brisk|full]: random walks on every core. With anything else: the tests of test/simulation.
import { fork, spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const USAGE = `npm run simulate -- --seeds FROM..TO [--steps N] [--temper light|brisk|full]
                                    walks with these seeds on every core; 200 steps each unless told, and the temper that each seed draws
npm run simulate -- --seeds SEED …  one walk: if it fails, the few steps that are enough, and every message
npm run simulate [-- TEST …]        the tests of test/simulation, or some of them`;
const OPTIONS = ['--seeds', '--steps', '--temper'];
const TEMPERS = ['light', 'brisk', 'full'];
/** Walks that a worker takes at once. */
const PORTION = 5;
/**
 * Every core has a worker: their collectors need no helpers, and little outlives a walk. A compiler that waits sees more of what a function
 * meets, and compiles it less often.
 */
const WORKER_FLAGS = ['--single-threaded-gc', '--min-semi-space-size=16', '--max-semi-space-size=32', '--interrupt-budget=270336'];
const PROGRESS_INTERVAL = process.stderr.isTTY ? 500 : 5000;

if (process.send !== undefined && process.argv[2] === '--worker') await work();
else await main(process.argv.slice(2));

async function main(argv) {
  if (argv.includes('--help')) return void process.stdout.write(`${USAGE}\n`);
  if (!argv.some((word) => OPTIONS.some((option) => word.startsWith(option)))) return runTests(argv);
  const { from, to, how } = parse(argv);
  if (from === to) return explainOne(from, how);
  process.exitCode = await walkAll(from, to, how);
}

function runTests(argv) {
  const { status } = spawnSync('npx', ['vitest', 'run', '--project', 'simulation', ...argv], { stdio: 'inherit' });
  process.exitCode = status ?? 1;
}

function parse(argv) {
  const options = {};
  const words = argv.flatMap((word) => word.split('='));
  for (let i = 0; i < words.length; i += 2) {
    if (!OPTIONS.includes(words[i])) refuse(`${words[i]} is no option`);
    options[words[i]] = words[i + 1] ?? refuse(`${words[i]} needs a value`);
  }
  const range =
    /^(\d{1,15})(?:\.\.(\d{1,15}))?$/.exec(options['--seeds'] ?? '') ?? refuse('--seeds is a number, or a range such as 1..10000');
  const [from, to] = [Number(range[1]), Number(range[2] ?? range[1])];
  if (to < from) refuse(`--seeds ${from}..${to} is an empty range`);
  const steps = options['--steps'];
  const temper = options['--temper'];
  if (steps !== undefined && !/^[1-9]\d{0,6}$/.test(steps)) refuse('--steps is a whole number from 1 on');
  if (temper !== undefined && !TEMPERS.includes(temper)) refuse(`--temper is one of ${TEMPERS.join(', ')}`);
  return { from, to, how: { steps: steps === undefined ? undefined : Number(steps), temper } };
}

/** How to ask for the same again. */
function wordsOf({ steps, temper }) {
  return `${steps === undefined ? '' : ` --steps ${steps}`}${temper === undefined ? '' : ` --temper ${temper}`}`;
}

function refuse(why) {
  process.stderr.write(`✗ ${why}\n${USAGE}\n`);
  process.exit(2);
}

async function explainOne(seed, how) {
  const { explainWalk, runWalk } = await walks();
  const result = runWalk({ seed, ...how });
  if (result.broken === undefined) return void process.stdout.write(`✓ walk ${seed}: ${result.steps.length} steps, nothing broke\n`);
  process.stdout.write(`${explainWalk({ seed, ...how }, result)}\n`);
  process.exitCode = 1;
}

/** @returns the exit code */
async function walkAll(from, to, how) {
  const total = to - from + 1;
  const began = performance.now();
  const failed = [];
  const { Coverage, coverageTable } = await walks();
  const covered = Coverage && new Coverage();
  let done = 0;
  let next = from;
  const rate = () => done / ((performance.now() - began) / 1000);
  const report = (line) => process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`);
  const progress = setInterval(() => {
    const left = Math.ceil((total - done) / rate());
    report(`${done} of ${total} walks, ${rate().toFixed(0)} per second, ${failed.length} failed${done > 0 ? `, ${left} s to go` : ''}`);
  }, PROGRESS_INTERVAL);
  const finish = () => {
    clearInterval(progress);
    if (process.stderr.isTTY) report('');
    const seeds = failed.map(({ seed }) => seed).sort((a, b) => a - b);
    const verdict = seeds.length === 0 ? 'none failed' : `${seeds.length} failed: ${seeds.join(', ')}`;
    const took = ((performance.now() - began) / 1000).toFixed(1);
    if (covered) process.stdout.write(`${coverageTable([covered.counts])}\n\n`);
    const mark = done === total && seeds.length === 0 ? '✓' : '✗';
    process.stdout.write(
      `${mark} seeds ${from}..${to}: ${done} of ${total} walks in ${took} s (${rate().toFixed(0)} per second), ${verdict}\n`,
    );
  };
  const tell = (one) => {
    failed.push(one);
    if (process.stderr.isTTY) report('');
    const again = `npm run simulate -- --seeds ${one.seed}${wordsOf(how)}`;
    process.stdout.write(
      `✗ seed ${one.seed} broke "${one.invariant}" at step ${one.step} (${one.action}): ${one.what}\n  replay: ${again}\n`,
    );
  };
  process.once('SIGINT', () => {
    finish();
    process.exit(130);
  });
  const worker = () =>
    new Promise((resolve, reject) => {
      const child = fork(fileURLToPath(import.meta.url), ['--worker'], { execArgv: WORKER_FLAGS });
      const give = () => {
        if (next > to) return child.disconnect();
        child.send({ from: next, to: Math.min(next + PORTION - 1, to), how });
        next += PORTION;
      };
      child.on('message', ({ count, broken, counts }) => {
        if (counts) covered.add(counts);
        done += count;
        broken.forEach(tell);
        give();
      });
      child.on('error', reject);
      child.on('exit', (code, signal) => (code === 0 ? resolve() : reject(new Error(`a worker ended with ${code ?? signal}`))));
      give();
    });
  try {
    await Promise.all(Array.from({ length: Math.min(availableParallelism(), Math.ceil(total / PORTION)) }, worker));
  } catch (error) {
    clearInterval(progress);
    process.stderr.write(`✗ ${error.message}; ${done} of ${total} walks were done\n`);
    process.exit(1);
  }
  finish();
  return failed.length === 0 ? 0 : 1;
}

/** A worker: takes portions from its parent until that lets go of it. */
async function work() {
  const { Coverage, coveredWalk, runWalk } = await walks();
  process.on('SIGINT', () => {});
  process.on('disconnect', () => process.exit(0));
  process.on('message', ({ from, to, how }) => {
    const broken = [];
    const coverage = Coverage && new Coverage();
    for (let seed = from; seed <= to; seed++) {
      const result = coverage ? coveredWalk({ seed, ...how }, coverage) : runWalk({ seed, ...how });
      if (result.broken !== undefined) broken.push({ seed, ...result.broken });
    }
    process.send({ count: to - from + 1, broken, counts: coverage?.counts });
  });
}

/** What `tools/ready.mjs` has built; the test of this file brings walks of its own. */
function walks() {
  return import(process.env.TUNNELWRIGHT_WALKS ?? '../dist/testing/walk/index.js');
}
