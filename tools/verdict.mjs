// Reads the JSON reports of several test runs and gives one verdict: every failure, every skip with its reason, one closing line.
//   node tools/verdict.mjs FOLDER RUN...      FOLDER/RUN.json is a report, FOLDER/RUN.status the exit status of that run
//   node tools/verdict.mjs --failed FOLDER RUN      prints the test files that failed in it, if they are few
// Where FOLDER/RUN.again.json is there, too, those files were asked a second time: it decides about them, and what failed at first is named.
// With TUNNELWRIGHT_REQUIRE set, a skip that SKIPS (docs/skips.txt) does not list is a failure.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/** More than these have a common cause, which no second answer mends. */
const FEW = 3;
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const strict = (process.env.TUNNELWRIGHT_REQUIRE ?? '') !== '';
const accepted = parseSkips(process.env.SKIPS ?? join(root, 'docs', 'skips.txt'));
const onlyFailed = process.argv[2] === '--failed';
const [folder = '.', ...runs] = process.argv.slice(onlyFailed ? 3 : 2);
if (onlyFailed) {
  const failed = runs.flatMap((name) => failedFiles(readRun(name).report));
  if (failed.length <= FEW) process.stdout.write(failed.map((file) => `${file}\n`).join(''));
  process.exit();
}

const failures = [];
const atFirst = [];
const skips = [];
let passed = 0;
for (const name of runs) count(withSecondAnswers(readRun(name)));
if (passed + failures.length === 0) failures.push({ name: 'nothing', detail: 'no test ran at all' });

for (const { name, reason } of skips) process.stdout.write(`· skipped: ${name} (${reason})\n`);
for (const { text, unless, used } of accepted) {
  if (unless === undefined && !used) process.stdout.write(`· docs/skips.txt lists what was not skipped: ${text}\n`);
}
for (const { name, detail } of atFirst) {
  process.stdout.write(`\n! failed at first, and held when it was asked again: ${name}\n${detail.replace(/^/gm, '    ')}\n`);
}
for (const { name, detail } of failures) process.stdout.write(`\n✗ ${name}\n${detail.replace(/^/gm, '    ')}\n`);
process.stdout.write(`\n${passed} passed, ${failures.length} failed, ${skips.length} skipped\n`);
process.exitCode = failures.length === 0 ? 0 : 1;

function count(run) {
  if (run.report === undefined) {
    failures.push({ name: run.name, detail: `gave no report; it ended with status ${run.status}` });
    return;
  }
  const before = failures.length;
  for (const file of run.report.testResults) {
    const failing = file.assertionResults.filter((test) => test.status === 'failed').length;
    for (const test of file.assertionResults) countTest(`${run.name}: ${test.fullName}`, test);
    if (file.status === 'failed' && failing === 0) {
      failures.push({
        name: `${run.name}: ${relative(file.name)}`,
        detail: file.message || 'the file failed outside of its tests',
      });
    }
  }
  if (run.status !== 0 && failures.length === before)
    failures.push({ name: run.name, detail: `ended with status ${run.status}, though no test failed` });
}

/** A file that failed counts as it answered the second time, as a whole. */
function withSecondAnswers(run) {
  const again = readRun(`${run.name}.again`);
  if (run.report === undefined || again.report === undefined) return run;
  const failed = new Set(failedFiles(run.report));
  const first = run.report.testResults;
  const second = again.report.testResults.filter((file) => failed.has(relative(file.name)));
  const held = new Set(second.filter((file) => file.status === 'passed').map((file) => relative(file.name)));
  for (const file of first.filter((file) => held.has(relative(file.name)))) {
    for (const { status, fullName, failureMessages } of file.assertionResults) {
      if (status === 'failed') atFirst.push({ name: `${run.name}: ${fullName}`, detail: failureMessages.join('\n') });
    }
    if (file.message) atFirst.push({ name: `${run.name}: ${relative(file.name)}`, detail: file.message });
  }
  const asked = new Set(second.map((file) => relative(file.name)));
  return {
    ...run,
    status: held.size === failed.size && again.status === 0 ? 0 : run.status,
    report: { ...run.report, testResults: [...first.filter((file) => !asked.has(relative(file.name))), ...second] },
  };
}

function failedFiles(report) {
  return (report?.testResults ?? []).filter((file) => file.status === 'failed').map((file) => relative(file.name));
}

function relative(file) {
  return file.replace(`${root}/`, '');
}

function countTest(name, test) {
  if (test.status === 'passed') passed++;
  else if (test.status === 'failed') failures.push({ name, detail: test.failureMessages.join('\n') });
  else {
    const known = accepted.find((skip) => skip.pattern.test(test.fullName) && !(skip.unless && existsSync(join(root, skip.unless))));
    if (known) known.used = true;
    if (known || !strict) skips.push({ name, reason: known?.reason ?? 'not listed in docs/skips.txt' });
    else failures.push({ name, detail: 'was skipped, and docs/skips.txt does not list it' });
  }
}

function readRun(name) {
  const status = Number(tryRead(`${name}.status`) ?? -1);
  try {
    return { name, status, report: JSON.parse(tryRead(`${name}.json`) ?? '') };
  } catch {
    return { name, status, report: undefined };
  }
}

function tryRead(file) {
  return existsSync(join(folder, file)) ? readFileSync(join(folder, file), 'utf8') : undefined;
}

/** Lines `pattern | always, or unless PATH | reason`; `*` in a pattern stands for anything. */
function parseSkips(file) {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) => {
      const [pattern = '', when = '', reason = ''] = line.split('|').map((part) => part.trim());
      const unless = /^unless (\S+)$/.exec(when)?.[1];
      if (pattern === '' || reason === '' || (when !== 'always' && unless === undefined))
        throw new Error(`not a skip with its reason: ${line}`);
      return {
        text: pattern,
        used: false,
        pattern: new RegExp(`^${pattern.replace(/[.+?^${}()[\]\\]/g, '\\$&').replaceAll('*', '.*')}$`),
        unless,
        reason,
      };
    });
}
