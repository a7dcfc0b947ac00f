import type { Connection, EndpointLimits, LocalAuth, RedirectPolicy, RemoteAuth } from '../../core/ike/policy.ts';
import type { CongestionName } from '../../core/netstack/index.ts';
import type { IdentityPattern } from '../../core/pki/identity-pattern.ts';
import type { Identification } from '../../core/wire/payloads/types.ts';
import type { PoolPolicy } from '../../host/engine/lease-pool.ts';
import type { PlaneDemand } from './plane-demands.ts';
import type { BehindRange } from './schema/behind.ts';
import type { Place } from './source.ts';

/** A configuration as policy: every default is in it, every reference holds, every path is absolute. Plain data; files are not read yet. */
export interface CompiledConfig {
  /** Undefined where the configuration does not name the instance; its role does then. */
  readonly name: string | undefined;
  readonly connections: readonly CompiledConnection[];
  readonly limits: EndpointLimits;
  /** Threads that compute key exchanges and signatures. */
  readonly workers: number | 'auto';
  /** Undefined: everybody may stay. */
  readonly redirect: RedirectPolicy | undefined;
  readonly pools: readonly PoolPolicy[];
  readonly credentials: CredentialSources;
  readonly listen: ListenSettings;
  readonly plane: PlaneChoice;
  /** What not every data plane carries out; `checkPlane` holds it against the one that was chosen. */
  readonly demands: readonly PlaneDemand[];
  /** Of packets inside the tunnel; undefined: as the data plane has it. */
  readonly mtu: number | undefined;
  /** Of TCP in the process; undefined: as the data plane has it. */
  readonly congestion: CongestionName | undefined;
  readonly espThread: boolean | 'auto';
  readonly bareEsp: boolean;
  /** Our own addresses inside the tunnel, `10.66.0.1/24`; reserved in the pools. */
  readonly addresses: readonly string[];
  /** Networks that clients reach through ordinary sockets of this machine. */
  readonly behind: readonly BehindNetworks[];
  readonly transfer: TransferSettings;
  /** Undefined: no SFTP. */
  readonly sftp: SftpSettings | undefined;
  /** Folder of what outlives a restart, absolute. */
  readonly state: string | undefined;
  readonly control: {
    /** Undefined: `defaultSocketPath` of control. */
    readonly socket: string | undefined;
  };
  /** What the operator should know although nothing is wrong. */
  readonly warnings: readonly ConfigWarning[];
}

/**
 * `remoteAddresses` and `localAddresses` may still hold DNS names; `resolveNames` puts addresses in their place, as the core wants them.
 */
export interface CompiledConnection extends Connection {
  readonly local: readonly LocalAuth[];
  readonly remote: readonly RemoteAuth[];
  /** How often to try before giving up; 0 is for ever. */
  readonly keyingTries: number;
}

export interface ListenSettings {
  /** Literals and `%any`. */
  readonly addresses: readonly string[];
  /** `tcp`: where a gateway takes streams; undefined: nowhere. */
  readonly ports: { readonly ike: number; readonly nat: number; readonly tcp: number | undefined; readonly tcpNeeded: boolean };
  /** Take other ports when these cannot be had. Undefined: as the role has it. */
  readonly fallback: boolean | undefined;
}

export type PlaneChoice = 'auto' | 'xfrm' | 'tun' | 'netns' | 'netstack';

export interface BehindNetworks {
  readonly name: string;
  readonly ranges: readonly BehindRange[];
  /** Empty: all clients. */
  readonly ids: readonly IdentityPattern[];
  /** Empty: clients of all connections. */
  readonly connections: readonly string[];
}

export interface TransferSettings {
  /** Absolute; undefined shares nothing. */
  readonly share: string | undefined;
  /** Absolute; undefined receives nothing. */
  readonly inbox: string | undefined;
  readonly port: number;
  /** Octets a second of all connections; undefined: no limit. */
  readonly limit: number | undefined;
  /** Octets of the largest file that is taken; undefined: any. */
  readonly largest: number | undefined;
  /** Octets of the disk that stay free. */
  readonly keepFree: number;
}

/** Files are named by absolute paths. */
export interface SftpSettings {
  readonly folder: string;
  readonly readOnly: boolean;
  /** Empty: whoever is connected. */
  readonly ids: readonly IdentityPattern[];
  readonly authorizedKeys: string | undefined;
  readonly passwords: string | undefined;
  /** Undefined: in the user's folder for state. */
  readonly hostKey: string | undefined;
  readonly port: number;
  /** As for `transfer`. */
  readonly largest: number | undefined;
  readonly keepFree: number;
}

/** Where keys, certificates and secrets come from. `readCredentials` reads them. */
export interface CredentialSources {
  /** One for each local round with `pubkey`; `LocalAuth.credential` is the handle. */
  readonly certificates: readonly CertificateSource[];
  /** `RemoteAuth.authorities` holds the handles. */
  readonly authorities: readonly AuthoritySource[];
  /** Certificates of peers that are trusted as they are, whoever issued them; handles are used like those of authorities. */
  readonly peers: readonly TrustedSource[];
  /** Public keys of peers (RFC 7670): text as `parsePinnedKey` reads it, or a file. `RemoteAuth.publicKeys` holds the handles. */
  readonly peerKeys: readonly { readonly handle: string; readonly key: string | FileReference }[];
  readonly psks: readonly PskSource[];
  readonly ppks: readonly PpkSource[];
  readonly passphrases: readonly { readonly file: string; readonly secret: SecretSource }[];
}

export interface CertificateSource {
  readonly handle: string;
  /** Candidates; each file may hold a chain behind its first certificate. None: the key goes without (RFC 7670). */
  readonly certificates: readonly FileReference[];
  /** Undefined: the key stands in the file of the certificate. */
  readonly key: FileReference | undefined;
  /** Of which one has to be the public half of the key. */
  readonly publicKeys?: readonly (string | FileReference)[] | undefined;
}

export interface TrustedSource {
  readonly handle: string;
  readonly certificate: FileReference;
}

export interface AuthoritySource extends TrustedSource {
  /** What the URLs of the certificates that it issued begin with (RFC 7296 §3.6). */
  readonly certificateUrls?: string | undefined;
  readonly crlUris: readonly string[];
  readonly ocspUris: readonly string[];
}

export interface PskSource {
  readonly name: string;
  /** Empty: anybody's. */
  readonly owners: readonly IdentityPattern[];
  readonly secret: SecretSource;
}

/** A post-quantum pre-shared key (RFC 8784). */
export interface PpkSource {
  readonly name: string;
  /** What both ends call it: at least one. */
  readonly ids: readonly Identification[];
  readonly secret: SecretSource;
}

export type SecretSource = { readonly place: Place } & (
  | { readonly kind: 'inline'; readonly text: string }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'env'; readonly variable: string }
);

export interface FileReference {
  /** Absolute. */
  readonly path: string;
  /** Where the configuration names it. */
  readonly place: Place;
}

export interface ConfigWarning {
  /** Starts with the place, like an error. */
  readonly message: string;
  readonly hint: string | undefined;
  readonly place: Place;
}
