import { readFileSync } from 'node:fs';
import { test } from 'vitest';
import { TunnelwrightError } from '../../src/core/bytes/index.ts';
import { type PathResult, parsePem } from '../../src/core/pki/index.ts';
import { sharedPath } from '../support/shared.ts';

/** A case that is not judged, and why: a line of data, so that the report counts it under its reason. */
export interface Exemption {
  readonly what: string | RegExp;
  readonly why: string;
}

/** Runs a case, or skips it with its reason in the name. */
export function judge(name: string, exempt: string | undefined, body: () => void): void {
  if (exempt === undefined) test(name, body);
  else test.skip(`${name} (${exempt})`, body);
}

export const reasonFor = (name: string, exemptions: readonly Exemption[]): string | undefined =>
  exemptions.find(({ what }) => (typeof what === 'string' ? what === name : what.test(name)))?.why;

/** DER of every block with this label in a PEM file that may hold other text, comments and blocks beside. */
export function pemBlocks(path: string, label = 'CERTIFICATE'): Uint8Array[] {
  return parsePem(readFileSync(sharedPath(path), 'latin1'))
    .filter((block) => block.label === label)
    .map(({ der }) => der);
}

export const readBytes = (path: string): Uint8Array => new Uint8Array(readFileSync(sharedPath(path)));
export const readText = (path: string): string => readFileSync(sharedPath(path), 'utf8');

export interface Verdict {
  readonly valid: boolean;
  /** Code and sentence of the refusal, or `valid`. */
  readonly says: string;
  readonly code: string | undefined;
  readonly policies: ReadonlySet<string>;
}

/** What came of parsing and path validation; only an error of our own tree is a refusal, anything else fails the test. */
export function verdictOf(validate: () => PathResult): Verdict {
  try {
    const result = validate();
    if (result.ok) return { valid: true, says: 'valid', code: undefined, policies: result.policies };
    return refusal(result.error);
  } catch (error) {
    if (error instanceof TunnelwrightError) return refusal(error);
    throw error;
  }
}

const refusal = (error: TunnelwrightError): Verdict => ({
  valid: false,
  says: `${error.code}: ${error.message}`,
  code: error.code,
  policies: new Set(),
});
