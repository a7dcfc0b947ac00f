import type { EncryptionTransform, PacketCipher } from '../../../core/crypto/index.ts';
import { ESN_HEAD, esnHead } from '../../../core/crypto/packet-ciphers/keyed.ts';
import { getI32, putU32 } from '../../../core/packet/index.ts';
import { EvpAead, writeIv } from './evp-aead.ts';
import { EvpContext, requireRoom, withKey } from './evp-context.ts';
import { addressOf, type Native } from './ffi.ts';
import { type Evp, opensslFailed, SCRATCH } from './openssl.ts';

/**
 * What OpenSSL's default provider does AES-GCM with, one level below EVP: two calls for a packet, where EVP takes five to seal and four to
 * open and looks up its parameters by name in each. Node exports these functions with all others, but they are no public interface. So they
 * are called only in the series of OpenSSL whose sources say what they take (`SERIES`), where EVP's own AES-GCM is that of the default
 * provider (and not of one for FIPS), and after they have sealed and opened the same as EVP; everywhere else `EvpAead` does the same by EVP.
 */
export class ProviderGcm {
  readonly #native: Native;
  readonly #evp: Evp;
  readonly #functions: GcmFunctions;
  /** By bits of the key; undefined where it did not pass. */
  readonly #makers = new Map<number, ContextMaker | undefined>();

  /** Undefined where there is no such provider. */
  static find(native: Native, evp: Evp): ProviderGcm | undefined {
    if (!SERIES.test(process.versions.openssl ?? '')) return undefined;
    try {
      const { EVP_CIPHER_get0_provider, OSSL_PROVIDER_get0_name } = native.functions<ProviderFunctions>(PROVIDER_PROTOTYPES);
      const cipher = evp.cipher('AES-128-GCM');
      if (cipher === undefined || OSSL_PROVIDER_get0_name(EVP_CIPHER_get0_provider(cipher)) !== 'default') return undefined;
      return new ProviderGcm(native, evp, native.functions<GcmFunctions>(GCM_PROTOTYPES));
    } catch {
      // A function of the list is missing: linked against a library that keeps them to itself.
      return undefined;
    }
  }

  private constructor(native: Native, evp: Evp, functions: GcmFunctions) {
    this.#native = native;
    this.#evp = evp;
    this.#functions = functions;
  }

  /** Undefined for what is left to `EvpAead`: short tags, and a key length that did not pass. @param cipher EVP's, for the comparison */
  create(transform: EncryptionTransform, cipher: number, key: Uint8Array, salt: Uint8Array): PacketCipher | undefined {
    if (transform.mode !== 'gcm' || transform.icvLength !== TAG) return undefined;
    const bits = key.length * 8;
    if (!this.#makers.has(bits)) this.#makers.set(bits, this.#proven(transform, cipher, bits));
    const maker = this.#makers.get(bits);
    return maker && new OneShotGcm(this.#evp, this.#functions, maker, transform, key, salt);
  }

  /** Seals and opens one packet as EVP does, and refuses it when it was changed. */
  #proven(transform: EncryptionTransform, cipher: number, bits: number): ContextMaker | undefined {
    const maker = this.#maker(bits);
    if (maker === undefined) return undefined;
    const [key, salt] = [new Uint8Array(bits / 8).fill(0x5a), new Uint8Array(4).fill(0xa5)];
    const theirs = new EvpAead(this.#evp, transform, cipher, key, salt);
    const ours = new OneShotGcm(this.#evp, this.#functions, maker, transform, key, salt);
    try {
      const end = TRIAL - TAG;
      const packets = [theirs, ours].map((each) => {
        const packet = Uint8Array.from({ length: TRIAL }, (_, i) => i * 7);
        each.seal(packet, 0, HEAD, end);
        return packet;
      });
      if (packets[0]!.some((octet, i) => octet !== packets[1]![i])) return undefined;
      packets[0]![TRIAL - 1]! ^= 1;
      return ours.open(packets[0]!, 0, HEAD, TRIAL) === -1 && ours.open(packets[1]!, 0, HEAD, TRIAL) === end ? maker : undefined;
    } finally {
      ours.destroy();
      theirs.destroy();
    }
  }

  /** Looks up what makes and frees a context, in the table by which the provider tells OpenSSL (provider-cipher(7)). */
  #maker(bits: number): ContextMaker | undefined {
    const table = this.#functions.dlsym(0, `ossl_aes${bits}gcm_functions`);
    if (table === 0) return undefined;
    const copy = this.#native.allocate(MOST_FUNCTIONS * DISPATCH);
    const found = new Map<number, number>();
    for (let at = 0; at < copy.octets.length; at += DISPATCH) {
      // One entry at a time: behind the last one, a zero, there may be nothing.
      this.#functions.memcpy(copy.address + at, table + at, DISPATCH);
      const id = copy.u32[at >> 2]!;
      if (id === 0) break;
      found.set(id, copy.u32[(at >> 2) + 2]! + copy.u32[(at >> 2) + 3]! * 2 ** 32);
    }
    const [make, free] = [found.get(OSSL_FUNC_CIPHER_NEWCTX), found.get(OSSL_FUNC_CIPHER_FREECTX)];
    if (make === undefined || free === undefined) return undefined;
    return {
      make: this.#native.functionAt<ContextMaker['make']>(make, 'uintptr_t (uintptr_t provider)'),
      free: this.#native.functionAt<ContextMaker['free']>(free, 'void (uintptr_t context)'),
    };
  }
}

/** AES-GCM with tags of 16 octets, by these functions. */
class OneShotGcm implements PacketCipher {
  readonly ivLength: number;
  readonly icvLength = TAG;
  readonly blockLength = 1;
  readonly ivKind: 'counter' | 'implicit';
  readonly #evp: Evp;
  readonly #functions: GcmFunctions;
  readonly #context: EvpContext;
  readonly #salt: number;
  /** What the context does now: the key is prepared the same way for both. */
  #encrypts = true;

  constructor(evp: Evp, functions: GcmFunctions, maker: ContextMaker, transform: EncryptionTransform, key: Uint8Array, salt: Uint8Array) {
    this.ivLength = transform.ivLength;
    this.ivKind = transform.ivKind === 'implicit' ? 'implicit' : 'counter';
    this.#evp = evp;
    this.#functions = functions;
    this.#salt = getI32(salt, 0);
    this.#context = new EvpContext(maker.make(0), maker.free);
    if (withKey(evp, key, (keyAt) => functions.ossl_gcm_einit(this.#context.address, keyAt, key.length, 0, 0, 0)) === 1) return;
    this.#context.destroy();
    throw opensslFailed(evp, 'the key of a packet cipher');
  }

  seal(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const context = this.#context.address;
    requireRoom(buffer, start, headLength, start + headLength + this.ivLength, end, TAG);
    if (!this.#encrypts) this.#turn(context, true);
    if (!this.#run(context, buffer, start, headLength, end, esnHigh)) throw opensslFailed(this.#evp, 'to seal a packet');
    return end + TAG;
  }

  open(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const context = this.#context.address;
    const bodyEnd = end - TAG;
    if (!(start >= 0 && headLength >= 0 && bodyEnd - start >= headLength + this.ivLength && end <= buffer.length)) return -1;
    if (this.#encrypts) this.#turn(context, false);
    if (this.#run(context, buffer, start, headLength, bodyEnd, esnHigh)) return bodyEnd;
    // What was decrypted before its tag turned out wrong becomes ciphertext again: the mode of a stream is its own inverse.
    this.#run(context, buffer, start, headLength, bodyEnd, esnHigh);
    return -1;
  }

  destroy(): void {
    this.#context.destroy();
  }

  /** Most ciphers only ever work in one direction. */
  #turn(context: number, encrypts: boolean): void {
    const { ossl_gcm_einit, ossl_gcm_dinit } = this.#functions;
    if ((encrypts ? ossl_gcm_einit : ossl_gcm_dinit)(context, 0, 0, 0, 0, 0) !== 1) throw opensslFailed(this.#evp, 'to turn a cipher');
    this.#encrypts = encrypts;
  }

  /** Encrypts or decrypts the body that ends at `end`, and writes or compares the tag behind it. @returns whether that went well */
  #run(context: number, buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh: number | undefined): boolean {
    const ivAt = start + headLength;
    const at = addressOf(buffer);
    const bodyAt = ivAt + this.ivLength;
    const body = at + bodyAt;
    const { address: scratchAt, octets: scratch } = this.#evp.scratch;
    putU32(scratch, SCRATCH.nonce, this.#salt);
    writeIv(scratch, SCRATCH.nonce + SALT, this.ivKind, buffer, start, ivAt, esnHigh);
    if (esnHigh !== undefined) esnHead(this.#evp.esnHead, buffer, start, esnHigh);
    const headAt = esnHigh === undefined ? at + start : scratchAt + SCRATCH.esnHead;
    const head = esnHigh === undefined ? headLength : ESN_HEAD;
    const { ossl_gcm_setiv, ossl_gcm_one_shot } = this.#functions;
    if (ossl_gcm_setiv(context, scratchAt + SCRATCH.nonce, NONCE) !== 1) return false;
    return ossl_gcm_one_shot(context, headAt, head, body, end - bodyAt, body, at + end, TAG) === 1;
  }
}

interface ContextMaker {
  make(provider: 0): number;
  /** Wipes it. */
  free(context: number): void;
}

interface ProviderFunctions {
  EVP_CIPHER_get0_provider(cipher: number): number;
  OSSL_PROVIDER_get0_name(provider: number): string;
}

/** Those that return `int` return 1 when they do not fail. */
interface GcmFunctions {
  dlsym(everywhere: 0, name: string): number;
  memcpy(to: number, from: number, length: number): number;
  ossl_gcm_einit(context: number, key: number, keyLength: number, iv: 0, ivLength: 0, parameters: 0): number;
  ossl_gcm_dinit(context: number, key: number, keyLength: number, iv: 0, ivLength: 0, parameters: 0): number;
  ossl_gcm_setiv(context: number, iv: number, length: number): number;
  ossl_gcm_one_shot(
    context: number,
    aad: number,
    aadLength: number,
    from: number,
    length: number,
    to: number,
    tag: number,
    tagLength: number,
  ): number;
}

const PROVIDER_PROTOTYPES: { readonly [Name in keyof ProviderFunctions]: string } = {
  EVP_CIPHER_get0_provider: 'uintptr_t EVP_CIPHER_get0_provider(uintptr_t cipher)',
  OSSL_PROVIDER_get0_name: 'const char *OSSL_PROVIDER_get0_name(uintptr_t provider)',
};

const INIT = 'uintptr_t context, uintptr_t key, size_t keyLength, uintptr_t iv, size_t ivLength, uintptr_t parameters';
const GCM_PROTOTYPES: { readonly [Name in keyof GcmFunctions]: string } = {
  dlsym: 'uintptr_t dlsym(uintptr_t everywhere, const char *name)',
  memcpy: 'uintptr_t memcpy(uintptr_t to, uintptr_t from, size_t length)',
  ossl_gcm_einit: `int ossl_gcm_einit(${INIT})`,
  ossl_gcm_dinit: `int ossl_gcm_dinit(${INIT})`,
  ossl_gcm_setiv: 'int ossl_gcm_setiv(uintptr_t context, uintptr_t iv, size_t length)',
  ossl_gcm_one_shot:
    'int ossl_gcm_one_shot(uintptr_t context, uintptr_t aad, size_t aadLength, uintptr_t from, size_t length, uintptr_t to, uintptr_t tag, size_t tagLength)',
};

/** The long-term series that Node 20 and 22 are built with. */
const SERIES = /^3\.0\./;

/** openssl/core_dispatch.h. OSSL_DISPATCH is a number and a pointer. */
const OSSL_FUNC_CIPHER_NEWCTX = 1;
const OSSL_FUNC_CIPHER_FREECTX = 7;
const DISPATCH = 16;
const MOST_FUNCTIONS = 32;

const TAG = 16;
const SALT = 4;
const NONCE = 12;
const HEAD = 8;
/** Octets: longer than what is worked on at a time. */
const TRIAL = 600;
