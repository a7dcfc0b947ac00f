import { KeyUsage } from './extensions.ts';
import { Oid } from './oid.ts';

/** What an end entity's key is wanted for. */
export interface KeyPurpose {
  /** For sentences: "… is not meant for <name>". */
  readonly name: string;
  /** Extended key usages of which one must be there, on the whole way down, wherever the extension is present. */
  readonly extendedKeyUsages: readonly string[];
  /** anyExtendedKeyUsage stands for all of them. */
  readonly acceptsAny: boolean;
  /** The end entity must have the extension. */
  readonly mustBePresent: boolean;
  /** Bits of KeyUsage of which one must be set where the extension is present; 0 asks for none. */
  readonly keyUsage: number;
}

/**
 * RFC 4945 §5.1.3.2: the key signs. RFC 4945 §5.1.3.12: no extended key usage, or ipsecIKE or anyExtendedKeyUsage. *Exception*: the other
 * purposes that VPN certificates carry in practice count as well. Windows and Apple clients demand serverAuth of a gateway and send
 * certificates for clientAuth; ikeIntermediate and the three IPsec purposes of 1999 are what older tools issue.
 */
export const IKE_PURPOSE: KeyPurpose = {
  name: 'IKE',
  extendedKeyUsages: [
    Oid.ipsecIke,
    Oid.serverAuth,
    Oid.clientAuth,
    Oid.ikeIntermediate,
    Oid.ipsecEndSystem,
    Oid.ipsecTunnel,
    Oid.ipsecUser,
  ],
  acceptsAny: true,
  mustBePresent: false,
  keyUsage: KeyUsage.digitalSignature | KeyUsage.nonRepudiation,
};

/** The server of EAP-TLS, EAP-TTLS and PEAP, and of HTTPS (RFC 5280 §4.2.1.12). */
export const SERVER_PURPOSE: KeyPurpose = {
  name: 'TLS servers',
  extendedKeyUsages: [Oid.serverAuth],
  acceptsAny: true,
  mustBePresent: false,
  keyUsage: KeyUsage.digitalSignature | KeyUsage.keyEncipherment | KeyUsage.keyAgreement,
};

/** The peer of EAP-TLS (RFC 5280 §4.2.1.12). */
export const CLIENT_PURPOSE: KeyPurpose = {
  name: 'TLS clients',
  extendedKeyUsages: [Oid.clientAuth],
  acceptsAny: true,
  mustBePresent: false,
  keyUsage: KeyUsage.digitalSignature | KeyUsage.keyAgreement,
};

/** Whatever the certificate allows. */
export const ANY_PURPOSE: KeyPurpose = { name: 'this use', extendedKeyUsages: [], acceptsAny: true, mustBePresent: false, keyUsage: 0 };
