import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { formatIp } from '../../core/bytes/ip-address.ts';
import type { EndpointLimits, RedirectPolicy } from '../../core/ike/policy.ts';
import type { PoolPolicy, ResolverPolicy } from '../../host/engine/lease-pool.ts';
import { compileConnection } from './compile-connection.ts';
import { CompileContext } from './compile-context.ts';
import { compileAuthorities, compilePassphrases, compilePsks } from './compile-credentials.ts';
import { compileSftp } from './compile-sftp.ts';
import type { BehindNetworks, CompiledConfig, CompiledConnection, ListenSettings, TransferSettings } from './compiled.ts';
import { DEFAULT_LIMITS, DEFAULTS } from './defaults.ts';
import type { LoadedConfig } from './load.ts';
import type { PoolSettings, Settings } from './schema.ts';
import { type AddressRange, formatRange } from './values.ts';

/** Settings to policy. Throws `ConfigError` with the place for what fits the schema but not itself, and for what nothing carries out. */
export function compile(config: LoadedConfig): CompiledConfig {
  const context = new CompileContext(config.source, (path) => absolutePath(path, config.directory));
  const { settings } = config;
  context.checkSupported(settings, []);
  const addresses = settings.addresses ?? firstAddresses(settings);
  const pools = compilePools(settings, addresses, context);
  const authorities = compileAuthorities(settings, context);
  const { psks, ppks } = compilePsks(settings, context);
  const transfer = compileTransfer(settings, context);
  const connections = Object.entries(settings.connections ?? {}).map(
    ([name, connection]): CompiledConnection => compileConnection(name, connection, { settings, context, authorities, psks, ppks }),
  );
  return {
    name: settings.name,
    connections,
    limits: compileLimits(settings),
    workers: settings.workers ?? 0,
    redirect: compileRedirect(settings),
    pools,
    credentials: {
      certificates: context.certificates,
      authorities: [...authorities, ...[...context.authorities.values()].map((named) => ({ ...named, crlUris: [], ocspUris: [] }))],
      peers: [...context.peers.values()],
      peerKeys: [...context.peerKeys.values()],
      psks,
      ppks,
      passphrases: compilePassphrases(settings, context),
    },
    listen: compileListen(settings),
    plane: settings.plane ?? 'auto',
    demands: context.demands,
    mtu: settings.mtu,
    congestion: settings.congestion,
    espThread: settings.esp_thread ?? 'auto',
    bareEsp: settings.bare_esp ?? false,
    addresses,
    state: settings.state === undefined ? undefined : context.path(settings.state),
    behind: compileBehind(settings, context),
    transfer,
    sftp: compileSftp(settings, transfer, context),
    control: { socket: settings.control?.socket === undefined ? undefined : context.path(settings.control.socket) },
    warnings: context.warnings.sort((a, b) => (a.place.line ?? 0) - (b.place.line ?? 0) || (a.place.column ?? 0) - (b.place.column ?? 0)),
  };
}

function compileBehind(settings: Settings, context: CompileContext): BehindNetworks[] {
  const known = Object.keys(settings.connections ?? {});
  return Object.entries(settings.behind ?? {}).map(([name, { networks, ids = [], connections = [] }]) => {
    const stray = connections.find((connection) => !known.includes(connection));
    if (stray !== undefined)
      throw context.error(['behind', name, 'connections'], `there is no connection ${stray}`, `Known: ${known.join(', ') || 'none'}.`);
    return { name, ranges: networks, ids, connections };
  });
}

/** Relative paths start at `directory`; `~/` is the home folder. */
export function absolutePath(path: string, directory: string): string {
  if (path === '~' || path.startsWith('~/')) return join(homedir(), path.slice(1));
  return isAbsolute(path) ? path : resolve(directory, path);
}

/** The gateway takes the first usable address of every prefix it gives away from; of single addresses and ranges it takes none. */
export function firstAddresses(settings: Settings): string[] {
  return Object.values(settings.pools ?? {}).flatMap((pool) =>
    (pool.addrs ?? []).flatMap((range) => {
      if (range.prefix === undefined || range.prefix > range.start.length * 8 - 2) return [];
      const first = range.start.slice();
      first[first.length - 1] = first[first.length - 1]! | 1;
      return [`${formatIp(first)}/${range.prefix}`];
    }),
  );
}

function compilePools(settings: Settings, addresses: readonly string[], context: CompileContext): PoolPolicy[] {
  const reserved = addresses.map((address) => address.split('/')[0]!);
  const taken: { readonly name: string; readonly range: AddressRange }[] = [];
  return Object.entries(settings.pools ?? {}).map(([name, pool]): PoolPolicy => {
    const ranges = pool.addrs ?? [];
    for (const range of ranges) {
      const other = taken.find((known) => overlap(known.range, range));
      if (other !== undefined)
        throw context.error(
          ['pools', name, 'addrs'],
          `${formatRange(range)} overlaps ${formatRange(other.range)} of ${other.name === name ? 'the same pool' : `pool ${other.name}`}`,
          'Give every pool addresses of its own.',
        );
      taken.push({ name, range });
    }
    const subnets = pool.split_include ?? [];
    const range = subnets.find((subnet) => subnet.prefix === undefined);
    if (range !== undefined)
      throw context.error(
        ['pools', name, 'split_include'],
        `${formatRange(range)} is not a prefix`,
        'INTERNAL_IP4_SUBNET and INTERNAL_IP6_SUBNET carry prefixes like 10.0.0.0/8.',
      );
    if (pool.domains !== undefined && pool.dns === undefined)
      context.warn(['pools', name, 'domains'], 'names without DNS servers to ask for them', 'Add dns.');
    const stray = Object.keys(pool.trust_anchors ?? {}).find((domain) => !pool.domains?.includes(domain));
    if (stray !== undefined)
      throw context.error(
        ['pools', name, 'trust_anchors', stray],
        'is not among the domains of this pool, and a trust anchor goes with its domain',
        `Add it: domains: ${[...(pool.domains ?? []), stray].join(', ')}.`,
      );
    return {
      name,
      ranges: ranges.map(poolRange),
      reserved,
      servers: reserved,
      dns: pool.dns ?? [],
      domains: pool.domains ?? [],
      ...(pool.encrypted_dns === undefined ? {} : { encryptedDns: pool.encrypted_dns.map(resolver) }),
      ...(pool.trust_anchors === undefined ? {} : { trustAnchors: pool.trust_anchors }),
      subnets: subnets.map(poolRange),
    };
  });
}

/** The order of the configuration is that of preference. */
const resolver = (
  { name, addrs, protocols = ['dot'], port, path, key_digest: key }: NonNullable<PoolSettings['encrypted_dns']>[number],
  at: number,
): ResolverPolicy => {
  const overHttps = protocols.some((protocol) => protocol === 'h2' || protocol === 'h3');
  return {
    priority: at + 1,
    name,
    addresses: addrs,
    alpn: protocols,
    port,
    path: overHttps ? (path ?? '/dns-query{?dns}') : undefined,
    key,
  };
};

/** A prefix stays one, so that network and broadcast address are known. */
const poolRange = (range: AddressRange): string =>
  range.prefix === undefined ? formatRange(range) : `${formatIp(range.start)}/${range.prefix}`;

function overlap(a: AddressRange, b: AddressRange): boolean {
  const text = (octets: Uint8Array) => octets.reduce((sum, octet) => (sum << 8n) | BigInt(octet), 0n);
  return a.family === b.family && text(a.start) <= text(b.end) && text(b.start) <= text(a.end);
}

/** A puzzle goes with a cookie, so none is set before cookies are demanded. */
function puzzleThreshold({
  puzzle_threshold: wanted,
  cookie_threshold = DEFAULT_LIMITS.cookieThreshold,
}: NonNullable<Settings['limits']>): number {
  return Math.max(wanted ?? 4 * cookie_threshold, cookie_threshold);
}

function compileLimits({ limits = {} }: Settings): EndpointLimits {
  return {
    cookieThreshold: limits.cookie_threshold ?? DEFAULT_LIMITS.cookieThreshold,
    puzzles:
      limits.puzzle_difficulty === undefined
        ? undefined
        : { difficulty: limits.puzzle_difficulty, threshold: puzzleThreshold(limits), inAuth: limits.auth_puzzle_difficulty },
    halfOpenPerAddress: limits.half_open_per_address ?? DEFAULT_LIMITS.halfOpenPerAddress,
    halfOpen: limits.half_open ?? DEFAULT_LIMITS.halfOpen,
    halfOpenLife: limits.half_open_life ?? DEFAULT_LIMITS.halfOpenLife,
    ikeSas: limits.ike_sas ?? DEFAULT_LIMITS.ikeSas,
    knownPeers: limits.known_peers && {
      addresses: limits.known_peers.filter((word) => word !== CONNECTIONS),
      connections: limits.known_peers.includes(CONNECTIONS),
    },
    refusals: {
      perSource: limits.refusals_per_address ?? DEFAULT_LIMITS.refusals.perSource,
      inAll: limits.refusals ?? DEFAULT_LIMITS.refusals.inAll,
    },
    cookies: {
      perSource: limits.cookies_per_address ?? DEFAULT_LIMITS.cookies.perSource,
      inAll: limits.cookies ?? DEFAULT_LIMITS.cookies.inAll,
    },
  };
}

/** In `known_peers`: whoever a connection names. */
const CONNECTIONS = 'connections';

function compileRedirect({ redirect }: Settings): RedirectPolicy | undefined {
  if (redirect === undefined) return undefined;
  const { to, when, exchange, grace } = redirect;
  return { to, when: when ?? { kind: 'always' }, exchange: exchange ?? 'init', grace: grace ?? DEFAULTS.redirectGrace };
}

function compileListen({ listen = {} }: Settings): ListenSettings {
  const nat = listen.nat_port ?? DEFAULTS.natPort;
  return {
    addresses: listen.addresses ?? ['%any'],
    ports: {
      ike: listen.port ?? DEFAULTS.ikePort,
      nat,
      tcp: listen.tcp === false ? undefined : (listen.tcp_port ?? nat),
      tcpNeeded: listen.tcp === true || listen.tcp_port !== undefined,
    },
    fallback: listen.fallback,
  };
}

function compileTransfer({ transfer = {} }: Settings, context: CompileContext): TransferSettings {
  return {
    share: transfer.share === undefined ? undefined : context.path(transfer.share),
    inbox: transfer.inbox === undefined ? undefined : context.path(transfer.inbox),
    port: transfer.port ?? DEFAULTS.transferPort,
    limit: transfer.limit,
    largest: transfer.largest === 0 ? undefined : transfer.largest,
    keepFree: transfer.keep_free ?? DEFAULTS.transferKeepFree,
  };
}
