/** IKEv2 Traffic Selector Types. */
export const TsType = {
  TS_IPV4_ADDR_RANGE: 7,
  TS_IPV6_ADDR_RANGE: 8,
  TS_FC_ADDR_RANGE: 9, // RFC 4595
  TS_SECLABEL: 10, // RFC 9478
} as const;

/** IKEv2 Notification IPCOMP Transform IDs. */
export const IpcompTransformId = {
  IPCOMP_OUI: 1,
  IPCOMP_DEFLATE: 2,
  IPCOMP_LZS: 3,
  IPCOMP_LZJH: 4,
} as const;

/** Assigned Internet Protocol Numbers, as far as a selector or a packet beneath one is likely to name them. */
export const IpProtocol = {
  HOPOPT: 0,
  ICMP: 1,
  IGMP: 2,
  IPv4: 4,
  TCP: 6,
  EGP: 8,
  UDP: 17,
  DCCP: 33,
  IPv6: 41,
  RSVP: 46,
  GRE: 47,
  ESP: 50,
  AH: 51,
  ICMPv6: 58,
  NONXT: 59,
  EIGRP: 88,
  OSPF: 89,
  IPIP: 94,
  PIM: 103,
  IPCOMP: 108,
  VRRP: 112,
  L2TP: 115,
  SCTP: 132,
  MH: 135,
  UDPLITE: 136,
  AGGFRAG: 144, // RFC 9347
} as const;
