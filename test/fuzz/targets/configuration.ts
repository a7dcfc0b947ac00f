import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, fromUtf8, utf8 } from '../../../src/core/bytes/index.ts';
import { checkConfig, loadConfig, parseProposals } from '../../../src/product/config/index.ts';
import { filesBelow, ROOT } from '../../architecture/sources.ts';
import type { FuzzTarget } from '../engine.ts';

export const configurationTargets: readonly FuzzTarget[] = [
  {
    name: 'configuration',
    // The operator's own file, not a stranger's.
    slow: 1000,
    seeds: () => [
      ...examples(),
      utf8('{"connections": {"a": {"remote": "192.0.2.1"}}}'),
      utf8('a: &a [*a, *a]\nb: *a\n'),
      utf8('x: !!binary aGk=\n<<: {y: 1}\n'),
    ],
    run: (input) => {
      const text = fromUtf8(input);
      for (const error of checkConfig(text)) assert.ok(error instanceof ConfigError && error.message.length > 0);
      loadConfig(text);
    },
  },
  {
    name: 'proposal keywords',
    seeds: () =>
      [
        'aes256gcm16-prfsha384-x25519',
        'aes128gcm16,aes256-sha256-modp2048',
        'chacha20poly1305-prfsha256-ecp384-ke1_mlkem768',
        'default',
      ].map(utf8),
    run: (input) => {
      for (const protocol of ['IKE', 'ESP', 'AH'] as const) parseProposals(fromUtf8(input).split(','), protocol, true);
    },
  },
];

/** The configurations that the project itself shows. */
const examples = (): Uint8Array[] => filesBelow('examples', '.yaml').map((path) => new Uint8Array(readFileSync(join(ROOT, path))));
