import { equalBytes } from '../../core/bytes/bytes.ts';
import { formatIp } from '../../core/bytes/ip-address.ts';
import { rangeToPrefixes } from '../../core/bytes/ranges.ts';
import type { Connection, IkeLifetimes, LocalAuth, RemoteAuth } from '../../core/ike/policy.ts';
import { matchIdentity } from '../../core/pki/identity-pattern.ts';
import { IdType } from '../../core/wire/iana.ts';
import type { Identification } from '../../core/wire/payloads/types.ts';
import { compileChild } from './compile-child.ts';
import type { CompileContext } from './compile-context.ts';
import { anonymousPeer, anonymousSelf } from './compile-null.ts';
import { ownRawKey, peerKeys } from './compile-raw-keys.ts';
import { compileShunt, isShunt } from './compile-shunt.ts';
import type { AuthoritySource, CompiledConnection, FileReference, PpkSource, PskSource, TrustedSource } from './compiled.ts';
import { CLIENT_RETRANSMISSION, DEFAULTS, SITE_RETRANSMISSION } from './defaults.ts';
import { parseProposals } from './proposals.ts';
import type { EndpointSetting } from './schema/connection.ts';
import type { ConnectionSettings, LocalRoundSettings, RemoteRoundSettings, Settings } from './schema.ts';
import type { Path } from './source.ts';
import { type AddressRange, formatRange } from './values.ts';

interface Surroundings {
  readonly settings: Settings;
  readonly context: CompileContext;
  readonly authorities: readonly AuthoritySource[];
  readonly psks: readonly PskSource[];
  readonly ppks: readonly PpkSource[];
}

export function compileConnection(name: string, connection: ConnectionSettings, around: Surroundings): CompiledConnection {
  const { context } = around;
  const path: Path = ['connections', name];
  const legacy = connection.legacy ?? false;
  if (legacy) context.warn([...path, 'legacy'], 'algorithms that can be broken are permitted here');
  const remoteAddresses = addresses(connection.remote_addrs);
  const entries = Object.entries(connection.children ?? {});
  const children = entries.filter(([, child]) => !isShunt(child));
  const shunts = entries.filter(([, child]) => isShunt(child));
  const childless = connection.childless ?? 'allow';
  if (children.length === 0 && childless !== 'force')
    throw context.error(
      [...path, 'children'],
      'is missing: without a child no traffic passes',
      'Add for instance children: {net: {remote_ts: 10.0.0.0/8}}.',
    );
  const starts = children.find(([, child]) => child.start_action === 'start' || child.start_action === 'trap');
  if (starts !== undefined && !isDialable(connection.remote_addrs)) {
    throw context.error(
      [...path, 'children', starts[0], 'start_action'],
      'there is no address to connect to',
      'Add remote_addrs with an address or a name, or leave start_action out.',
    );
  }
  for (const [i, pool] of (connection.pools ?? []).entries()) {
    if (!Object.hasOwn(around.settings.pools ?? {}, pool))
      throw context.error(
        [...path, 'pools', i],
        `there is no pool ${pool}`,
        `Known: ${Object.keys(around.settings.pools ?? {}).join(', ') || 'none'}.`,
      );
  }
  return {
    name,
    localAddresses: addresses(connection.local_addrs),
    remoteAddresses,
    remotePort: connection.remote_port ?? DEFAULTS.ikePort,
    remoteNatPort: connection.remote_nat_port ?? DEFAULTS.natPort,
    transport: connection.transport ?? 'auto',
    remoteTcpPort: connection.remote_tcp_port ?? connection.remote_nat_port ?? DEFAULTS.natPort,
    tcpAfter: connection.tcp_after ?? DEFAULTS.tcpAfter,
    proposals: context.proposals([...path, 'proposals'], parseProposals(connection.proposals ?? ['default'], 'IKE', legacy)),
    local: oneRound(connection.local, [...path, 'local'], context).map((round, i) =>
      localAuth(round, [...path, 'local', i], name, connection, around),
    ),
    remote: oneRound(connection.remote, [...path, 'remote'], context).map((round, i) =>
      remoteAuth(round, [...path, 'remote', i], connection, around),
    ),
    children: children.map(([child, settings]) => compileChild(child, settings, [...path, 'children', child], connection, context)),
    ...(shunts.length === 0
      ? {}
      : { shunts: shunts.map(([child, settings]) => compileShunt(child, settings, [...path, 'children', child], context)) }),
    pools: connection.pools ?? [],
    virtualIps: (connection.vips ?? []).map(formatIp),
    splitDns: splitDns(connection),
    encryptedDns: connection.encrypted_dns ?? false,
    fragmentation: connection.fragmentation ?? 'yes',
    fragmentSize: connection.fragment_size ?? DEFAULTS.fragmentSize,
    windowSize: connection.window_size ?? DEFAULTS.windowSize,
    encap: connection.encap ?? false,
    sendCert: connection.send_cert ?? 'always',
    sendCertreq: connection.send_certreq ?? true,
    authMethods: connection.announce_auth_methods ?? true,
    puzzles: connection.max_puzzle ?? DEFAULTS.maxPuzzle,
    lifetimes: ikeLifetimes(connection, path, context),
    liveness: { delay: connection.dpd_delay ?? DEFAULTS.dpdDelay },
    retransmission: retransmission(connection),
    natKeepalive: connection.nat_keepalive ?? DEFAULTS.natKeepalive,
    unique: typeof connection.unique === 'number' ? connection.unique : UNIQUE[connection.unique ?? 'replace'],
    natKeepaliveMost: connection.nat_keepalive_most ?? NAT_KEEPALIVE_MOST,
    mobike: connection.mobike ?? true,
    ppk: ppk(connection, path, around),
    mobikeReturnRoutability: connection.mobike_return_routability ?? true,
    mobikeAddresses: (connection.mobike_addrs ?? ['%any']).flatMap((place) => (typeof place === 'string' ? [place] : prefixesOf(place))),
    natsAllowed: connection.nats_allowed ?? true,
    childless,
    testRekey: connection.test_rekey ?? false,
    redirect: {
      follow: connection.redirect !== 'refuse',
      most: connection.max_redirects ?? DEFAULTS.maxRedirects,
      within: connection.redirect_period ?? DEFAULTS.redirectPeriod,
    },
    resumption: connection.resumption ?? false,
    counterSync: connection.counter_sync ?? true,
    crashDetection: crashDetection(connection, path, around),
    keyingTries: connection.keyingtries ?? 1,
  };
}

/** Whether the connection names somebody to dial. */
export const isDialable = (remote: readonly EndpointSetting[] | undefined): boolean =>
  (remote ?? []).some((endpoint) => endpoint.kind === 'name' || (endpoint.kind === 'range' && isHost(endpoint.range)));

function addresses(endpoints: readonly EndpointSetting[] | undefined): string[] {
  return (endpoints ?? [{ kind: 'any', text: '%any' }]).flatMap((endpoint) => {
    if (endpoint.kind !== 'range')
      return endpoint.text === '%any4' ? ['0.0.0.0/0'] : endpoint.text === '%any6' ? ['::/0'] : [endpoint.text];
    return prefixesOf(endpoint.range);
  });
}

const prefixesOf = (range: AddressRange): string[] =>
  range.prefix === undefined ? rangeToPrefixes(range).map(formatRange) : [formatRange(range)];

function localAuth(
  round: LocalRoundSettings,
  path: Path,
  name: string,
  connection: ConnectionSettings,
  { context, psks }: Surroundings,
): LocalAuth {
  const schemes = round.schemes === undefined ? {} : { schemes: round.schemes };
  switch (round.auth) {
    case 'psk': {
      if (psks.length === 0) throw context.error([...path, 'auth'], 'there is no pre-shared key', ADD_PSK, 'SECRET_MISSING');
      const id = round.id ?? ownAddressId(connection.local_addrs);
      if (id === undefined)
        throw context.error(
          [...path, 'id'],
          'is missing: with a pre-shared key we must say who we are',
          'Add a name that the other end knows, for instance id: laptop.example.com.',
        );
      return { auth: 'psk', id, ...schemes };
    }
    case 'pubkey': {
      const credential = `${name}.local[0]`;
      if (round.certs === undefined) {
        if (round.key === undefined)
          throw context.error(
            [...path, 'certs'],
            'is missing: with auth: pubkey we prove who we are with a certificate, or with a raw key',
            'Add certs and key, or key alone for a raw public key (RFC 7670), or use auth: psk.',
          );
        return ownRawKey(round, path, credential, context);
      }
      if (round.pubkeys !== undefined)
        throw context.error([...path, 'pubkeys'], 'a key goes with its certificate or raw, not both', 'Leave out certs or pubkeys.');
      const certificates = round.certs.map((file, i) => context.file([...path, 'certs', i], file));
      context.certificates.push({
        handle: credential,
        certificates,
        key: round.key === undefined ? undefined : context.file([...path, 'key'], round.key),
      });
      return { auth: 'pubkey', id: round.id, credential, ...schemes };
    }
    case 'null':
      return anonymousSelf(round, path, context);
    default:
      throw notSpoken(round.auth, path, context);
  }
}

function remoteAuth(
  round: RemoteRoundSettings,
  path: Path,
  connection: ConnectionSettings,
  { settings, context, authorities, psks }: Surroundings,
): RemoteAuth {
  if (round.id_from_cert === true && (round.auth !== 'pubkey' || round.pubkeys !== undefined))
    throw context.error(
      [...path, 'id_from_cert'],
      'has no use: the peer brings no certificate that counts',
      'Leave it out, or use auth: pubkey with authorities.',
    );
  const common = { id: round.id ?? { kind: 'any' as const }, ...(round.schemes === undefined ? {} : { schemes: round.schemes }) };
  switch (round.auth) {
    case 'psk':
      if (!psks.some((psk) => couldBeOf(psk, common.id)))
        throw context.error(
          [...path, 'auth'],
          'there is no pre-shared key for this peer',
          `${ADD_PSK} With ids, if it is not for everybody.`,
          'SECRET_MISSING',
        );
      return { auth: 'psk', ...common };
    case 'pubkey': {
      const issuers = round.cacerts?.map((file, i) => trusted(context.authorities, context.file([...path, 'cacerts', i], file)));
      const peers = round.certs?.map((file, i) => trusted(context.peers, context.file([...path, 'certs', i], file)));
      const publicKeys = peerKeys(round, path, context);
      // Whoever is named here is trusted alone; an empty list would mean everybody that any connection trusts.
      const handles =
        issuers === undefined && peers === undefined && publicKeys.length === 0
          ? authorities.map((authority) => authority.handle)
          : [...(issuers ?? []), ...(peers ?? [])];
      if (handles.length === 0 && publicKeys.length === 0)
        throw context.error(
          path,
          'no authority is trusted for this peer, so no certificate of it would be',
          'Add cacerts here, or authorities at the top; or pubkeys here for a peer without certificate.',
          'AUTHORITY_MISSING',
        );
      return {
        auth: 'pubkey',
        ...common,
        authorities: handles,
        ...(publicKeys.length === 0 ? {} : { publicKeys }),
        ...(round.id_from_cert === true && { idFromCertificate: true }),
      };
    }
    case 'null':
      return anonymousPeer(round, path, { connection, dialable: isDialable(connection.remote_addrs) }, settings, context);
    default:
      throw notSpoken(round.auth, path, context);
  }
}

/** RFC 8598, for whoever asks for addresses. */
function splitDns({
  dns_domains: domains = [{ kind: 'any' }],
  trust_anchors: trustAnchors = [],
}: ConnectionSettings): Connection['splitDns'] {
  if (domains.some(({ kind }) => kind === 'none')) return undefined;
  const names = domains.flatMap((each) => (each.kind === 'domain' ? [each.name] : []));
  return { accept: domains.some(({ kind }) => kind === 'any') ? 'any' : names, trustAnchors };
}

/** RFC 8784, RFC 9867. An id is compared by its octets, whatever it looks like. */
function ppk(connection: ConnectionSettings, path: Path, { context, ppks }: Surroundings): Connection['ppk'] {
  const { ppk_id: id, ppk_required: required = false, ppk_exchange: exchange = 'any' } = connection;
  if (id === undefined) {
    if (required) throw context.error([...path, 'ppk_required'], 'needs ppk_id', 'Say which: ppk_id: ppk1.example.com, or %any.');
    return undefined;
  }
  const names = ppks.flatMap(({ ids }) => ids);
  const known = names.some((name) => (id.kind === 'exact' ? equalBytes(id.id.data, name.data) : matchIdentity(id, name)));
  if (!known)
    throw context.error(
      [...path, 'ppk_id'],
      'fits no post-quantum pre-shared key',
      'Add one: secrets: {quantum: {kind: ppk, ids: ppk1.example.com, secret_file: quantum.ppk}}.',
      'SECRET_MISSING',
    );
  return { id, required, exchange: PPK_EXCHANGE[exchange] };
}

/** Our address as identity, where the configuration knows it. */
function ownAddressId(endpoints: readonly EndpointSetting[] | undefined): Identification | undefined {
  const own = endpoints?.find((endpoint) => endpoint.kind === 'range' && isHost(endpoint.range));
  return own?.kind === 'range'
    ? { idType: own.range.family === 4 ? IdType.ID_IPV4_ADDR : IdType.ID_IPV6_ADDR, data: own.range.start }
    : undefined;
}

/** A key without owners is anybody's; else one owner must be, or be matched by, the identity. */
function couldBeOf(psk: PskSource, id: RemoteAuth['id']): boolean {
  if (psk.owners.length === 0 || id.kind !== 'exact') return true;
  return psk.owners.some((owner) => matchIdentity(owner, id.id));
}

/** The handle of a certificate that is named by file: loaded once, whoever names it. */
function trusted(known: Map<string, TrustedSource>, certificate: FileReference): string {
  const handle = certificate.path;
  if (!known.has(handle)) known.set(handle, { handle, certificate });
  return handle;
}

function oneRound<T>(rounds: readonly T[], path: Path, context: CompileContext): readonly T[] {
  if (rounds.length === 0) throw context.error(path, 'is empty: at least one round of authentication is needed');
  if (rounds.length > 1)
    throw context.error(
      [...path, 1],
      'more than one round of authentication (RFC 4739) is not carried out',
      'Leave one round.',
      'CONFIG_UNSUPPORTED',
    );
  return rounds;
}

const notSpoken = (auth: string, path: Path, context: CompileContext) =>
  context.error([...path, 'auth'], `auth: ${auth} is not carried out`, 'Use psk, pubkey or null.', 'CONFIG_UNSUPPORTED');

function ikeLifetimes(connection: ConnectionSettings, path: Path, context: CompileContext): IkeLifetimes {
  const rekey = connection.rekey_time ?? DEFAULTS.ikeRekey;
  const reauth = connection.reauth_time ?? 0;
  const over = (soft: number) => connection.over_time ?? Math.round(soft * DEFAULTS.margin);
  const shorter = Math.min(...[rekey, reauth].filter((soft) => soft > 0));
  const jitter = connection.rand_time ?? (shorter === Number.POSITIVE_INFINITY ? 0 : Math.round(shorter * DEFAULTS.margin));
  if (jitter >= shorter)
    throw context.error(
      [...path, 'rand_time'],
      `is not shorter than ${shorter === rekey ? 'rekey_time' : 'reauth_time'}`,
      'A tenth of it is usual.',
    );
  return { rekey, jitter, hard: rekey === 0 ? 0 : rekey + over(rekey), reauth, ...(reauth > 0 ? { reauthGrace: over(reauth) } : {}) };
}

function crashDetection({ crash_detection: wanted }: ConnectionSettings, path: Path, { settings, context }: Surroundings): boolean {
  if (wanted === true && settings.state === undefined)
    context.warn(
      [...path, 'crash_detection'],
      'tokens of peers are taken, but none are made: there is no secret that outlives a restart',
      'Add state with a folder.',
    );
  return wanted ?? true;
}

function retransmission(connection: ConnectionSettings): Connection['retransmission'] {
  const standard = connection.vips === undefined ? SITE_RETRANSMISSION : CLIENT_RETRANSMISSION;
  const { initial, base, give_up } = connection.retransmission ?? {};
  return {
    initial: initial ?? standard.initial,
    base: base ?? standard.base,
    giveUp: give_up ?? standard.giveUp,
    // RFC 4555 §3.11: time enough for the initiator to find another path
    ...(give_up === undefined ? { responderGiveUp: MOBIKE_RESPONDER_GIVE_UP } : {}),
  };
}

const NAT_KEEPALIVE_MOST = 110_000;
const MOBIKE_RESPONDER_GIVE_UP = 300_000;
const PPK_EXCHANGE = { any: undefined, ike_intermediate: 'IKE_INTERMEDIATE', ike_auth: 'IKE_AUTH' } as const;
/** `keep` is one and no more; `no` lets both stand. */
const UNIQUE: Readonly<Record<'replace' | 'never' | 'no' | 'keep', Connection['unique']>> = {
  replace: 'replace',
  never: 'never',
  no: 'keep',
  keep: 1,
};
const isHost = (range: AddressRange): boolean => range.prefix === range.start.length * 8;
const ADD_PSK = 'Add one: secrets: {home: {kind: psk, secret_file: home.psk}}.';
