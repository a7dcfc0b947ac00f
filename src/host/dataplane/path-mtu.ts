/** What Ethernet carries; the kernel fragments outside where a path carries less. */
export const PATH_MTU = 1500;

/** Octets in front of ESP inside UDP: the outer IP header and the UDP header, by IP version. */
export const UDP_ENCAPSULATION = { 4: 20 + 8, 6: 40 + 8 } as const;
