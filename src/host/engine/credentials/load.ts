import { ConfigError, fromUtf8, TunnelwrightError } from '../../../core/bytes/index.ts';
import { type PinnedKey, parsePinnedKey, readPublicKey } from '../../../core/pki/index.ts';
import type { CredentialStore } from './credentials.ts';

/** Credentials as octets, however they were read (`readCredentials` of product/config makes this of a configuration). */
export interface CredentialMaterial {
  readonly certificates: readonly {
    readonly handle: string;
    readonly certificates: readonly NamedOctets[];
    readonly key: (NamedOctets & { readonly passphrase: Uint8Array | undefined }) | undefined;
    /** Without certificates: of which one has to be the public half of the key (RFC 7670). */
    readonly publicKeys?: readonly (string | NamedOctets)[] | undefined;
  }[];
  readonly authorities: readonly {
    readonly handle: string;
    readonly certificate: NamedOctets;
    readonly certificateUrls?: string | undefined;
  }[];
  /** Certificates of peers that are trusted as they are. */
  readonly peers?: readonly { readonly handle: string; readonly certificate: NamedOctets }[];
  /** Public keys of peers that are trusted as they are (RFC 7670): text as `parsePinnedKey` reads it, or what a file holds. */
  readonly peerKeys?: readonly { readonly handle: string; readonly key: string | NamedOctets }[];
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
    for (const { certificate, ...options } of material.authorities) about(certificate, () => store.addAuthority(certificate.data, options));
    for (const { handle, certificate } of material.peers ?? [])
      about(certificate, () => store.addPeerCertificate(certificate.data, { handle }));
    for (const { handle, key } of material.peerKeys ?? []) {
      if (typeof key === 'string') store.addPeerKey(key, { handle });
      else about(key, () => store.addPeerKey(key.data, { handle }));
    }
    for (const { handle, certificates, key, publicKeys = [] } of material.certificates) {
      if (certificates.length === 0 && key !== undefined) {
        about(key, () => {
          store.addRawKey(key.data, { handle, ...phrase(key.passphrase) });
          checkHalves(store, handle, publicKeys);
        });
        continue;
      }
      for (const certificate of certificates) about(certificate, () => store.addCertificate(certificate.data, { handle }));
      // A key that is not named stands in the file of its certificate.
      for (const file of key === undefined ? certificates : [key]) {
        about(file, () => store.addPrivateKey(file.data, phrase(key?.passphrase)));
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

function checkHalves(store: CredentialStore, handle: string, publicKeys: readonly (string | NamedOctets)[]): void {
  const fits = ({ fingerprint }: PinnedKey) =>
    store.loaded(0).some((each) => each.kind === 'public key' && each.handle === handle && each.fingerprint === fingerprint);
  const pins = publicKeys.map((key) => (typeof key === 'string' ? parsePinnedKey(key) : readPublicKey(key.data)));
  if (pins.length === 0 || pins.some(fits)) return;
  throw new ConfigError('the private key is not that of pubkeys', {
    code: 'KEY_MISMATCH',
    hint: 'Leave pubkeys out of the local section: the public key follows from the private one.',
  });
}

const phrase = (passphrase: Uint8Array | undefined) => (passphrase === undefined ? {} : { passphrase: fromUtf8(passphrase) });

function about(file: NamedOctets, load: () => void): void {
  try {
    load();
  } catch (error) {
    if (error instanceof TunnelwrightError && !error.message.includes(file.path)) error.message = `${file.path}: ${error.message}`;
    throw error;
  }
}
