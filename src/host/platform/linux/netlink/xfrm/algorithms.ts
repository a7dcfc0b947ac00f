import { DataPlaneError } from '../../../../../core/bytes/index.ts';
import { encryption, integrity } from '../../../../../core/crypto/index.ts';
import type { Attributes, MessageWriter } from '../codec.ts';
import { XFRMA } from './structs.ts';

/** The keys of an SA by IANA's numbers, as `CipherKeys` has them; AH has no encryption. They are written into the request and nowhere else. */
export interface XfrmKeys {
  readonly encryption?: number | undefined;
  /** Key and salt. */
  readonly encryptionKey?: Uint8Array | undefined;
  /** 0 or absent where the encryption has an ICV of its own. */
  readonly integrity?: number | undefined;
  readonly integrityKey?: Uint8Array | undefined;
}

/** What an SA uses, as the kernel lists it. Keys are never read. */
export interface XfrmAlgorithms {
  readonly aead: { readonly name: string; readonly keyBits: number; readonly icvBits: number } | undefined;
  readonly encryption: { readonly name: string; readonly keyBits: number } | undefined;
  readonly integrity: { readonly name: string; readonly keyBits: number; readonly icvBits: number } | undefined;
  readonly compression: string | undefined;
}

/** Whether the kernel has a name for it at all; whether its module is there only an SA tells. */
export const hasKernelName = (keys: Pick<XfrmKeys, 'encryption' | 'integrity'>): boolean =>
  (!keys.encryption || ENCRYPTION.has(keys.encryption)) && (!keys.integrity || INTEGRITY.has(keys.integrity));

/** @throws DataPlaneError `KERNEL_LACKS_ALGORITHM` for what the kernel has no name for; no key is written then */
export function writeAlgorithms(request: MessageWriter, keys: XfrmKeys): void {
  const cipher = keys.encryption ? kernelCipher(keys.encryption) : undefined;
  const mac = keys.integrity ? kernelMac(keys.integrity) : undefined;
  if (cipher) writeAlgorithm(request, cipher, keys.encryptionKey ?? NO_KEY);
  if (mac) writeAlgorithm(request, mac, keys.integrityKey ?? NO_KEY);
}

/** RFC 3173 with DEFLATE (RFC 2394) is the only one that the kernel has. */
export const writeCompression = (request: MessageWriter): void =>
  void request.attribute(XFRMA.ALG_COMP, (writer) => writer.text('deflate', NAME).u32(0));

export function readAlgorithms(attributes: Attributes): XfrmAlgorithms {
  const [aead, crypt, auth, comp] = [XFRMA.ALG_AEAD, XFRMA.ALG_CRYPT, XFRMA.ALG_AUTH_TRUNC, XFRMA.ALG_COMP].map((type) =>
    attributes.reader(type),
  );
  return {
    aead: aead && { name: aead.text(NAME), keyBits: aead.u32(), icvBits: aead.u32() },
    encryption: crypt && { name: crypt.text(NAME), keyBits: crypt.u32() },
    integrity: auth && { name: auth.text(NAME), keyBits: auth.u32(), icvBits: auth.u32() },
    compression: comp?.text(NAME),
  };
}

interface KernelAlgorithm {
  readonly attribute: number;
  readonly name: string;
  /** Bits, where the attribute says how many: of an AEAD or a truncated MAC. */
  readonly icvBits: number | undefined;
}

function kernelCipher(id: number): KernelAlgorithm {
  const [name, transform] = [ENCRYPTION.get(id), encryption(id)];
  if (name === undefined || transform === undefined) throw lacking(transform?.name ?? `encryption ${id}`);
  return transform.aead
    ? { attribute: XFRMA.ALG_AEAD, name, icvBits: 8 * transform.icvLength }
    : { attribute: XFRMA.ALG_CRYPT, name, icvBits: undefined };
}

/** The truncation is said: what the kernel takes by itself for SHA2-256 is 96 bits, of a draft (RFC 4868 §2.3 has 128). */
function kernelMac(id: number): KernelAlgorithm {
  const [name, transform] = [INTEGRITY.get(id), integrity(id)];
  if (name === undefined || transform === undefined) throw lacking(transform?.name ?? `integrity ${id}`);
  return { attribute: XFRMA.ALG_AUTH_TRUNC, name, icvBits: 8 * transform.icvLength };
}

/** `struct xfrm_algo`, `xfrm_algo_aead` and `xfrm_algo_auth`: the key is one with its salt, and its length in bits. */
function writeAlgorithm(request: MessageWriter, { attribute, name, icvBits }: KernelAlgorithm, key: Uint8Array): void {
  request.attribute(attribute, (writer) => {
    writer.text(name, NAME).u32(8 * key.length);
    if (icvBits !== undefined) writer.u32(icvBits);
    writer.bytes(key);
  });
}

const lacking = (name: string): DataPlaneError =>
  new DataPlaneError(`the kernel's IPsec does not know ${name}`, {
    code: 'KERNEL_LACKS_ALGORITHM',
    hint: 'Name another in esp_proposals, or choose a data plane of user space, which has them all.',
  });

/** IANA's ENCR → the kernel's crypto API. It has neither Camellia in CTR or CCM nor implicit IVs (RFC 8750). */
const ENCRYPTION: ReadonlyMap<number, string> = new Map([
  [3, 'cbc(des3_ede)'],
  [11, 'ecb(cipher_null)'],
  [12, 'cbc(aes)'],
  [13, 'rfc3686(ctr(aes))'],
  [14, 'rfc4309(ccm(aes))'],
  [15, 'rfc4309(ccm(aes))'],
  [16, 'rfc4309(ccm(aes))'],
  [18, 'rfc4106(gcm(aes))'],
  [19, 'rfc4106(gcm(aes))'],
  [20, 'rfc4106(gcm(aes))'],
  [21, 'rfc4543(gcm(aes))'],
  [23, 'cbc(camellia)'],
  [28, 'rfc7539esp(chacha20,poly1305)'],
]);

/** IANA's INTEG. It has no GMAC for AH (RFC 4543). */
const INTEGRITY: ReadonlyMap<number, string> = new Map([
  [2, 'hmac(sha1)'],
  [5, 'xcbc(aes)'],
  [8, 'cmac(aes)'],
  [12, 'hmac(sha256)'],
  [13, 'hmac(sha384)'],
  [14, 'hmac(sha512)'],
  [1026, 'hmac(sha256)'],
]);

/** Octets of `alg_name`. */
const NAME = 64;
const NO_KEY = new Uint8Array(0);
