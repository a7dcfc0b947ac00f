import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { compile, configFrom } from '../../../src/product/config/index.ts';
import { referenceSections } from '../../../src/product/config/json-schema.ts';
import { describeWithShared, listShared, sharedPath } from '../../support/shared.ts';
import { canonical, keysOf, SWANCTL_KEYS } from './swanctl-keys.ts';

/** `connections.*.local[].auth` for every key of ours. */
const ourKeys = new Set(
  referenceSections().flatMap(({ path, rows }) => rows.map((row) => `${path === '' ? '' : `${path}.`}${row.key}`.replaceAll('NAME', '*'))),
);

describe('every key of swanctl.conf has a place here, or a reason why not', () => {
  test.each([...SWANCTL_KEYS])('%s', (_, mapping) => {
    if ('ours' in mapping) expect(ourKeys).toContain(mapping.ours);
    else expect(mapping.reason).toMatch(/^\S.{10,}[^.]$/);
  });
});

const FILES = 'vectors/configs/swanctl';
describeWithShared('scenarios of others', FILES, () => {
  test('no key in them is unknown', () => {
    const unknown = new Map<string, string>();
    let keys = 0;
    for (const file of listShared(FILES, '.conf')) {
      for (const { path, line } of keysOf(readFileSync(sharedPath(file), 'utf8'))) {
        keys++;
        const key = canonical(path);
        if (!SWANCTL_KEYS.has(key)) unknown.set(key, `${file}:${line}`);
      }
    }
    expect(keys).toBeGreaterThan(3000);
    expect([...unknown]).toEqual([]);
  });

  test('their selectors and addresses are understood, their proposals or the reason why not', () => {
    const unexplained: string[] = [];
    let refused = 0;
    let accepted = 0;
    for (const { key, value } of valuesOf()) {
      const connection = { local: { auth: 'psk', id: 'us' }, remote: { auth: 'psk' }, children: { net: {} as Record<string, unknown> } };
      const config = { secrets: { any: { kind: 'psk', secret_file: 'x' } }, connections: { c: connection as Record<string, unknown> } };
      if (key.startsWith('children.')) connection.children.net[key.slice('children.'.length)] = value;
      else config.connections.c[key] = value;
      try {
        compile(configFrom(config));
        accepted++;
      } catch (error) {
        refused++;
        if (!WHY.some((why) => why.test((error as Error).message))) unexplained.push(`${key} = ${value}: ${(error as Error).message}`);
      }
    }
    expect(accepted).toBeGreaterThan(60);
    expect(refused).toBeLessThan(16);
    expect(unexplained).toEqual([]);
  });
});

const WHY = [
  /md5\S* is broken and never negotiated/,
  /"3des" in .* is off: it has blocks of 64 bits/,
  /blowfish\d+ must not be negotiated any more/,
  /has aesxcbc, but aes128gcm16 brings its own integrity/,
  /would leave IKE unencrypted/,
];

/** Distinct values of the keys that have a syntax of their own; placeholders of the test network are filled in. */
function valuesOf(): { key: string; value: string }[] {
  const wanted: Readonly<Record<string, string>> = {
    'connections.*.proposals': 'proposals',
    'connections.*.local_addrs': 'local_addrs',
    'connections.*.remote_addrs': 'remote_addrs',
    'connections.*.vips': 'vips',
    'connections.*.children.*.esp_proposals': 'children.esp_proposals',
    'connections.*.children.*.ah_proposals': 'children.ah_proposals',
    'connections.*.children.*.local_ts': 'children.local_ts',
    'connections.*.children.*.remote_ts': 'children.remote_ts',
  };
  const seen = new Map<string, { key: string; value: string }>();
  for (const file of listShared(FILES, '.conf')) {
    const lines = readFileSync(sharedPath(file), 'utf8').split('\n');
    for (const { path, line } of keysOf(lines.join('\n'))) {
      const key = wanted[canonical(path)];
      if (key === undefined) continue;
      const value = lines[line - 1]!.split('=')[1]!
        .replace(/#.*/, '')
        .replaceAll(/PH_IP_\w+?_?\w*/g, '192.0.2.1')
        .trim();
      seen.set(`${key}=${value}`, { key, value });
    }
  }
  return [...seen.values()];
}
