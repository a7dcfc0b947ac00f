import { fromUtf8, TunnelwrightError } from '../../core/bytes/index.ts';
import type { CredentialStore } from './credentials.ts';

/** Credentials as octets, however they were read (`readCredentials` of product/config makes this of a configuration). */
export interface CredentialMaterial {
  readonly certificates: readonly {
    readonly handle: string;
    readonly certificates: readonly NamedOctets[];
    readonly key: (NamedOctets & { readonly passphrase: Uint8Array | undefined }) | undefined;
  }[];
  readonly authorities: readonly { readonly handle: string; readonly certificate: NamedOctets }[];
  /** Certificates of peers that are trusted as they are. */
  readonly peers?: readonly { readonly handle: string; readonly certificate: NamedOctets }[];
  readonly psks: readonly {
    readonly name: string;
    readonly owners: Parameters<CredentialStore['addPsk']>[0];
    readonly secret: Uint8Array;
  }[];
  readonly ppks?: readonly { readonly name: string; readonly ids: Parameters<CredentialStore['addPpk']>[0]; readonly secret: Uint8Array }[];
}

interface NamedOctets {
  readonly path: string;
  readonly data: Uint8Array;
}

/**
 * Puts everything into the store, then overwrites the secret octets it was handed.
 * @throws ConfigError for what is no certificate, no key, or encrypted without a passphrase; it names the file
 */
export function loadCredentials(store: CredentialStore, material: CredentialMaterial): void {
  try {
    for (const { handle, certificate } of material.authorities) about(certificate, () => store.addAuthority(certificate.data, { handle }));
    for (const { handle, certificate } of material.peers ?? [])
      about(certificate, () => store.addPeerCertificate(certificate.data, { handle }));
    for (const { handle, certificates, key } of material.certificates) {
      for (const certificate of certificates) about(certificate, () => store.addCertificate(certificate.data, { handle }));
      // A key that is not named stands in the file of its certificate.
      for (const file of key === undefined ? certificates : [key]) {
        const passphrase = key?.passphrase;
        about(file, () => store.addPrivateKey(file.data, passphrase === undefined ? {} : { passphrase: fromUtf8(passphrase) }));
      }
    }
    for (const { name, owners, secret } of material.psks) store.addPsk(owners, secret, { handle: name });
    for (const { name, ids, secret } of material.ppks ?? []) store.addPpk(ids, secret, { handle: name });
  } finally {
    for (const { key } of material.certificates) {
      key?.data.fill(0);
      key?.passphrase?.fill(0);
    }
    for (const { secret } of [...material.psks, ...(material.ppks ?? [])]) secret.fill(0);
  }
}

function about(file: NamedOctets, load: () => void): void {
  try {
    load();
  } catch (error) {
    if (error instanceof TunnelwrightError && !error.message.includes(file.path)) error.message = `${file.path}: ${error.message}`;
    throw error;
  }
}
