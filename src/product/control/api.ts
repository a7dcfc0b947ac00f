import { z } from 'zod';

/**
 * The local API: HTTP and JSON on a unix socket. This is its one description; server, client, command line and documentation are made
 * from it. Every document carries `"schema": 1`; times are ISO 8601, octets of keys never appear.
 */
const document = <T extends z.ZodRawShape>(shape: T) => z.object({ schema: z.literal(1), ...shape });
const time = z.string();
const maybeTime = z.string().nullable();
const number = z.number();

/** How every failure is told; `type` is the class of the error, `code` its stable name. */
export const errorBody = z.object({
  type: z.string(),
  code: z.string(),
  message: z.string(),
  hint: z.string().optional(),
  section: z.string().optional(),
  /** Number of the peer's notify, where one caused it. */
  notify: number.optional(),
  /** Running the same command again goes on where this ended. */
  resumable: z.boolean().optional(),
});
export const errorDocument = document({ error: errorBody });

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

const ikeSa = z.object({
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

const SELECT_ONE = 'name exactly one of connection, ikeSa, child and all';
const optionalName = z.string().min(1).max(128).optional();
const id = z.number().int().nonnegative().optional();
const selection = {
  connection: optionalName,
  ikeSa: id,
  child: id,
  all: z.boolean().optional(),
  force: z.boolean().optional(),
};

export const upRequest = z.strictObject({
  connection: z.string().min(1).max(128),
  child: optionalName,
  /** Rekeys it at once, to show what will come of later rekeyings; events `rekey-tested` tell. */
  testRekey: z.boolean().optional(),
});
export const downRequest = z.strictObject(selection).refine(oneSelector, { error: SELECT_ONE });
const terminateRequest = z
  .strictObject({ ikeSa: id, child: id, force: z.boolean().optional() })
  .refine(oneSelector, { error: 'name exactly one of ikeSa and child' });
export const rekeyRequest = z
  .strictObject({ ...selection, children: z.boolean().optional(), reauth: z.boolean().optional() })
  .refine(oneSelector, { error: SELECT_ONE });
export const redirectRequest = z
  .strictObject({ to: z.string().min(1).max(253), connection: optionalName, ikeSa: id, all: z.boolean().optional() })
  .refine(oneSelector, { error: 'name exactly one of connection, ikeSa and all' });
const transferShape = {
  /** Connections at once. */
  parallel: z.number().int().min(1).max(16).optional(),
  /** Octets a second at most, over all of them. */
  limit: z.number().int().min(16_384).optional(),
};
export const sendRequest = z.strictObject({
  files: z.array(z.string().min(1).max(4096)).min(1).max(1000),
  peer: z.string().min(1).max(256),
  path: z.string().max(4096),
  ...transferShape,
});
const getCommon = { destination: z.string().min(1).max(4096), ...transferShape };
export const getRequest = z.union([
  z.strictObject({ peer: z.string().min(1).max(256), path: z.string().max(4096), ...getCommon }),
  z.strictObject({ url: z.string().min(1).max(8192), ca: z.string().max(1_000_000).optional(), ...getCommon }),
]);

export const listRequest = z.strictObject({ peer: z.string().min(1).max(256), path: z.string().max(4096) });
export const listDocument = document({
  entries: z.array(
    z.object({
      name: z.string(),
      kind: z.enum(['file', 'folder', 'link']),
      size: number,
      /** Of a link null, and mode 0. */
      modified: maybeTime,
      mode: number,
      /** Where a link leads. */
      target: z.string().optional(),
    }),
  ),
});

export const pingRequest = z.strictObject({
  host: z.string().min(1).max(253),
  size: z.number().int().min(0).max(65_000).optional(),
  timeout: z.number().int().min(1).max(3_600_000).optional(),
});
export const pingDocument = document({
  /** Who answered. */
  from: z.string(),
  /** Milliseconds. */
  rttMs: number,
  /** The peer whose tunnel it took, as address and port of its outer end; null where that is not known. */
  via: z.string().nullable(),
  transport: z.enum(['udp', 'tcp']).nullable(),
});

export const resolveRequest = z.strictObject({ host: z.string().min(1).max(253) });
export const resolveDocument = document({ ip: z.string() });

export const countDocument = document({ ikeSas: number, children: number });

/** One line of `/v1/events` and of the progress of `up`: a notice of the core with its octets as text. */
export const eventLine = z.looseObject({ event: z.string(), at: time });

/** One line of the progress of `send` and `get`. */
export const progressLine = z.object({
  event: z.literal('progress'),
  phase: z.enum(['hashing', 'connecting', 'sending', 'receiving', 'verifying', 'waiting', 'done']),
  name: z.string(),
  bytes: number,
  total: number,
  rate: number,
  eta: number.nullable(),
  resumedFrom: number,
  retries: number,
  retryIn: number.nullable(),
  /** Of a tree, which has more than one file; those that were across before are among them. */
  files: z.object({ done: number, total: number }).optional(),
});

/** The last line of a stream. */
export const upDone = z.object({ event: z.literal('up'), at: time, ikeSa, tookMs: number });
export const transferDone = z.object({
  event: z.literal('transferred'),
  files: z.array(
    z.object({
      name: z.string(),
      path: z.string(),
      bytes: number,
      /** Of one file. The files of a tree have been compared one by one. */
      sha256: z.string().nullable(),
      tookMs: number,
      resumedFrom: number,
      /** Of one file: what had been damaged, and was moved again alone, from the first octet to before `end`. */
      mended: z
        .array(z.object({ start: number, end: number }))
        .readonly()
        .optional(),
      tree: z
        .object({
          files: number,
          /** Those that were across before this run. */
          known: number,
          /** What did not travel, and why: the first hundred, and how many in all. */
          skipped: z.array(z.object({ name: z.string(), why: z.string() })),
          skippedCount: number,
        })
        .optional(),
    }),
  ),
  /** What each ESP SA with the peer carried meanwhile, other traffic included. */
  spis: z.array(z.object({ /** Hex. */ spi: z.string(), direction: z.enum(['in', 'out']), packets: number, bytes: number })),
  /** Octets of files that moved and that no SPI accounts for; null where packets are compressed, and so count less than they are. */
  outside: number.nullable(),
});
export const failedLine = z.object({ event: z.literal('error'), error: errorBody });

export type ErrorBody = z.output<typeof errorBody>;
export type StatusDocument = z.output<typeof statusDocument>;
export type PeerStatus = z.output<typeof peer>;
export type SasDocument = z.output<typeof sasDocument>;
export type IkeSaDocument = z.output<typeof ikeSa>;
export type ChildSaDocument = z.output<typeof childSa>;
export type VersionDocument = z.output<typeof versionDocument>;
export type ProgressLine = z.output<typeof progressLine>;
export type ListDocument = z.output<typeof listDocument>;
export type TransferDone = z.output<typeof transferDone>;

export interface Route {
  readonly method: 'GET' | 'POST';
  readonly path: `/v1/${string}`;
  readonly summary: string;
  readonly request?: z.ZodType;
  readonly response: z.ZodType;
  /** Newline-delimited JSON: each line is a `response`, or a `failedLine` at the end. */
  readonly stream?: true;
}

export const ROUTES = {
  version: { method: 'GET', path: '/v1/version', summary: 'What is running here.', response: versionDocument },
  status: { method: 'GET', path: '/v1/status', summary: 'One entry for each peer.', response: statusDocument },
  sas: { method: 'GET', path: '/v1/sas', summary: 'Every IKE SA and CHILD_SA in full.', response: sasDocument },
  events: {
    method: 'GET',
    path: '/v1/events',
    summary: 'What happens from now on; `?connection=NAME` keeps to one.',
    response: eventLine,
    stream: true,
  },
  up: {
    method: 'POST',
    path: '/v1/up',
    summary: 'Brings a connection up; ends with `up`.',
    request: upRequest,
    response: z.union([upDone, eventLine]),
    stream: true,
  },
  down: {
    method: 'POST',
    path: '/v1/down',
    summary: 'Closes a connection; it is not started again by itself.',
    request: downRequest,
    response: countDocument,
  },
  terminate: {
    method: 'POST',
    path: '/v1/terminate',
    summary: 'Closes SAs by number; what is configured to come again does.',
    request: terminateRequest,
    response: countDocument,
  },
  rekey: { method: 'POST', path: '/v1/rekey', summary: 'Gives SAs fresh keys.', request: rekeyRequest, response: countDocument },
  redirect: {
    method: 'POST',
    path: '/v1/redirect',
    summary: 'Sends clients to another gateway (RFC 5685); of several, those that do not follow are passed over.',
    request: redirectRequest,
    response: countDocument,
  },
  ping: {
    method: 'POST',
    path: '/v1/ping',
    summary: 'One echo request through a tunnel.',
    request: pingRequest,
    response: pingDocument,
  },
  resolve: {
    method: 'POST',
    path: '/v1/resolve',
    summary: 'The address of a name, from the resolver behind a tunnel.',
    request: resolveRequest,
    response: resolveDocument,
  },
  send: {
    method: 'POST',
    path: '/v1/send',
    summary: 'Sends files and folders to a peer; ends with `transferred`.',
    request: sendRequest,
    response: z.union([progressLine, transferDone]),
    stream: true,
  },
  get: {
    method: 'POST',
    path: '/v1/get',
    summary: 'Fetches a file or folder from a peer, or what a URL names from an HTTP server behind a tunnel; ends with `transferred`.',
    request: getRequest,
    response: z.union([progressLine, transferDone]),
    stream: true,
  },
  list: {
    method: 'POST',
    path: '/v1/list',
    summary: 'What is in a folder that a peer shares.',
    request: listRequest,
    response: listDocument,
  },
} as const satisfies Readonly<Record<string, Route>>;

export type RouteName = keyof typeof ROUTES;

function oneSelector(value: { connection?: unknown; ikeSa?: unknown; child?: unknown; all?: unknown }): boolean {
  return [value.connection, value.ikeSa, value.child, value.all].filter((part) => part !== undefined && part !== false).length === 1;
}

export type { InstanceFacts } from '../../host/engine/engine-types.ts';
export type {
  ControlTarget,
  GetRequest,
  Listed,
  ListRequest,
  PingRequest,
  SaSelection,
  SendRequest,
  TransferProgress,
  TransferResult,
  Transferred,
  TransferShape,
  TransferTarget,
  UpRequest,
  UpResult,
} from './target.ts';
