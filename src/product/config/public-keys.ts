import { TunnelwrightError } from '../../core/bytes/errors.ts';
import { isInlineKey, parsePinnedKey } from '../../core/pki/raw-public-key.ts';
import { text } from './formats.ts';
import { invalid, valid } from './values.ts';

/** A file, or what `parsePinnedKey` reads. */
export const publicKey = text(
  'PublicKey',
  'A public key: a file with SubjectPublicKeyInfo as PEM or DER, the same in place (PEM, 0s… in base64, 0x… in hex), or its fingerprint sha256:….',
  ['gw.pub', 'sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08', '0sMCowBQYDK2VwAyEA…'],
  (input) => {
    if (!isInlineKey(input)) return valid(input);
    try {
      parsePinnedKey(input);
      return valid(input);
    } catch (error) {
      if (error instanceof TunnelwrightError) return invalid(error.message, error.hint);
      throw error;
    }
  },
);
