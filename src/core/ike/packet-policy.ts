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
  /** Agree on compression with DEFLATE (RFC 3173); false. */
  readonly ipcomp?: boolean | undefined;
  /** Agree that an SA for certain ports carries fragments behind the first (RFC 4301 §7.3); false. */
  readonly laterFragments?: boolean | undefined;
  /** Octets to which packets are padded, or as many as the tunnel takes (RFC 4303 §2.7); 0. */
  readonly tfc?: number | 'mtu' | undefined;
  /** Packets without content, each second on average, at random times (RFC 4303 §2.6); 0. */
  readonly dummies?: number | undefined;
  /** What the kernel's IPsec is told besides; other data planes refuse it. */
  readonly kernel?: KernelPolicy | undefined;
}

/** Marks, interface and card of a CHILD_SA in a kernel. Inbound is what comes from the peer. */
export interface KernelPolicy {
  /** Of XFRM interfaces: its policies and SAs are for what goes through the one with this number. */
  readonly ifIdIn?: number | undefined;
  readonly ifIdOut?: number | undefined;
  /** Its policies are for packets with this mark. */
  readonly markIn?: PacketMark | undefined;
  readonly markOut?: PacketMark | undefined;
  /** The inbound SA, too, is for packets with the mark. */
  readonly markInSa?: boolean | undefined;
  /** Packets have this mark afterwards: opened ones, and sealed ones. */
  readonly setMarkIn?: PacketMark | undefined;
  readonly setMarkOut?: PacketMark | undefined;
  /** The network card encrypts, or takes packets whole: as much as it can, or it must. */
  readonly offload?: 'auto' | 'crypto' | 'packet' | undefined;
}

/** 32 bits, of which those in the mask count; all unless given. */
export interface PacketMark {
  readonly value: number;
  readonly mask?: number | undefined;
}

/** What the two ends agreed on about packets, beside suite, mode and selectors. */
export interface PacketAgreement {
  /** Compression parameter indices, ours and the peer's (RFC 7296 §2.22). */
  readonly ipcomp?: { readonly inboundCpi: number; readonly outboundCpi: number } | undefined;
  /** NON_FIRST_FRAGMENTS_ALSO (RFC 7296 §1.3.1). */
  readonly laterFragments?: boolean | undefined;
}
