import type { EndpointLimits, Retransmission } from '../../core/ike/policy.ts';

/** What holds when a configuration does not say. Milliseconds and octets. */
export const DEFAULTS = {
  ikeRekey: 4 * 3_600_000,
  childRekey: 3_600_000,
  /** Rekeying begins at random in this last part of a lifetime; past it by as much, the SA ends. */
  margin: 0.1,
  rekeyBytes: 64 * 2 ** 30,
  /** For ciphers with blocks of 64 bits: 2^25 blocks, of which two are alike once in some ten thousand keys. */
  smallBlockRekeyBytes: 256 * 2 ** 20,
  rekeyPackets: 2 ** 30,
  dpdDelay: 30_000,
  natKeepalive: 20_000,
  /** What every IPv6 link carries (RFC 8200 §5), and IPv4 paths do. */
  fragmentSize: 1280,
  windowSize: 1,
  replayWindow: 1024,
  ikePort: 500,
  natPort: 4500,
  /** Three copies in most cases: a path that loses one or two is none without UDP. */
  tcpAfter: 5000,
  transferPort: 9467,
  transferKeepFree: 64 * 1024 * 1024,
  sftpPort: 22,
  /** RFC 5685 §7. */
  maxPuzzle: 18,
  maxRedirects: 5,
  redirectPeriod: 300_000,
  redirectGrace: 30_000,
} as const;

/** Whoever asks for an address is a client, with a person waiting; between two sites nobody does. */
export const CLIENT_RETRANSMISSION: Retransmission = { initial: 1000, base: 1.8, giveUp: 60_000 };
export const SITE_RETRANSMISSION: Retransmission = { initial: 1000, base: 1.8, giveUp: 165_000 };

export const DEFAULT_LIMITS = {
  cookieThreshold: 32,
  halfOpenPerAddress: 5,
  halfOpen: 4096,
  halfOpenLife: 10_000,
  ikeSas: 65_536,
  refusals: { perSource: 50, inAll: 2000 },
  cookies: { perSource: 1000, inAll: 100_000 },
} as const satisfies EndpointLimits;
