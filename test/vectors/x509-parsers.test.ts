import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { describe, expect, test } from 'vitest';
import { MalformedMessage } from '../../src/core/bytes/index.ts';
import { parseKnownExtensions } from '../../src/core/pki/extensions.ts';
import {
  type Certificate,
  certificateSigner,
  createCa,
  GATEWAY_USAGES,
  generateKey,
  issueCertificate,
  Oid,
  type PemBlock,
  parseCertificate,
  parseName,
  parsePem,
} from '../../src/core/pki/index.ts';
import { expectAtOnce } from '../support/at-once.ts';
import { describeWithShared, listShared, sharedPath } from '../support/shared.ts';
import { type Exemption, judge, pemBlocks, readBytes, reasonFor } from './x509-cases.ts';

const FOLDER = 'vectors/x509';
const FILES = ['.pem', '.der', '.crt', '.crl', '.ors'];

/** undefined when the octets parse; anything but a `MalformedMessage` fails the test. */
function refusal(parse: () => unknown): string | undefined {
  try {
    parse();
    return undefined;
  } catch (error) {
    if (error instanceof MalformedMessage) return error.message;
    throw error;
  }
}

describeWithShared('certificates of pyca and OpenSSL', FOLDER, () => {
  /** Files whose certificate is refused, and what is wrong with it. Everything else must parse. */
  const REFUSED: readonly Exemption[] = [
    { what: 'invalid_version.pem', why: 'there is no X.509 version 8' },
    { what: 'long-form-name-attribute.pem', why: 'tag number above 30' },
    { what: 'nc_invalid_ip4_netmask.der', why: 'mask with holes' },
    { what: 'badasn1time.pem', why: 'not a time' },
    { what: 'utf8-dnsname.pem', why: 'not ASCII' },
    { what: 'bad-othername-namec-inter.pem', why: 'excludedSubtrees' },
    { what: 'ee-cert-policies-bad.pem', why: 'policy 1.3.6.1.4.1.16604.998855.1 is there twice' },
    { what: 'invalid-cert.pem', why: 'subjectKeyIdentifier' },
  ];
  const files = ['pyca/custom', 'pyca/misc', 'pyca/ed25519', 'openssl/certs', 'openssl/ocsp-tests'].flatMap((folder) =>
    listShared(`${FOLDER}/${folder}`),
  );
  const certificates = files.flatMap((file) =>
    certificatesIn(file).map((der, i) => [`${file.slice(FOLDER.length + 1)} #${i}`, basename(file), der] as const),
  );

  test.each(certificates)('%s', (_title, file, der) => {
    const why = reasonFor(file, REFUSED);
    const refused = refusal(() => parseCertificate(der));
    if (why !== undefined) expect(refused).toContain(why);
    else {
      expect(refused).toBeUndefined();
      agreesWithNode(parseCertificate(der), new X509Certificate(der));
    }
  });

  test('there were many', () => expect(certificates.length).toBeGreaterThan(150));
});

/** The same certificate as another parser reads it. */
function agreesWithNode(ours: Certificate, theirs: X509Certificate): void {
  expect(ours.notBefore).toBe(Date.parse(theirs.validFrom));
  expect(ours.notAfter).toBe(Date.parse(theirs.validTo));
  if (ours.serial[0]! < 0x80) expect(BigInt(`0x${Buffer.from(ours.serial).toString('hex')}`)).toBe(BigInt(`0x${theirs.serialNumber}`));
  // node says false for what is an authority, but may not sign by its keyUsage.
  if (theirs.ca) expect(ours.basicConstraints?.ca ?? ours.version === 1).toBe(true);
  const purposes = theirs.keyUsage as string[] | undefined;
  expect([...(ours.extendedKeyUsage ?? [])]).toEqual(purposes ?? []);
  for (const name of ours.subjectAltNames ?? []) {
    if (name.kind === 'dns' && /^[\w.*-]+$/.test(name.text)) expect(theirs.subjectAltName).toContain(`DNS:${name.text}`);
  }
}

describeWithShared('certificates of BoringSSL’s parser tests', `${FOLDER}/parser-samples`, () => {
  const DIFFERENT: readonly Exemption[] = [
    { what: 'cert_skeleton.pem', why: 'the outer frame alone, with nothing of a certificate inside' },
    { what: 'signature_algorithm_null.pem', why: 'no algorithm has this identifier, so it is refused already when parsed' },
    { what: 'issuer_bad_printable_string.pem', why: 'characters beyond PrintableString are let pass, since many authorities write them' },
    { what: 'extension_critical_0.pem', why: 'a written default is let pass, since RFC 8410 §10.2 writes one' },
    { what: 'basic_constraints_pathlen_256.pem', why: 'RFC 5280 sets no upper bound' },
  ];
  for (const file of listShared(`${FOLDER}/parser-samples/parse_certificate_unittest`, '.pem')) {
    const blocks = sampleBlocks(file);
    const [certificate] = blocks.filter(({ label }) => label === 'CERTIFICATE');
    if (certificate === undefined) continue;
    const errors = blocks.filter(({ label }) => label === 'ERRORS').map(({ der }) => new TextDecoder().decode(der));
    judge(basename(file), reasonFor(basename(file), DIFFERENT), () => {
      const refused = refusal(() => parseCertificate(certificate.der));
      expect(refused !== undefined, `${refused}; they say ${errors.join()}`).toBe(errors.some((text) => text.includes('ERROR:')));
    });
  }
});

describeWithShared('parts of certificates in BoringSSL’s tests', `${FOLDER}/parser-samples`, () => {
  const PARTS: Readonly<Record<string, (der: Uint8Array) => unknown>> = {
    'NAME CONSTRAINTS': (der) => extension(Oid.nameConstraints, der),
    'SUBJECT ALTERNATIVE NAME': (der) => extension(Oid.subjectAltName, der),
    AUTHORITY_KEY_IDENTIFIER: (der) => extension(Oid.authorityKeyIdentifier, der),
    NAME: parseName,
  };
  const BAD = /invalid[_-]|extra_contents|_not_contiguous|with_min/;
  for (const file of listShared(`${FOLDER}/parser-samples`, '.pem')) {
    for (const { label, der } of sampleBlocks(file)) {
      const parse = PARTS[label];
      if (parse === undefined) continue;
      test(`${basename(file)}: ${label}`, () => {
        const refused = refusal(() => parse(der));
        expect(refused !== undefined, refused).toBe(BAD.test(basename(file)));
      });
    }
  }
});

describeWithShared('everything else in the X.509 material', FOLDER, () => {
  test('is refused or read, never worse', () => {
    let refused = 0;
    let read = 0;
    for (const file of FILES.flatMap((ending) => listShared(FOLDER, ending))) {
      for (const der of anyBlocks(file)) {
        if (refusal(() => parseCertificate(der)) === undefined) read++;
        else refused++;
      }
    }
    expect(read).toBeGreaterThan(300);
    expect(refused).toBeGreaterThan(100);
  });
});

describe('a certificate cut short or altered', () => {
  const { privateKey, spki } = generateKey('ecdsa-p256');
  const serial = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
  const span = { serial, notBefore: Date.UTC(2026, 0, 1), notAfter: Date.UTC(2027, 0, 1) };
  const ca = createCa({ ...span, name: 'C=CH, O=lab, CN=lab CA', signer: certificateSigner(privateKey) });
  const sans = ['vpn.example.com', '203.0.113.7'];
  const sample = issueCertificate({
    ...span,
    ca,
    subject: 'CN=gw',
    sans,
    publicKey: spki,
    usages: GATEWAY_USAGES,
    crlUris: ['http://example.com/crl'],
  }).der;

  test('anywhere is refused', () => {
    for (let length = 0; length < sample.length; length++)
      expect(refusal(() => parseCertificate(sample.subarray(0, length)))).toBeDefined();
  });

  test('in any octet is refused or read, and never takes long', () => {
    expectAtOnce(() => {
      for (let i = 0; i < sample.length; i++) {
        for (const value of [0x00, 0x80, 0xff, sample[i]! ^ 1]) {
          const altered = sample.slice();
          altered[i] = value;
          refusal(() => parseCertificate(altered));
        }
      }
    }, 5000);
  });
});

function extension(oid: string, value: Uint8Array): unknown {
  return parseKnownExtensions(new Map([[oid, { oid, critical: false, value }]]));
}

function certificatesIn(file: string): Uint8Array[] {
  if (file.endsWith('.der')) return /^(crl|ocsp|req|resp)/.test(basename(file)) ? [] : [readBytes(file)];
  return file.endsWith('.pem') ? pemBlocks(file) : [];
}

/** These files put text right behind a block, and describe DER in comments between. */
function sampleBlocks(file: string): PemBlock[] {
  const text = readFileSync(sharedPath(file), 'latin1').replace(/(?<!#)-----(?:BEGIN|END) [^-\n]+-----/g, '\n$&\n');
  return parsePem(text);
}

function anyBlocks(file: string): Uint8Array[] {
  if (!file.endsWith('.pem')) return [readBytes(file)];
  try {
    return sampleBlocks(file).map(({ der }) => der);
  } catch (error) {
    if (error instanceof MalformedMessage) return [];
    throw error;
  }
}
