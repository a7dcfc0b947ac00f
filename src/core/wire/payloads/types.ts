/**
 * The payloads of RFC 7296 chapter 3 as values. `kind` is the RFC's own notation (§1.2). Numbers are kept as the wire has them:
 * names are a lookup in `iana.ts`, so unknown values survive a round trip.
 */
export interface Transform {
  /** Transform Type: 1 ENCR, 2 PRF, 3 INTEG, 4 KE, 5 ESN, 6–12 ADDKE1–7. */
  readonly type: number;
  readonly id: number;
  /** Key Length attribute (14), bits. */
  readonly keyLength?: number;
  /** Attributes other than Key Length, as received. */
  readonly attributes?: readonly TransformAttribute[];
}

export interface TransformAttribute {
  readonly type: number;
  /** A TV attribute has a number, a TLV attribute has octets. */
  readonly value: number | Uint8Array;
}

export interface Proposal {
  readonly number: number;
  /** Security Protocol Identifier: 1 IKE, 2 AH, 3 ESP. */
  readonly protocol: number;
  /** Empty, 4 octets (ESP, AH) or 8 octets (IKE rekey). */
  readonly spi: Uint8Array;
  readonly transforms: readonly Transform[];
}

export interface AddressRangeSelector {
  /** TS_IPV4_ADDR_RANGE (7) or TS_IPV6_ADDR_RANGE (8). */
  readonly type: 7 | 8;
  /** IP protocol, 0 for any. */
  readonly protocol: number;
  /** 0–65535 for any; for ICMP type << 8 | code; start > end (65535–0) is OPAQUE. */
  readonly startPort: number;
  readonly endPort: number;
  /** 4 or 16 octets, inclusive. */
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}

export interface UnknownSelector {
  readonly type: number;
  readonly protocol: number;
  readonly raw: Uint8Array;
}

export type TrafficSelector = AddressRangeSelector | UnknownSelector;

export interface ConfigurationAttribute {
  readonly type: number;
  readonly value: Uint8Array;
}

export interface Identification {
  readonly idType: number;
  readonly data: Uint8Array;
  /** The three RESERVED octets as received, present only when they were not zero: what AUTH covers keeps them (§2.15). */
  readonly reserved?: Uint8Array;
}

interface Common {
  /** The critical bit as received or to be sent; absent means false. */
  readonly critical?: boolean;
}

export interface SaPayload extends Common {
  readonly kind: 'SA';
  readonly proposals: readonly Proposal[];
}
export interface KePayload extends Common {
  readonly kind: 'KE';
  readonly method: number;
  readonly data: Uint8Array;
}
export interface IdPayload extends Common, Identification {
  readonly kind: 'IDi' | 'IDr';
}
export interface CertPayload extends Common {
  readonly kind: 'CERT';
  readonly encoding: number;
  readonly data: Uint8Array;
}
export interface CertreqPayload extends Common {
  readonly kind: 'CERTREQ';
  readonly encoding: number;
  /** For X.509: concatenated SHA-1 hashes of SubjectPublicKeyInfo, 20 octets each (§3.7). */
  readonly authorities: Uint8Array;
}
export interface AuthPayload extends Common {
  readonly kind: 'AUTH';
  readonly method: number;
  readonly data: Uint8Array;
}
export interface NoncePayload extends Common {
  readonly kind: 'Nonce';
  readonly data: Uint8Array;
}
export interface NotifyPayload extends Common {
  readonly kind: 'N';
  readonly notify: number;
  /** 0 when the notify concerns no SPI. */
  readonly protocol: number;
  readonly spi: Uint8Array;
  readonly data: Uint8Array;
}
export interface DeletePayload extends Common {
  readonly kind: 'D';
  readonly protocol: number;
  readonly spis: readonly Uint8Array[];
}
export interface VendorIdPayload extends Common {
  readonly kind: 'V';
  readonly data: Uint8Array;
}
export interface TsPayload extends Common {
  readonly kind: 'TSi' | 'TSr';
  readonly selectors: readonly TrafficSelector[];
}
export interface CpPayload extends Common {
  readonly kind: 'CP';
  /** CFG_REQUEST 1, CFG_REPLY 2, CFG_SET 3, CFG_ACK 4. */
  readonly cfgType: number;
  readonly attributes: readonly ConfigurationAttribute[];
}
export interface EapPayload extends Common {
  readonly kind: 'EAP';
  /** The EAP packet, Code onwards. */
  readonly data: Uint8Array;
}
/** RFC 7296 §3.14, still sealed: only as the last payload of a parsed message. */
export interface SkPayload extends Common {
  readonly kind: 'SK';
  /** Type of the first payload inside. */
  readonly inner: number;
  /** Offset in the message of the IV, i.e. of the first octet behind the generic header. */
  readonly bodyOffset: number;
}
/** RFC 7383 §2.5, still sealed. */
export interface SkfPayload extends Common {
  readonly kind: 'SKF';
  /** Type of the first payload inside; set in the first fragment, 0 in the others. */
  readonly inner: number;
  /** From 1. */
  readonly fragment: number;
  readonly total: number;
  /** Offset in the message of the IV, behind Fragment Number and Total Fragments. */
  readonly bodyOffset: number;
}
/** RFC 8019 §8.2. */
export interface PuzzleSolutionPayload extends Common {
  readonly kind: 'PS';
  readonly data: Uint8Array;
}
export interface UnknownPayload extends Common {
  readonly kind: 'unknown';
  readonly type: number;
  readonly data: Uint8Array;
}

export type Payload =
  | SaPayload
  | KePayload
  | IdPayload
  | CertPayload
  | CertreqPayload
  | AuthPayload
  | NoncePayload
  | NotifyPayload
  | DeletePayload
  | VendorIdPayload
  | TsPayload
  | CpPayload
  | EapPayload
  | SkPayload
  | SkfPayload
  | PuzzleSolutionPayload
  | UnknownPayload;

/** The payload of a kind; `IDi` and `IDr`, `TSi` and `TSr` share a shape and differ in `kind` alone. */
export type PayloadOf<K extends Payload['kind']> = OfKind<Payload, K>;

type OfKind<P, K> = P extends { readonly kind: infer Q } ? (K extends Q ? P & { readonly kind: K } : never) : never;
