import { z } from 'zod';
import { ikeSa, sasDocument, statusDocument, versionDocument } from './documents.ts';
import { document, maybeTime, number, time } from './shapes.ts';

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

/**
 * The local API: HTTP and JSON on a unix socket. This is its one description; server, client, command line and documentation are made
 * from it. Every document carries `"schema": 1`; times are ISO 8601, octets of keys never appear.
 */
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
