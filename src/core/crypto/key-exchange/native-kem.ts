import * as crypto from 'node:crypto';
import { concat, fromHex } from '../../bytes/bytes.ts';
import { keyOctets, plain } from '../octets.ts';
import type { KemImplementation } from './ml-kem.ts';

/** The part of node:crypto that came with Node 24.7 and is there only over OpenSSL 3.5. */
interface CryptoWithKem {
  generateKeyPairSync(type: string): { publicKey: crypto.KeyObject; privateKey: crypto.KeyObject };
  encapsulate(key: crypto.KeyObject): { ciphertext: Uint8Array; sharedKey: Uint8Array };
  decapsulate(key: crypto.KeyObject, ciphertext: Uint8Array): Uint8Array;
}

/** ML-KEM of OpenSSL, where this Node has it; found by trying, since neither version number says so alone. */
export function nativeKem(id: number): KemImplementation | undefined {
  const type = TYPES[id];
  if (type === undefined || !('encapsulate' in crypto)) return undefined;
  const native = crypto as unknown as CryptoWithKem;
  const kem: KemImplementation = {
    provider: 'OpenSSL',
    keygen() {
      const { publicKey, privateKey } = native.generateKeyPairSync(type.name);
      let key: crypto.KeyObject | undefined = privateKey;
      return {
        publicKey: plain(publicKey.export({ format: 'der', type: 'spki' })).slice(type.spki.length),
        decapsulate: (ciphertext) => plain(native.decapsulate(key!, ciphertext)),
        destroy: () => {
          key = undefined;
        },
      };
    },
    encapsulate(publicKey) {
      const key = crypto.createPublicKey({ key: keyOctets(concat(type.spki, publicKey)), format: 'der', type: 'spki' });
      const { ciphertext, sharedKey } = native.encapsulate(key);
      return { ciphertext: plain(ciphertext), sharedSecret: plain(sharedKey) };
    },
  };
  try {
    const pair = kem.keygen();
    pair.decapsulate(kem.encapsulate(pair.publicKey).ciphertext);
    return kem;
  } catch {
    return undefined;
  }
}

/** SubjectPublicKeyInfo up to the encapsulation key: id-alg-ml-kem-512, -768 and -1024, 2.16.840.1.101.3.4.4.1 to .3. */
const TYPES: Readonly<Record<number, { readonly name: string; readonly spki: Uint8Array }>> = {
  35: { name: 'ml-kem-512', spki: fromHex('30820332300b06096086480165030404010382032100') },
  36: { name: 'ml-kem-768', spki: fromHex('308204b2300b0609608648016503040402038204a100') },
  37: { name: 'ml-kem-1024', spki: fromHex('30820632300b06096086480165030404030382062100') },
};
