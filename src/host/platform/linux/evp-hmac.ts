import { EvpContext } from './evp-context.ts';
import { type Evp, SCRATCH, writeTextParameter } from './openssl.ts';

/** HMAC under ever other keys by one context. */
export class EvpHmac {
  readonly #evp: Evp;
  readonly #context: EvpContext;

  private constructor(evp: Evp, context: EvpContext) {
    this.#evp = evp;
    this.#context = context;
  }

  /** Undefined where this OpenSSL has no such digest. */
  static open(evp: Evp, digest: string): EvpHmac | undefined {
    const { openssl } = evp;
    const mac = evp.mac('HMAC');
    if (mac === undefined) return undefined;
    const context = new EvpContext(openssl.EVP_MAC_CTX_new(mac), openssl.EVP_MAC_CTX_free);
    if (openssl.EVP_MAC_CTX_set_params(context.address, writeTextParameter(evp, 'digest', digest)) === 1) return new EvpHmac(evp, context);
    context.destroy();
    openssl.ERR_clear_error();
    return undefined;
  }

  /**
   * Leaves the whole MAC at `SCRATCH.mac`. All are addresses and lengths; the key has at least one octet.
   * @returns false where OpenSSL refuses
   */
  compute(keyAt: number, keyLength: number, from: number, length: number): boolean {
    const { openssl, scratch } = this.#evp;
    const context = this.#context.address;
    return (
      openssl.EVP_MAC_init(context, keyAt, keyLength, 0) === 1 &&
      openssl.EVP_MAC_update(context, from, length) === 1 &&
      openssl.EVP_MAC_final(context, scratch.address + SCRATCH.mac, scratch.address + SCRATCH.written, LARGEST_MAC) === 1
    );
  }

  /** A key of zeros takes the place of the last one. */
  forget(): void {
    const { openssl, scratch } = this.#evp;
    openssl.EVP_MAC_init(this.#context.address, scratch.address + SCRATCH.key, LARGEST_MAC, 0);
  }
}

const LARGEST_MAC = 64;
