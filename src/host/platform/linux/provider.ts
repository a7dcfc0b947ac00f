import type { PacketCipher } from '../../../core/crypto/index.ts';
import { openBurst, openEach, PacketBurst, sealBurst, sealEach } from '../../../core/crypto/packet-burst.ts';
import type { Native } from './ffi.ts';
import { type Evp, tryFunctions } from './openssl.ts';

/**
 * Whether functions below EVP may be called in EVP's place: they are no public interface, so only in the series of OpenSSL whose sources say
 * what they take, and only where EVP's own cipher is that of the default provider (and not of one for FIPS).
 * @param name EVP's, of the cipher
 */
export function isDefaultProviders(native: Native, evp: Evp, name: string): boolean {
  if (!SERIES.test(process.versions.openssl ?? '')) return false;
  const { EVP_CIPHER_get0_provider, OSSL_PROVIDER_get0_name } = native.functions<ProviderFunctions>(PROTOTYPES);
  const cipher = evp.cipher(name);
  return cipher !== undefined && OSSL_PROVIDER_get0_name(EVP_CIPHER_get0_provider(cipher)) === 'default';
}

/** The same for a key exchange. */
export function isDefaultProvidersExchange(native: Native, { openssl }: Evp, name: string): boolean {
  if (!SERIES.test(process.versions.openssl ?? '')) return false;
  const functions = tryFunctions<ExchangeFunctions>(native, EXCHANGE_PROTOTYPES);
  if (functions === undefined) return false;
  const exchange = functions.EVP_KEYEXCH_fetch(0, name, 0);
  if (exchange === 0) {
    openssl.ERR_clear_error();
    return false;
  }
  const provider = functions.OSSL_PROVIDER_get0_name(functions.EVP_KEYEXCH_get0_provider(exchange));
  functions.EVP_KEYEXCH_free(exchange);
  return provider === 'default';
}

/** Seals a packet as the other one does, opens it, and refuses it when it was changed. Both are destroyed. */
export function sealsAs(ours: PacketCipher, theirs: PacketCipher): boolean {
  try {
    const end = TRIAL - ours.icvLength;
    const [own, expected] = [ours, theirs].map((cipher) => {
      const packet = Uint8Array.from({ length: TRIAL }, (_, i) => i * 7);
      cipher.seal(packet, 0, HEAD, end);
      return packet;
    }) as [Uint8Array, Uint8Array];
    if (own.some((octet, i) => octet !== expected[i])) return false;
    expected[TRIAL - 1]! ^= 1;
    return ours.open(expected, 0, HEAD, TRIAL) === -1 && ours.open(own, 0, HEAD, TRIAL) === end;
  } finally {
    ours.destroy();
    theirs.destroy();
  }
}

/** Seals and opens in bursts what it seals and opens singly, one that was changed among them. Both are destroyed. */
export function worksOnBursts(together: PacketCipher, singly: PacketCipher): boolean {
  try {
    const [a, b] = [new Uint8Array(BURST * TRIAL).map((_, i) => i * 11), new Uint8Array(BURST * TRIAL).map((_, i) => i * 11)];
    const burst = new PacketBurst();
    const fill = (behind: number): void => {
      burst.count = 0;
      for (let i = 0; i < BURST; i++) burst.add(i * TRIAL, (i + 1) * TRIAL - i - behind, i + 1);
    };
    const same = (): boolean => a.every((octet, i) => octet === b[i]);
    for (const esn of [false, true]) {
      fill(together.icvLength);
      sealBurst(together, a, burst, HEAD, esn);
      sealEach(singly, b, burst, HEAD, esn);
      if (!same()) return false;
      fill(0);
      for (const packets of [a, b]) packets[TRIAL + 100]! ^= 1;
      openEach(singly, b, burst, HEAD, esn);
      const expected = burst.opened.slice(0, BURST);
      openBurst(together, a, burst, HEAD, esn);
      if (!same() || expected.some((end, i) => end !== burst.opened[i]) || expected[1] !== -1 || expected[2] === -1) return false;
    }
    return true;
  } finally {
    together.destroy();
    singly.destroy();
  }
}

interface ProviderFunctions {
  EVP_CIPHER_get0_provider(cipher: number): number;
  OSSL_PROVIDER_get0_name(provider: number): string;
}

const PROTOTYPES: { readonly [Name in keyof ProviderFunctions]: string } = {
  EVP_CIPHER_get0_provider: 'uintptr_t EVP_CIPHER_get0_provider(uintptr_t cipher)',
  OSSL_PROVIDER_get0_name: 'const char *OSSL_PROVIDER_get0_name(uintptr_t provider)',
};

interface ExchangeFunctions extends Pick<ProviderFunctions, 'OSSL_PROVIDER_get0_name'> {
  EVP_KEYEXCH_fetch(library: 0, name: string, properties: 0): number;
  EVP_KEYEXCH_get0_provider(exchange: number): number;
  EVP_KEYEXCH_free(exchange: number): void;
}

const EXCHANGE_PROTOTYPES: { readonly [Name in keyof ExchangeFunctions]: string } = {
  OSSL_PROVIDER_get0_name: PROTOTYPES.OSSL_PROVIDER_get0_name,
  EVP_KEYEXCH_fetch: 'uintptr_t EVP_KEYEXCH_fetch(uintptr_t library, const char *name, uintptr_t properties)',
  EVP_KEYEXCH_get0_provider: 'uintptr_t EVP_KEYEXCH_get0_provider(uintptr_t exchange)',
  EVP_KEYEXCH_free: 'void EVP_KEYEXCH_free(uintptr_t exchange)',
};

/** The long-term series that Node 20 and 22 are built with. */
const SERIES = /^3\.0\./;
const HEAD = 8;
/** Octets: longer than what is worked on at a time. */
const TRIAL = 600;
const BURST = 3;
