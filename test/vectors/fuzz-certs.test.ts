import { expect, test } from 'vitest';
import { TunnelwrightError } from '../../src/core/bytes/index.ts';
import {
  findPath,
  formatIdentity,
  formatIdentityPattern,
  parseCertificate,
  parseIdentity,
  parseIdentityPattern,
} from '../../src/core/pki/index.ts';
import { decodeBase64 } from '../../src/core/pki/pem.ts';
import { expectAtOnce } from '../support/at-once.ts';
import { describeWithShared, hasShared } from '../support/shared.ts';
import { readText } from './x509-cases.ts';

const FOLDER = 'vectors/fuzz/strongswan';
/** Milliseconds of processor time that one input may take. */
const LIMIT = 50;

function inputs(file: string): Uint8Array[] {
  return readText(`${FOLDER}/${file}`)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => decodeBase64((JSON.parse(line) as { b64: string }).b64)!);
}

/** Whether the input was taken. Nothing but an error of our own tree may come, and it may not take long. */
function answers(body: () => unknown): boolean {
  let taken = false;
  expectAtOnce(() => {
    try {
      body();
      taken = true;
    } catch (error) {
      if (!(error instanceof TunnelwrightError)) throw error;
    }
  }, LIMIT);
  return taken;
}

describeWithShared('fuzzed certificates', FOLDER, () => {
  for (const file of ['certs.jsonl', 'certs-crash.jsonl', 'crls.jsonl', 'ocsp_req.jsonl', 'ocsp_rsp.jsonl']) {
    if (!hasShared(`${FOLDER}/${file}`)) continue;
    test(`${file}: each is read or refused in ${LIMIT} ms`, () => {
      const all = inputs(file);
      const taken = all.filter((der) => answers(() => parseCertificate(der)));
      expect(all.length).toBeGreaterThan(0);
      // Most were mutated; some of the originals are among them.
      if (file === 'certs.jsonl') expect(taken.length).toBeGreaterThan(20);
      if (!file.startsWith('certs')) expect(taken).toEqual([]);
    });
  }

  test('certs.jsonl: a path is found or refused in the same time', () => {
    const certificates = inputs('certs.jsonl').flatMap((der) => {
      try {
        return [parseCertificate(der)];
      } catch {
        return [];
      }
    });
    for (const [i, leaf] of certificates.entries()) {
      const near = certificates.slice(Math.max(0, i - 16), i + 16);
      answers(() => findPath(leaf, { anchors: near, intermediates: near, at: leaf.notBefore }));
    }
  });
});

describeWithShared('fuzzed identities', `${FOLDER}/ids.jsonl`, () => {
  test.each(inputs('ids.jsonl').map((data) => [new TextDecoder().decode(data).trim()]))('%j', (text) => {
    const taken = answers(() => {
      const id = parseIdentity(text);
      expect(parseIdentity(formatIdentity(id))).toEqual(id);
    });
    const asPattern = answers(() => {
      const pattern = parseIdentityPattern(text);
      expect(parseIdentityPattern(formatIdentityPattern(pattern))).toEqual(pattern);
    });
    expect(asPattern || !taken).toBe(true);
  });
});
