import { z } from 'zod';
import { document, maybeTime, number, time } from './shapes.ts';

// What an instance tells of itself, its peers and their SAs.

const trafficCounters = z.object({ bytes: number, packets: number, lastAt: maybeTime });

const childSa = z.object({
  id: number,
  name: z.string(),
  state: z.string(),
  protocol: z.enum(['ESP', 'AH']),
  mode: z.enum(['tunnel', 'transport']),
  /** Hex. */
  spiIn: z.string(),
  spiOut: z.string(),
  suite: z.string(),
  localTs: z.array(z.string()),
  remoteTs: z.array(z.string()),
  /** What besides was agreed on or is done with its packets: compression, padding, later fragments. */
  packets: z.array(z.string()).optional(),
  establishedAt: time,
  rekeyAt: maybeTime,
  in: trafficCounters,
  out: trafficCounters,
  /** Packets that came for this SA and were dropped: as replays, and as forged or damaged. */
  replay: number,
  bad: number,
  drops: z.record(z.string(), number),
});

export const ikeSa = z.object({
  id: number,
  connection: z.string().nullable(),
  state: z.string(),
  role: z.enum(['initiator', 'responder']),
  /** Hex. */
  spiI: z.string(),
  spiR: z.string(),
  /** `203.0.113.7:4500`. */
  local: z.string(),
  remote: z.string(),
  localId: z.string().nullable(),
  remoteId: z.string().nullable(),
  localAuth: z.string(),
  remoteAuth: z.string(),
  nat: z.object({ ours: z.boolean(), theirs: z.boolean() }),
  /** What carries IKE and ESP (RFC 9329). */
  transport: z.enum(['udp', 'tcp']),
  /** Why it is TCP; null over UDP, and where the peer has chosen. */
  transportReason: z.string().nullable(),
  suite: z.string(),
  fragmentation: z.boolean(),
  /** The id of the post-quantum pre-shared key in its keys (RFC 8784). */
  ppk: z.string().nullable(),
  /** How we may authenticate, as the peer announced (RFC 9593); null where it did not. */
  authMethods: z.array(z.string()).nullable(),
  /** Of the NAT in front of us: seconds between keepalives, and whether they were measured; null without one. */
  keepalive: z.object({ seconds: number, measured: z.boolean() }).nullable(),
  /** Addresses may change (RFC 4555); null where one end does not speak it. */
  mobike: z
    .object({
      /** We choose the addresses. */
      decides: z.boolean(),
      /** Where the peer is besides, as it told. */
      peerAddresses: z.array(z.string()),
    })
    .nullable(),
  /** Requests that may be under way at once, ours and the peer's (RFC 7296 §2.3); null while both are 1. */
  window: z.object({ ours: number, theirs: number }).nullable(),
  /** RFC 6311: which counters both ends bring into step again after one of them took over with older ones; null where neither. */
  counterSync: z.object({ messageIds: z.boolean(), replayCounters: z.boolean() }).nullable(),
  /** RFC 6290: whether the peer would hear at once that we crashed, and we that it did. */
  crashTokens: z.object({ made: z.boolean(), held: z.boolean() }),
  /** It goes on from an earlier IKE SA, by a ticket (RFC 5723). */
  resumed: z.boolean(),
  /** A ticket for it is out, by which it can go on should it be lost. */
  resumable: z.boolean(),
  /** The peer follows redirects (RFC 5685). */
  redirectable: z.boolean(),
  /** The gateway that sent the initiator here. */
  redirectedFrom: z.string().nullable(),
  /** Seconds of silence after which the peer is asked; 0 is never. */
  dpdSeconds: number,
  establishedAt: maybeTime,
  rekeyAt: maybeTime,
  /** When the initiator authenticates anew; null is never. */
  reauthAt: maybeTime,
  lastInboundAt: maybeTime,
  /** Inner addresses that one end assigned to the other: to us, or by us. */
  assigned: z.array(z.string()),
  assignedToUs: z.boolean(),
  /** RFC 8598: names that the gateway has resolved by its own servers; null where it said nothing of names. */
  splitDns: z
    .object({
      servers: z.array(z.string()),
      domains: z.array(z.object({ name: z.string(), /** DS records. */ trustAnchors: z.array(z.string()) })),
      /** What it said besides, and why nothing is done about it. */
      ignored: z.array(z.object({ what: z.string(), why: z.string() })),
    })
    .nullable(),
  /** RFC 9464: resolvers that speak encrypted DNS, as the gateway told; null where it named none, or was not asked. */
  encryptedDns: z
    .object({
      resolvers: z.array(
        z.object({
          name: z.string(),
          addresses: z.array(z.string()),
          /** `dot`, `doq`, `h2`, `h3`. */
          alpn: z.array(z.string()),
          /** Null: that of the protocol. */
          port: number.nullable(),
          path: z.string().nullable(),
          /** `sha256:…` of the public keys that its certificate may have. */
          keys: z.array(z.string()),
        }),
      ),
      /** What it said besides, and why nothing is done about it. */
      ignored: z.array(z.string()),
    })
    .nullable(),
  /** Products and extensions that the peer announced by Vendor IDs, as far as they are known. */
  vendors: z.array(z.string()),
  children: z.array(childSa),
});

const peer = z.object({
  connection: z.string(),
  /** Its identity; null before it proved one. */
  id: z.string().nullable(),
  state: z.enum(['up', 'connecting', 'down']),
  /** Since when it is in this state; null when it never was up. */
  since: maybeTime,
  /** Addresses that were assigned: ours as client, the peer's as gateway. */
  addresses: z.array(z.string()),
  bytesIn: number,
  bytesOut: number,
  /** Of the last exchange that needed no copy. */
  rttMs: number.nullable(),
  suite: z.string().nullable(),
  /** The data plane that its packets pass. */
  plane: z.string(),
  /** What carries it; null while it is down. */
  transport: z.enum(['udp', 'tcp']).nullable(),
  rekeyAt: maybeTime,
  /** Why it is down. */
  reason: z.string().nullable(),
});

const load = z.object({
  ikeSas: number,
  /** IKE SAs whose peer has not authenticated yet. */
  halfOpen: number,
  /** Datagrams that belonged to no IKE SA, since the start. */
  strangers: z.object({
    /** Cookies that were demanded. */
    cookies: number,
    /** Other answers that leave nothing behind. */
    refusals: number,
    /** Puzzles that were set (RFC 8019). */
    puzzles: number,
    /** Answers that were not sent, because there were too many. */
    silenced: number,
    /** From sources that are not among `known_peers`. */
    unknown: number,
  }),
  /** The threads for key exchanges and signatures; null where there are none. */
  workers: z
    .object({
      workers: number,
      /** Work of peers that are proven, of those that have shown that they hear us, of the others. */
      waiting: z.object({ trusted: number, reachable: number, stranger: number }),
      underWay: number,
      done: number,
      /** Put off because there was too much. */
      refused: number,
      /** Not begun: nobody waited for it any more. */
      cancelled: number,
      crashes: number,
    })
    .nullable(),
});

export const statusDocument = document({
  name: z.string(),
  role: z.enum(['gateway', 'client']),
  version: z.string(),
  pid: number,
  startedAt: time,
  at: time,
  plane: z.string(),
  /** Why that one, and what stands in the way of better ones; null where nobody chose. */
  planeChoice: z
    .object({
      /** false: it was asked for by name. */
      automatic: z.boolean(),
      why: z.string(),
      better: z.array(z.object({ name: z.string(), why: z.string(), fix: z.string() })),
    })
    .nullable(),
  /** ESP has a thread of its own; null where nobody can choose that. */
  espThread: z.boolean().nullable(),
  /** What to write before a command so that it has the tunnel as its network; null where the machine's programs do, or none can. */
  enter: z.array(z.string()).nullable(),
  listen: z.array(z.string()),
  peers: z.array(peer),
  load,
});

export const sasDocument = document({ name: z.string(), at: time, ikeSas: z.array(ikeSa) });

export const versionDocument = document({
  name: z.string(),
  role: z.enum(['gateway', 'client']),
  version: z.string(),
  node: z.string(),
  openssl: z.string(),
  pid: number,
});

export type StatusDocument = z.output<typeof statusDocument>;
export type PeerStatus = z.output<typeof peer>;
export type SasDocument = z.output<typeof sasDocument>;
export type IkeSaDocument = z.output<typeof ikeSa>;
export type ChildSaDocument = z.output<typeof childSa>;
export type VersionDocument = z.output<typeof versionDocument>;
