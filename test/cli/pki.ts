import { randomBytes } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { certificateSigner, generateKey } from '../../src/core/crypto/certificate-signing.ts';
import {
  type CertificateAuthority,
  CLIENT_USAGES,
  createCa,
  formatPem,
  GATEWAY_USAGES,
  issueCertificate,
} from '../../src/core/pki/index.ts';

const DAY = 86_400_000;

/** A small authority of a test, whose files land in a folder. */
export class TestPki {
  readonly #folder: string;
  readonly #ca: CertificateAuthority;

  constructor(folder: string, name = 'ca') {
    this.#folder = folder;
    this.#ca = createCa({
      name: `CN=${name}`,
      serial: randomBytes(16),
      signer: certificateSigner(generateKey('ecdsa-p256').privateKey),
      notBefore: Date.now() - 30 * DAY,
      notAfter: Date.now() + 30 * DAY,
    });
    writeFileSync(join(folder, `${name}.crt`), formatPem('CERTIFICATE', this.#ca.certificate.der));
  }

  /** Writes NAME.crt and NAME.key. */
  issue(name: string, id: string, options: { readonly expired?: boolean; readonly gateway?: boolean } = {}): void {
    const key = generateKey('ecdsa-p256');
    const certificate = issueCertificate({
      ca: this.#ca,
      subject: `CN=${id}`,
      sans: [id],
      publicKey: key.spki,
      usages: options.gateway === true ? GATEWAY_USAGES : CLIENT_USAGES,
      serial: randomBytes(16),
      notBefore: Date.now() - 10 * DAY,
      notAfter: Date.now() + (options.expired === true ? -DAY : DAY),
    });
    writeFileSync(join(this.#folder, `${name}.crt`), formatPem('CERTIFICATE', certificate.der));
    writeFileSync(join(this.#folder, `${name}.key`), key.pem);
    chmodSync(join(this.#folder, `${name}.key`), 0o600);
  }
}
