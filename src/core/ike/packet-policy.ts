/** What becomes of the packets of a CHILD_SA, beyond what the two ends agree on. Each absent field stands for its default. */
export interface PacketPolicy {
  /** Which way the DSCP is copied: to the outer header, from it, both or neither (RFC 4301 §5.1.2); `out` unless it says otherwise. */
  readonly copyDscp?: 'out' | 'in' | 'yes' | 'no' | undefined;
  /** DSCP of the outer header where it is not copied, 0 to 63; 0. */
  readonly outerDscp?: number | undefined;
  /** Carry congestion marks between inner and outer header (RFC 6040); true. */
  readonly copyEcn?: boolean | undefined;
  /** DF of an outer IPv4 header that we write: as the inner one, always or never; `copy`. */
  readonly df?: 'copy' | 'set' | 'clear' | undefined;
  /** Lower the MSS of TCP SYNs, either way, to what fits the tunnel, or to this; true. */
  readonly clampMss?: boolean | number | undefined;
}
