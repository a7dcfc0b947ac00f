import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromUtf8, utf8 } from '../../../src/core/bytes/index.ts';
import { certificateTitle, isSelfIssued, parseCertificate, serialText } from '../../../src/core/pki/certificate.ts';
import { DerReader } from '../../../src/core/pki/der.ts';
import { formatGeneralName } from '../../../src/core/pki/general-name.ts';
import { formatIdentity, parseIdentity } from '../../../src/core/pki/identity.ts';
import { matchIdentity, parseIdentityPattern } from '../../../src/core/pki/identity-pattern.ts';
import { formatName, parseName } from '../../../src/core/pki/name.ts';
import { parseNameText } from '../../../src/core/pki/name-text.ts';
import { formatPem, parsePem } from '../../../src/core/pki/pem.ts';
import { describePublicKey } from '../../../src/core/pki/public-key.ts';
import { hasShared, readShared } from '../../support/shared.ts';
import type { FuzzTarget } from '../engine.ts';

export const pkiTargets: readonly FuzzTarget[] = [
  {
    name: 'certificate',
    seeds: () => [seed('cert.der'), ...foreign('certs', 40), ...foreign('certs-crash', 40)],
    run: (input) => {
      const certificate = parseCertificate(input);
      certificateTitle(certificate);
      serialText(certificate);
      isSelfIssued(certificate);
      describePublicKey(certificate.publicKey);
      for (const name of certificate.subjectAltNames ?? []) formatGeneralName(name);
    },
  },
  {
    name: 'distinguished name',
    seeds: () => [subjectOf(seed('cert.der')), ...foreign('ids', 20)],
    run: (input) => {
      formatName(parseName(input));
    },
  },
  {
    name: 'DER',
    seeds: () => [seed('cert.der'), seed('crl.der'), seed('ocsp.der')],
    run: (input) => walk(new DerReader(input)),
  },
  {
    name: 'PEM',
    seeds: () => [utf8(formatPem('CERTIFICATE', seed('cert.der'))), utf8('-----BEGIN X-----\n\n-----END X-----\n')],
    run: (input) => void parsePem(fromUtf8(input)),
  },
  {
    name: 'identity text',
    seeds: () =>
      ['gateway.example', 'alice@example.org', '192.0.2.1', '2001:db8::1', 'C=CH, O="a, b", CN=x\\,y', 'keyid:#0102', '@#ff', '%any'].map(
        utf8,
      ),
    run: (input) => {
      formatIdentity(parseIdentity(fromUtf8(input)));
    },
  },
  {
    name: 'identity pattern',
    seeds: () => ['*.example', '*@example.org', '192.0.2.0/24', 'C=CH, O=*, CN=*', '%any', '2001:db8::/32'].map(utf8),
    run: (input) => {
      const pattern = parseIdentityPattern(fromUtf8(input));
      for (const text of ['gateway.example', 'alice@example.org', '192.0.2.77', 'C=CH, O=x, CN=y'])
        matchIdentity(pattern, parseIdentity(text));
    },
  },
  {
    name: 'distinguished name text',
    seeds: () => ['C=CH, O=Example, CN=x', 'CN="a\\"b"+OU=c', '/C=CH/O=x', 'CN=#0c0161', '1.2.3=x'].map(utf8),
    run: (input) => {
      formatName(parseNameText(fromUtf8(input)));
    },
  },
];

function walk(reader: DerReader): void {
  while (!reader.done) {
    const { tag } = reader.any('element');
    if ((tag & 0x20) !== 0) return;
  }
}

const seed = (name: string): Uint8Array => new Uint8Array(readFileSync(join(import.meta.dirname, '..', 'seeds', name)));

const subjectOf = (certificate: Uint8Array): Uint8Array => parseCertificate(certificate).subject.der;

/** What others' fuzzers collected: a JSON object a line with the octets in base64. */
function foreign(name: string, most: number): Uint8Array[] {
  const path = `vectors/fuzz/strongswan/${name}.jsonl`;
  if (!hasShared(path)) return [];
  const lines = fromUtf8(readShared(path))
    .split('\n')
    .filter((line) => line !== '');
  const step = Math.max(1, Math.floor(lines.length / most));
  return lines
    .filter((_, i) => i % step === 0)
    .map((line) => new Uint8Array(Buffer.from((JSON.parse(line) as { b64: string }).b64, 'base64')));
}
