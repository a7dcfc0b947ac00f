/** What Ethernet carries; the kernel fragments outside where a path carries less. */
export const PATH_MTU = 1500;

/** Octets in front of ESP inside UDP: the outer IP header and the UDP header, by IP version. */
export const UDP_ENCAPSULATION = { 4: 20 + 8, 6: 40 + 8 } as const;

/**
 * The least that is believed of a path: anybody who sees a packet can claim that it was too large (RFC 4301 §8.2.1). What IPv4 hosts take in any
 * case (RFC 791 §3.1) and what IPv6 links carry (RFC 8200 §5).
 */
export const LEAST_PATH_MTU = { 4: 576, 6: 1280 } as const;

/** RFC 1191 §6.3, RFC 8201 §4: then larger packets are tried again. */
export const PATH_MTU_LIFE = 600_000;
