import { constants, getCiphers, getCurves, getHashes } from 'node:crypto';
import { mlKemProvider } from './key-exchange/ml-kem.ts';
import { keyExchangeMethods } from './key-exchange.ts';
import { keywordOf } from './keywords.ts';
import { encryptionTransforms, integrityTransforms, prfTransforms } from './transforms.ts';

/** Whether this Node and its OpenSSL can do a transform, and what does it. */
export interface Capability {
  /** Transform Type: 1 ENCR, 2 PRF, 3 INTEG, 4 KE. */
  readonly type: number;
  readonly id: number;
  /** As IANA registers it. */
  readonly name: string;
  readonly available: boolean;
  /** `OpenSSL 3.0.19`, `@noble/post-quantum`, … ; what is missing where `available` is false. */
  readonly provider: string;
}

/** One row per transform that this library speaks. Looks things up, computes nothing; cheap enough for every start. */
export function probeCapabilities(): readonly Capability[] {
  const openssl = opensslVersion();
  const ciphers = new Set(getCiphers());
  const curves = new Set(getCurves());
  const hashes = new Set(getHashes().map((name) => name.toLowerCase()));
  const row = (type: number, transform: { id: number; name: string }, provider: string, missing: readonly string[]): Capability => {
    const available = missing.length === 0;
    return {
      type,
      id: transform.id,
      name: transform.name,
      available,
      provider: available ? provider : `${openssl} lacks ${missing.join(', ')}`,
    };
  };
  const lacking = (have: ReadonlySet<string>, ...names: readonly string[]) => names.filter((name) => !have.has(name));
  const byMac = (name: string): { provider: string; missing: string[] } => {
    if (name.includes('XCBC') || name.includes('CMAC'))
      return { provider: `Tunnelwright over AES of ${openssl}`, missing: lacking(ciphers, 'aes-128-cbc', 'aes-128-ecb') };
    const hash = /SHA2_(\d+)/.exec(name)?.[1] ?? '1';
    return { provider: openssl, missing: lacking(hashes, `sha${hash}`) };
  };
  return [
    ...encryptionTransforms().map((transform) => {
      if (transform.mode === 'null') return row(1, transform, 'Tunnelwright', []);
      return row(1, transform, openssl, lacking(ciphers, ...new Set(transform.keyLengths.map((bits) => transform.cipherName(bits)))));
    }),
    ...prfTransforms().map((transform) => row(2, transform, byMac(transform.name).provider, byMac(transform.name).missing)),
    ...integrityTransforms().map((transform) => row(3, transform, byMac(transform.name).provider, byMac(transform.name).missing)),
    ...keyExchangeMethods().map((method) => {
      if (method.kind === 'kem') return row(4, method, mlKemProvider(method.id), []);
      return row(4, method, openssl, method.kind === 'ecp' ? lacking(curves, CURVES[method.id] ?? method.name) : []);
    }),
  ];
}

/** The rows as a table of text, one line each. */
export function formatCapabilities(rows: readonly Capability[] = probeCapabilities()): string {
  const name = Math.max(...rows.map((row) => row.name.length));
  return rows
    .map((row) => `${row.available ? 'yes' : 'no '}  ${row.name.padEnd(name)}  ${keywordOf(row).padEnd(16)}  ${row.provider}`)
    .join('\n');
}

/** `OPENSSL_VERSION_NUMBER` is MNN00PP0: major, minor and patch in hexadecimal. */
function opensslVersion(): string {
  const number = constants.OPENSSL_VERSION_NUMBER ?? 0;
  return `OpenSSL ${number >>> 28}.${(number >>> 20) & 0xff}.${(number >>> 4) & 0xff}`;
}

const CURVES: Readonly<Record<number, string>> = { 19: 'prime256v1', 20: 'secp384r1', 21: 'secp521r1' };
