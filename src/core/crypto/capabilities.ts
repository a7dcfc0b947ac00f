import { constants, getCiphers, getCurves, getHashes } from 'node:crypto';
import { keyExchange, keyExchangeMethods } from './key-exchange.ts';
import { type KeywordTransform, keywordOf } from './keywords.ts';
import { effectiveKeyLength, encryption, encryptionTransforms, integrity, integrityTransforms, prf, prfTransforms } from './transforms.ts';

/** Whether this Node and its OpenSSL can do a transform, and what does it. */
export interface Capability {
  /** Transform Type: 1 ENCR, 2 PRF, 3 INTEG, 4 KE. */
  readonly type: number;
  readonly id: number;
  /** As IANA registers it. */
  readonly name: string;
  /** What it is called in proposals, one word per key length. */
  readonly keywords: readonly string[];
  readonly available: boolean;
  /** `OpenSSL 3.0.19`, `@noble/post-quantum`, … */
  readonly provider: string;
  /** OpenSSL's names of what is not there; empty where `available` is true. */
  readonly missing: readonly string[];
}

/** One row per transform that this library speaks. Looks names up and computes nothing, cheap enough for every start. */
export function probeCapabilities(): readonly Capability[] {
  const openssl = opensslVersion();
  const have = opensslNames();
  const row = (type: number, transform: Made, keyLengths: readonly (number | undefined)[] = [undefined]): Capability => {
    const missing = [...new Set(transform.needs)].filter((name) => !have.has(name.toLowerCase()));
    return {
      type,
      id: transform.id,
      name: transform.name,
      keywords: keyLengths.map((keyLength) => keywordOf({ type, id: transform.id, keyLength })),
      available: missing.length === 0,
      provider: transform.provider ?? openssl,
      missing,
    };
  };
  return [
    ...encryptionTransforms().map(({ id, name, mode, keyLengths, keyLengthAttribute, cipherNames }) =>
      row(
        1,
        mode === 'null' ? { id, name, needs: [], provider: 'none needed' } : { id, name, needs: keyLengths.flatMap(cipherNames) },
        keyLengthAttribute === 'required' ? keyLengths : undefined,
      ),
    ),
    ...prfTransforms().map((transform) => row(2, transform)),
    ...integrityTransforms().map((transform) => row(3, transform)),
    ...keyExchangeMethods().map((method) => row(4, method)),
  ];
}

/** Why this Node cannot do a transform: goes on from its word. Undefined for what it can, and for what is not spoken anywhere. */
export function lackOf(transform: KeywordTransform, have: ReadonlySet<string> = opensslNames()): string | undefined {
  const missing = needsOf(transform).filter((name) => !have.has(name.toLowerCase()));
  return missing.length === 0 ? undefined : `is not in the ${opensslVersion()} of this Node, which lacks ${missing.join(' and ')}`;
}

function needsOf({ type, id, keyLength }: KeywordTransform): readonly string[] {
  switch (type) {
    case 1: {
      const cipher = encryption(id);
      const bits = cipher && effectiveKeyLength(cipher, keyLength);
      return bits ? cipher.cipherNames(bits) : [];
    }
    case 2:
      return prf(id)?.needs ?? [];
    case 3:
      return integrity(id)?.needs ?? [];
    default:
      return type === 5 ? [] : (keyExchange(id)?.needs ?? []);
  }
}

const opensslNames = (): ReadonlySet<string> =>
  new Set([...getCiphers(), ...getCurves(), ...getHashes()].map((name) => name.toLowerCase()));

/** The rows as a table of text, one line each. */
export function formatCapabilities(rows: readonly Capability[] = probeCapabilities()): string {
  const width = (texts: readonly string[]): number => Math.max(0, ...texts.map((text) => text.length));
  const name = width(rows.map((row) => row.name));
  const words = width(rows.map((row) => row.keywords.join(' ')));
  const line = (row: Capability): string => {
    const how = row.available ? row.provider : `missing: ${row.missing.join(', ')}`;
    return `${row.available ? 'yes' : 'no '}  ${row.name.padEnd(name)}  ${row.keywords.join(' ').padEnd(words)}  ${how}`;
  };
  return rows.map(line).join('\n');
}

interface Made {
  readonly id: number;
  readonly name: string;
  readonly needs: readonly string[];
  readonly provider?: string;
}

/** `OPENSSL_VERSION_NUMBER` is MNN00PP0: major, minor and patch in hexadecimal. */
function opensslVersion(): string {
  const number = constants.OPENSSL_VERSION_NUMBER ?? 0;
  return `OpenSSL ${number >>> 28}.${(number >>> 20) & 0xff}.${(number >>> 4) & 0xff}`;
}
