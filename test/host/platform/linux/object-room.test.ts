import { spawn } from 'node:child_process';
import process from 'node:process';
import { expect, test } from 'vitest';
import { OBJECT_ROOM } from '../../../../src/host/platform/linux/object-room.ts';
import { describeWithNative } from '../../../support/native.ts';

describeWithNative('room for short-lived objects', () => {
  test('a program begins again with it: the same process, with the same arguments and output', async () => {
    const { told, pid } = await run(['--conditions=mine', ...PROGRAM, 'with a space', 'ümlaut', '']);
    expect(told).toEqual({ pid, args: ['with a space', 'ümlaut', ''], flags: OBJECT_ROOM, conditions: true, thread: 4 });
  });

  test('not where an operator chose a room', async () => {
    const chosen = '--max-semi-space-size=8';
    expect((await run([chosen, ...PROGRAM])).told).toMatchObject({ flags: [chosen] });
    expect((await run(PROGRAM, { NODE_OPTIONS: chosen })).told).toMatchObject({ flags: [] });
  });

  test('not where somebody at the other end of a channel would lose us', async () => {
    const { told, message } = await run(PROGRAM, {}, true);
    expect(told).toMatchObject({ flags: [] });
    expect(message).toBe('still here');
  });
});

interface Outcome {
  readonly told: unknown;
  readonly pid: number | undefined;
  readonly message: unknown;
}

function run(args: readonly string[], env: Readonly<Record<string, string>> = {}, channel = false): Promise<Outcome> {
  const child = spawn(process.execPath, args, {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'inherit', ...(channel ? ['ipc' as const] : [])],
  });
  let output = '';
  let message: unknown;
  child.stdout!.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.on('message', (said) => (message = said));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => resolve({ told: JSON.parse(output), pid: child.pid, message }));
  });
}

/** Tells what it runs with, and how many MiB a thread of it has that asked for four. */
const PROGRAM = [
  '--input-type=module',
  '--eval',
  `import { takeObjectRoom } from '${new URL('../../../../dist/host/platform/linux/object-room.js', import.meta.url).href}';
  import { Worker } from 'node:worker_threads';
  await takeObjectRoom();
  const fill = \`const { getHeapSpaceStatistics } = require('node:v8');
    const kept = [];
    for (let i = 0; i < 2e6; i++) kept[i & 0xffff] = { i };
    const { space_size } = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space');
    require('node:worker_threads').parentPort.postMessage(space_size / 2 ** 20);\`;
  const worker = new Worker(fill, { eval: true, execArgv: [], resourceLimits: { maxYoungGenerationSizeMb: 4 } });
  const thread = await new Promise((resolve) => worker.once('message', resolve));
  const flags = process.execArgv.filter((flag) => flag.startsWith('--m'));
  const conditions = process.execArgv.includes('--conditions=mine');
  console.log(JSON.stringify({ pid: process.pid, args: process.argv.slice(1), flags, conditions, thread }));
  process.send?.('still here', () => process.disconnect());`,
];
