import { InternalError } from '../../../core/bytes/index.ts';
import { ESN_HEAD } from '../../../core/crypto/packet-ciphers/keyed.ts';
import type { Native, NativeBuffer } from './ffi.ts';

/**
 * OpenSSL's EVP functions, from the library that this Node itself uses. Contexts, ciphers and MACs are pointers; 0 is none.
 * `EVP_Cipher` takes and gives as many octets as it is told, keeps none back, and returns -1 when it fails; those that return `int` return
 * 1 when they do not.
 */
export interface Openssl {
  EVP_CIPHER_fetch(library: 0, name: string, properties: 0): number;
  EVP_CIPHER_CTX_new(): number;
  EVP_CIPHER_CTX_free(context: number): void;
  EVP_CIPHER_CTX_set_padding(context: number, on: 0): number;
  EVP_CIPHER_CTX_ctrl(context: number, what: number, length: number, at: number): number;
  EVP_CipherInit_ex2(context: number, cipher: number, key: number, iv: number, encrypt: 0 | 1 | -1, parameters: number): number;
  EVP_Cipher(context: number, out: number, from: number, length: number): number;
  EVP_CipherFinal_ex(context: number, out: number, lengthAt: number): number;
  EVP_MAC_fetch(library: 0, name: string, properties: 0): number;
  EVP_MAC_CTX_new(mac: number): number;
  EVP_MAC_CTX_free(context: number): void;
  EVP_MAC_CTX_set_params(context: number, parameters: number): number;
  EVP_MAC_init(context: number, key: number, length: number, parameters: number): number;
  EVP_MAC_update(context: number, from: number, length: number): number;
  EVP_MAC_final(context: number, out: number, lengthAt: number, room: number): number;
  CRYPTO_memcmp(a: number, b: number, length: number): number;
  ERR_clear_error(): void;
}

/** The functions, what has been fetched by name, and a place for what a call reads and writes besides the packet. */
export interface Evp {
  readonly openssl: Openssl;
  readonly scratch: NativeBuffer;
  /** `SCRATCH.esnHead` of it. */
  readonly esnHead: Uint8Array;
  /** Undefined: this OpenSSL, or how it is configured, has none of that name. */
  cipher(name: string): number | undefined;
  mac(name: string): number | undefined;
}

/** Undefined where Node is linked with a library that is not OpenSSL 3. */
export function openEvp(native: Native): Evp | undefined {
  const openssl = tryFunctions<Openssl>(native, PROTOTYPES);
  if (openssl === undefined) return undefined;
  const named = (lookUp: (library: 0, name: string, properties: 0) => number): ((name: string) => number | undefined) => {
    const known = new Map<string, number>();
    return (name) => {
      let found = known.get(name);
      if (found === undefined) {
        found = lookUp(0, name, 0);
        known.set(name, found);
        if (found === 0) openssl.ERR_clear_error();
      }
      return found === 0 ? undefined : found;
    };
  };
  const scratch = native.allocate(SCRATCH.length);
  scratch.writeWord(SCRATCH.tagParameter, scratch.writeText(SCRATCH.tagName, 'tag'));
  scratch.u32[(SCRATCH.tagParameter + DATA_TYPE) >> 2] = OCTET_STRING;
  const esnHead = scratch.octets.subarray(SCRATCH.esnHead, SCRATCH.esnHead + ESN_HEAD);
  return { openssl, scratch, esnHead, cipher: named(openssl.EVP_CIPHER_fetch), mac: named(openssl.EVP_MAC_fetch) };
}

/** Writes the parameter that tells an `EVP_DecryptInit` where the tag to be verified stands; it is at `SCRATCH.tagParameter`. */
export function writeTagParameter({ scratch }: Evp, tagAt: number, length: number): void {
  scratch.writeWord(SCRATCH.tagParameter + DATA, tagAt);
  scratch.u32[(SCRATCH.tagParameter + DATA_SIZE) >> 2] = length;
}

/** Writes the parameter that names what a MAC is made of. @returns its address */
export function writeTextParameter({ scratch }: Evp, name: string, value: string): number {
  const at = SCRATCH.textParameter;
  scratch.writeWord(at, scratch.writeText(SCRATCH.textName, name));
  scratch.u32[(at + DATA_TYPE) >> 2] = UTF8_STRING;
  scratch.writeWord(at + DATA, scratch.writeText(SCRATCH.textValue, value));
  scratch.writeWord(at + DATA_SIZE, value.length);
  return scratch.address + at;
}

/** A call that fails for no reason a packet can give: what it was working on must not be used. */
export function opensslFailed({ openssl }: Evp, what: string): InternalError {
  openssl.ERR_clear_error();
  return new InternalError(`OpenSSL refused ${what}`, { code: 'CIPHER_FAILED' });
}

/** Undefined where this process lacks one of them. */
export function tryFunctions<T extends object>(native: Native, prototypes: { readonly [Name in keyof T]: string }): T | undefined {
  try {
    return native.functions<T>(prototypes);
  } catch (error) {
    if (error instanceof InternalError && error.code === 'NO_NATIVE_FUNCTION') return undefined;
    throw error;
  }
}

/** Offsets in `Evp.scratch`. Nothing in it outlives the call that it was written for. */
export const SCRATCH = {
  /** Up to 16 octets. */
  nonce: 0,
  /** SPI | high | low. */
  esnHead: 16,
  /** Where OpenSSL writes lengths that are known. */
  written: 32,
  /** Up to 64 octets. */
  mac: 64,
  /** Up to 64 octets; wiped as soon as a context has it. */
  key: 128,
  tagParameter: 256,
  textParameter: 384,
  tagName: 512,
  textName: 528,
  textValue: 544,
  length: 576,
} as const;

/** openssl/core.h, OSSL_PARAM: key, data_type, data, data_size, return_size; an array of them ends with one of zeros. */
const DATA_TYPE = 8;
const DATA = 16;
const DATA_SIZE = 24;
const UTF8_STRING = 4;
const OCTET_STRING = 5;

/** openssl/evp.h: the names for AEAD of all modes share their numbers. */
export const CTRL = { setIvLength: 0x9, getTag: 0x10, setTag: 0x11 } as const;

const PROTOTYPES: { readonly [Name in keyof Openssl]: string } = {
  EVP_CIPHER_fetch: 'uintptr_t EVP_CIPHER_fetch(uintptr_t library, const char *name, uintptr_t properties)',
  EVP_CIPHER_CTX_new: 'uintptr_t EVP_CIPHER_CTX_new()',
  EVP_CIPHER_CTX_free: 'void EVP_CIPHER_CTX_free(uintptr_t context)',
  EVP_CIPHER_CTX_set_padding: 'int EVP_CIPHER_CTX_set_padding(uintptr_t context, int on)',
  EVP_CIPHER_CTX_ctrl: 'int EVP_CIPHER_CTX_ctrl(uintptr_t context, int what, int length, uintptr_t at)',
  EVP_CipherInit_ex2:
    'int EVP_CipherInit_ex2(uintptr_t context, uintptr_t cipher, uintptr_t key, uintptr_t iv, int encrypt, uintptr_t parameters)',
  EVP_Cipher: 'int EVP_Cipher(uintptr_t context, uintptr_t out, uintptr_t from, uint32_t length)',
  EVP_CipherFinal_ex: 'int EVP_CipherFinal_ex(uintptr_t context, uintptr_t out, uintptr_t lengthAt)',
  EVP_MAC_fetch: 'uintptr_t EVP_MAC_fetch(uintptr_t library, const char *name, uintptr_t properties)',
  EVP_MAC_CTX_new: 'uintptr_t EVP_MAC_CTX_new(uintptr_t mac)',
  EVP_MAC_CTX_free: 'void EVP_MAC_CTX_free(uintptr_t context)',
  EVP_MAC_CTX_set_params: 'int EVP_MAC_CTX_set_params(uintptr_t context, uintptr_t parameters)',
  EVP_MAC_init: 'int EVP_MAC_init(uintptr_t context, uintptr_t key, size_t length, uintptr_t parameters)',
  EVP_MAC_update: 'int EVP_MAC_update(uintptr_t context, uintptr_t from, size_t length)',
  EVP_MAC_final: 'int EVP_MAC_final(uintptr_t context, uintptr_t out, uintptr_t lengthAt, size_t room)',
  CRYPTO_memcmp: 'int CRYPTO_memcmp(uintptr_t a, uintptr_t b, size_t length)',
  ERR_clear_error: 'void ERR_clear_error()',
};
