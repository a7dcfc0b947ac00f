import type { EncryptionTransform, PacketCipher } from '../../../core/crypto/index.ts';
import { openEach, type PacketBurst, sealEach } from '../../../core/crypto/packet-burst.ts';
import { ESN_HEAD, esnHead } from '../../../core/crypto/packet-ciphers/keyed.ts';
import { getI32, putU32 } from '../../../core/packet/index.ts';
import type { RunCalls } from './call-list.ts';
import { EvpAead, writeIv } from './evp-aead.ts';
import { destroyed, requireRoom } from './evp-context.ts';
import { addressOf, type Native } from './ffi.ts';
import { GcmCalls, PLACE } from './gcm-calls.ts';
import type { KeyStore } from './key-store.ts';
import { type Borrower, LentContexts } from './lent-contexts.ts';
import { type Evp, opensslFailed, SCRATCH } from './openssl.ts';
import { isDefaultProviders, sealsAs, worksOnBursts } from './provider.ts';

/**
 * What OpenSSL's default provider does AES-GCM with, one level below EVP: two calls for a packet, where EVP takes five to seal and four to
 * open and looks up its parameters by name in each. Node exports these functions with all others. They are called where `isDefaultProviders`
 * allows it, and after they have sealed and opened the same as EVP; everywhere else `EvpAead` does the same by EVP. The packets of a burst are
 * one call where a list of calls can be run, after that, too, has made of some what they are by themselves.
 */
export class ProviderGcm {
  readonly #native: Native;
  readonly #evp: Evp;
  readonly #functions: GcmFunctions;
  readonly #keys: KeyStore;
  readonly #calls: GcmCalls | undefined;
  /** By bits of the key; undefined where it did not pass. */
  readonly #kinds = new Map<number, Readonly<Record<GcmKind['ivKind'], GcmKind>> | undefined>();

  /** Undefined where there is no such provider. */
  static find(native: Native, evp: Evp, keys: KeyStore, runner?: RunCalls): ProviderGcm | undefined {
    try {
      if (!isDefaultProviders(native, evp, 'AES-128-GCM')) return undefined;
      return new ProviderGcm(native, evp, native.functions<GcmFunctions>(GCM_PROTOTYPES), keys, runner);
    } catch {
      // A function of the list is missing: linked against a library that keeps them to itself.
      return undefined;
    }
  }

  private constructor(native: Native, evp: Evp, functions: GcmFunctions, keys: KeyStore, runner: RunCalls | undefined) {
    this.#native = native;
    this.#evp = evp;
    this.#functions = functions;
    this.#keys = keys;
    this.#calls = runner && callsOf(native, functions, runner);
  }

  /** Undefined for what is left to `EvpAead`: short tags, and a key length that did not pass. @param cipher EVP's, for the comparison */
  create(transform: EncryptionTransform, cipher: number, key: Uint8Array, salt: Uint8Array): PacketCipher | undefined {
    if (transform.mode !== 'gcm' || transform.icvLength !== TAG) return undefined;
    const bits = key.length * 8;
    if (!this.#kinds.has(bits)) this.#kinds.set(bits, this.#proven(transform, cipher, bits));
    const kinds = this.#kinds.get(bits);
    return kinds && new OneShotGcm(kinds[ivKindOf(transform)], key, salt);
  }

  #proven(transform: EncryptionTransform, cipher: number, bits: number): Readonly<Record<GcmKind['ivKind'], GcmKind>> | undefined {
    const contexts = this.#lender(bits);
    if (contexts === undefined) return undefined;
    const shared = { evp: this.#evp, functions: this.#functions, keys: this.#keys, contexts };
    const kinds = (calls: GcmCalls | undefined): Readonly<Record<GcmKind['ivKind'], GcmKind>> => ({
      counter: { ...shared, calls, ivKind: 'counter', ivLength: IV },
      implicit: { ...shared, calls, ivKind: 'implicit', ivLength: 0 },
    });
    const [key, salt] = [new Uint8Array(bits / 8).fill(0x5a), new Uint8Array(4).fill(0xa5)];
    const ours = (calls?: GcmCalls): PacketCipher => new OneShotGcm(kinds(calls)[ivKindOf(transform)], key, salt);
    if (!sealsAs(ours(), new EvpAead(this.#evp, transform, cipher, key, salt))) return undefined;
    return kinds(worksOnBursts(ours(this.#calls), ours()) ? this.#calls : undefined);
  }

  /** Looks up what makes and frees a context, in the table by which the provider tells OpenSSL (provider-cipher(7)). */
  #lender(bits: number): LentContexts | undefined {
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
    const makeContext = this.#native.functionAt<(provider: 0) => number>(make, 'uintptr_t (uintptr_t provider)');
    return new LentContexts(() => makeContext(0), this.#native.functionAt(free, 'void (uintptr_t context)'), MOST_CONTEXTS);
  }
}

function callsOf(native: Native, { dlsym }: GcmFunctions, runner: RunCalls): GcmCalls | undefined {
  const [setIv, oneShot] = [dlsym(0, 'ossl_gcm_setiv'), dlsym(0, 'ossl_gcm_one_shot')];
  return setIv === 0 || oneShot === 0 ? undefined : new GcmCalls(native, runner, { setIv, oneShot });
}

const ivKindOf = ({ ivKind }: EncryptionTransform): GcmKind['ivKind'] => (ivKind === 'implicit' ? ivKind : 'counter');

/** What ciphers of one kind share. */
interface GcmKind extends Pick<PacketCipher, 'ivLength'> {
  readonly evp: Evp;
  readonly functions: GcmFunctions;
  readonly keys: KeyStore;
  readonly contexts: LentContexts;
  /** Undefined where packets of a burst are sealed and opened one by one. */
  readonly calls: GcmCalls | undefined;
  readonly ivKind: 'counter' | 'implicit';
}

/** AES-GCM with tags of 16 octets, by these functions. */
class OneShotGcm implements PacketCipher, Borrower {
  context = 0;
  readonly #kind: GcmKind;
  readonly #keyLength: number;
  readonly #salt: number;
  /** Of the key; -1 once it is wiped. */
  #place: number;
  /** What the context does now. */
  #encrypts = true;

  constructor(kind: GcmKind, key: Uint8Array, salt: Uint8Array) {
    this.#kind = kind;
    this.#keyLength = key.length;
    this.#salt = getI32(salt, 0);
    this.#place = kind.keys.put(key);
  }

  get ivLength(): number {
    return this.#kind.ivLength;
  }

  get ivKind(): 'counter' | 'implicit' {
    return this.#kind.ivKind;
  }

  get icvLength(): number {
    return TAG;
  }

  get blockLength(): number {
    return 1;
  }

  seal(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    requireRoom(buffer, start, headLength, start + headLength + this.ivLength, end, TAG);
    if (this.context === 0 || !this.#encrypts) this.#prepare(true);
    if (!this.#run(buffer, start, headLength, end, esnHigh)) throw opensslFailed(this.#kind.evp, 'to seal a packet');
    return end + TAG;
  }

  open(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh?: number): number {
    const bodyEnd = end - TAG;
    if (!(start >= 0 && headLength >= 0 && bodyEnd - start >= headLength + this.ivLength && end <= buffer.length)) return -1;
    if (this.context === 0 || this.#encrypts) this.#prepare(false);
    if (this.#run(buffer, start, headLength, bodyEnd, esnHigh)) return bodyEnd;
    // What was decrypted before its tag turned out wrong becomes ciphertext again: the mode of a stream is its own inverse.
    this.#run(buffer, start, headLength, bodyEnd, esnHigh);
    return -1;
  }

  sealBurst(buffer: Uint8Array, burst: PacketBurst, headLength: number, esn: boolean): void {
    const { calls, evp } = this.#kind;
    const { starts, ends, count } = burst;
    const inFront = headLength + this.ivLength;
    for (let i = 0; i < count; i++) requireRoom(buffer, starts[i]!, headLength, starts[i]! + inFront, ends[i]!, TAG);
    if (this.context === 0 || !this.#encrypts) this.#prepare(true);
    if (calls === undefined || !this.#write(calls, buffer, burst, headLength, esn, 0)) sealEach(this, buffer, burst, headLength, esn);
    else if (calls.run(0, count) < count) throw opensslFailed(evp, 'to seal a packet');
  }

  openBurst(buffer: Uint8Array, burst: PacketBurst, headLength: number, esn: boolean): void {
    const { calls } = this.#kind;
    const { starts, ends, opened, count } = burst;
    const shortest = headLength + this.ivLength + TAG;
    let fit = headLength >= 0;
    for (let i = 0; i < count; i++) fit &&= starts[i]! >= 0 && ends[i]! - starts[i]! >= shortest && ends[i]! <= buffer.length;
    if (this.context === 0 || this.#encrypts) this.#prepare(false);
    if (!fit || calls === undefined || !this.#write(calls, buffer, burst, headLength, esn, TAG))
      return openEach(this, buffer, burst, headLength, esn);
    for (let i = 0; i < count; i++) opened[i] = ends[i]! - TAG;
    for (let i = calls.run(0, count); i < count; i = calls.run(i + 1, count)) {
      opened[i] = -1;
      // decrypted in vain: see `open`
      calls.run(i, i + 1);
    }
  }

  destroy(): void {
    this.#kind.contexts.end(this);
    if (this.#place >= 0) this.#kind.keys.wipe(this.#place);
    this.#place = -1;
  }

  /** A context with our key, for one direction: most ciphers only ever work in one. */
  #prepare(encrypts: boolean): void {
    const { evp, functions, keys, contexts } = this.#kind;
    if (this.#place < 0) throw destroyed();
    const init = encrypts ? functions.ossl_gcm_einit : functions.ossl_gcm_dinit;
    const isOurs = this.context !== 0;
    if (!isOurs) contexts.lend(this);
    const done = isOurs ? init(this.context, 0, 0, 0, 0, 0) : init(this.context, keys.address(this.#place), this.#keyLength, 0, 0, 0);
    this.#encrypts = encrypts;
    if (done === 1) return;
    contexts.end(this);
    throw opensslFailed(evp, 'the key of a packet cipher');
  }

  /** Encrypts or decrypts the body that ends at `end`, and writes or compares the tag behind it. @returns whether that went well */
  #run(buffer: Uint8Array, start: number, headLength: number, end: number, esnHigh: number | undefined): boolean {
    const ivAt = start + headLength;
    const at = addressOf(buffer);
    const bodyAt = ivAt + this.ivLength;
    const body = at + bodyAt;
    const { evp, functions } = this.#kind;
    const { address: scratchAt, octets: scratch } = evp.scratch;
    putU32(scratch, SCRATCH.nonce, this.#salt);
    writeIv(scratch, SCRATCH.nonce + SALT, this.ivKind, buffer, start, ivAt, esnHigh);
    if (esnHigh !== undefined) esnHead(evp.esnHead, buffer, start, esnHigh);
    const headAt = esnHigh === undefined ? at + start : scratchAt + SCRATCH.esnHead;
    const head = esnHigh === undefined ? headLength : ESN_HEAD;
    const { context } = this;
    if (functions.ossl_gcm_setiv(context, scratchAt + SCRATCH.nonce, NONCE) !== 1) return false;
    return functions.ossl_gcm_one_shot(context, headAt, head, body, end - bodyAt, body, at + end, TAG) === 1;
  }

  /**
   * Writes down the calls of a burst, whose packets lie within the buffer.
   * @param behind octets behind each body that belong to its end
   * @returns false where they have to be made one by one
   */
  #write(calls: GcmCalls, buffer: Uint8Array, burst: PacketBurst, headLength: number, esn: boolean, behind: number): boolean {
    const address = addressOf(buffer);
    if (!calls.begin(address, buffer.length)) return false;
    const { places } = calls;
    const { ivKind } = this;
    const { starts, ends, highs, count } = burst;
    const inFront = headLength + this.ivLength;
    for (let i = 0; i < count; i++) {
      const start = starts[i]!;
      const high = esn ? highs[i]! : undefined;
      const nonce = i * PLACE.size + PLACE.nonce;
      putU32(places, nonce, this.#salt);
      writeIv(places, nonce + SALT, ivKind, buffer, start, start + headLength, high);
      if (high !== undefined) esnHead(places, buffer, start, high, i * PLACE.size + PLACE.esnHead);
      calls.add(i, this.context, address, high === undefined ? start : -1, esn ? ESN_HEAD : headLength, start + inFront, ends[i]! - behind);
    }
    return true;
  }
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

/** openssl/core_dispatch.h. OSSL_DISPATCH is a number and a pointer. */
const OSSL_FUNC_CIPHER_NEWCTX = 1;
const OSSL_FUNC_CIPHER_FREECTX = 7;
const DISPATCH = 16;
const MOST_FUNCTIONS = 32;

const IV = 8;
const TAG = 16;
const SALT = 4;
const NONCE = 12;
/** Ciphers that find theirs as they left it; a direction of an SA each. */
const MOST_CONTEXTS = 256;
