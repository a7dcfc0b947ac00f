import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, test } from 'vitest';
import { runScript } from './support/script.ts';

/** One folder for each RFC, one script for each rule; the first line says which. */
const SCRIPTS = fileURLToPath(new URL('scripts/', import.meta.url));

for (const folder of readdirSync(SCRIPTS).sort()) {
  describe(folder, () => {
    for (const file of readdirSync(`${SCRIPTS}${folder}`).sort()) {
      const text = readFileSync(`${SCRIPTS}${folder}/${file}`, 'utf8');
      test(`${file}: ${text.slice(1, text.indexOf('\n')).trim()}`, () => runScript(text));
    }
  });
}
