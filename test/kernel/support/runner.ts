// In the guest: node runner.js FILE      runs the cases that a compiled file exports as `cases`, in their order
import { writeFileSync, writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CASE_TIMEOUT, type Cases, type Line } from './cases.ts';

const { cases } = (await import(pathToFileURL(resolve(process.argv[2]!)).href)) as { readonly cases: Cases };
for (const [name, run] of Object.entries(cases)) {
  tell({ began: name });
  // where the kernel says its last, if it comes to that
  writeFileSync('/dev/ttyS0', `case: ${name}\n`);
  const start = performance.now();
  const failure = await failureOf(run);
  tell({ ended: name, ms: Math.round(performance.now() - start), failure });
}
// whatever a case left open does not keep the guest waiting
process.exit(0);

async function failureOf(run: Cases[string]): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`did not end within ${CASE_TIMEOUT / 1000} s`)), CASE_TIMEOUT);
  });
  try {
    await Promise.race([run(), late]);
    return undefined;
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  } finally {
    clearTimeout(timer);
  }
}

/** At once, so that nothing is lost when the process or the machine ends; a new line first, since a case may have printed half of one. */
function tell(line: Line): void {
  writeSync(1, `\n${JSON.stringify(line)}\n`);
}
