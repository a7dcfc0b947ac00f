// npm run fuzz [SECONDS] [NAME] [SEED]: mutated input for every parser, or for those whose name holds NAME; a minute in all unless told.
import { spawnSync } from 'node:child_process';
import process from 'node:process';

const [seconds = '60', target = '', seed] = process.argv.slice(2);
if (!/^\d+$/.test(seconds) || (seed !== undefined && !/^\d+$/.test(seed))) {
  process.stderr.write('✗ npm run fuzz [SECONDS] [NAME] [SEED]: seconds and seed are whole numbers\n');
  process.exit(2);
}
const env = {
  ...process.env,
  TUNNELWRIGHT_FUZZ_SECONDS: seconds,
  TUNNELWRIGHT_FUZZ_TARGET: target,
  ...(seed ? { TUNNELWRIGHT_FUZZ_SEED: seed } : {}),
};
const { status } = spawnSync('npx', ['vitest', 'run', '--project', 'fuzz'], { env, stdio: 'inherit' });
process.exit(status ?? 1);
