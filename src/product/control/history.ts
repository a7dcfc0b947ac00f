import type { Millis, Notice } from '../../core/ike/effects.ts';
import type { Connection } from '../../core/ike/policy.ts';
import { formatIdentity } from '../../core/pki/identity.ts';
import type { IkeSaStatus } from '../../host/engine/engine.ts';
import type { PeerStatus } from './documents.ts';
import { iso, type ToIso } from './encode.ts';

/** Which plane it passes is the same for all. */
type KnownPeer = Omit<PeerStatus, 'plane'>;

interface Gone {
  readonly connection: string;
  readonly id: string | null;
  /** Wall clock. */
  readonly at: number;
  readonly reason: string;
  /** It was up before. */
  readonly wasUp: boolean;
}

/** What `status` knows beyond the SAs that stand: who was here and why not any more, and how quickly peers answer. Bounded. */
export class PeerHistory {
  readonly #gone = new Map<string, Gone>();
  readonly #up = new Map<number, { readonly connection: string; readonly id: string | null; readonly since: Millis | undefined }>();
  readonly #connections = new Map<number, string>();
  readonly #rtt = new Map<number, Millis>();

  record(notice: Notice, at: number): void {
    switch (notice.kind) {
      case 'ike-state':
        if (notice.connection !== undefined) remember(this.#connections, notice.ikeSa, notice.connection);
        return;
      case 'exchange':
        // A copy may have crossed the answer to the original.
        if (notice.initiator && notice.retransmissions === 0) remember(this.#rtt, notice.ikeSa, notice.took);
        return;
      case 'ike-up': {
        const { connection } = notice.info;
        if (connection === undefined) return;
        const id = shownId(notice.info);
        remember(this.#up, notice.ikeSa, { connection, id, since: notice.info.establishedAt });
        remember(this.#connections, notice.ikeSa, connection);
        this.#gone.delete(keyOf(connection, id));
        this.#gone.delete(keyOf(connection, null));
        return;
      }
      case 'ike-rekeyed': {
        const peer = this.#up.get(notice.from);
        if (peer === undefined) return;
        remember(this.#up, notice.to, peer);
        remember(this.#connections, notice.to, peer.connection);
        const rtt = this.#rtt.get(notice.from);
        if (rtt !== undefined) remember(this.#rtt, notice.to, rtt);
        return;
      }
      case 'ike-down':
        this.#down(notice, at);
        return;
    }
  }

  connectionOf(ikeSa: number): string | undefined {
    return this.#connections.get(ikeSa);
  }

  /** One entry for each peer: those with an IKE SA, those that were here, and connections that we could bring up. */
  peers(connections: readonly Connection[], sas: readonly IkeSaStatus[], toIso: ToIso): KnownPeer[] {
    const living = sas.filter((sa) => UP.has(sa.state) || BEGINNING.has(sa.state));
    const present = living.filter((sa) => sa.connection !== undefined).map((sa) => this.#present(sa, toIso));
    const shown = new Set(present.map((peer) => keyOf(peer.connection, peer.id)));
    const known = new Set(connections.map(({ name }) => name));
    const gone = [...this.#gone.values()]
      .filter(
        ({ connection, id }) =>
          known.has(connection) &&
          !shown.has(keyOf(connection, id)) &&
          !(id === null && present.some((peer) => peer.connection === connection)),
      )
      .map((entry): KnownPeer => absent(entry.connection, entry.id, entry.wasUp ? iso(entry.at) : null, entry.reason));
    const idle = connections
      .filter((connection) => isDialled(connection) && ![...present, ...gone].some((peer) => peer.connection === connection.name))
      .map(({ name }) => absent(name, null, null, null));
    return [...present, ...gone, ...idle];
  }

  #present(sa: IkeSaStatus, toIso: ToIso): KnownPeer {
    const up = UP.has(sa.state);
    // a rekeying is no interruption
    const since = this.#up.get(sa.id)?.since ?? sa.establishedAt;
    const children = sa.children.filter((child) => child.state !== 'dead');
    const sum = (pick: (child: IkeSaStatus['children'][number]) => number | undefined) =>
      children.reduce((total, child) => total + (pick(child) ?? 0), 0);
    const rekeys = children.map((child) => child.rekeyAt).filter((at) => at !== undefined);
    const rekeyAt = rekeys.length > 0 ? Math.min(...rekeys) : sa.rekeyAt;
    return {
      connection: sa.connection!,
      id: shownId(sa),
      state: up ? 'up' : 'connecting',
      since: since === undefined ? null : toIso(since),
      addresses: [...sa.assigned],
      bytesIn: sum((child) => child.counters?.inbound.bytes),
      bytesOut: sum((child) => child.counters?.outbound.bytes),
      rttMs: roundTrip(this.#rtt.get(sa.id)),
      suite: children[0]?.suite ?? (up ? sa.suite : null),
      transport: up ? (sa.transport ?? 'udp') : null,
      rekeyAt: rekeyAt === undefined ? null : toIso(rekeyAt),
      reason: null,
    };
  }

  #down(notice: Extract<Notice, { kind: 'ike-down' }>, at: number): void {
    const peer = this.#up.get(notice.ikeSa);
    const connection = peer?.connection ?? notice.connection ?? this.#connections.get(notice.ikeSa);
    for (const map of [this.#up, this.#connections, this.#rtt]) map.delete(notice.ikeSa);
    if (connection === undefined) return;
    const id = peer?.id ?? null;
    const reason = notice.error?.message ?? notice.reason;
    const key = keyOf(connection, id);
    this.#gone.delete(key);
    remember(this.#gone, key, { connection, id, at, reason, wasUp: peer !== undefined });
  }
}

/** RFC 7619 §3.1: whoever proved no identity is shown by its address, so that it cannot stand in the place of somebody who did. */
function shownId({ remoteId, remoteAuth, remote }: Pick<IkeSaStatus, 'remoteId' | 'remoteAuth' | 'remote'>): string | null {
  if (remoteId === undefined) return null;
  if (remoteAuth !== ANONYMOUS) return formatIdentity(remoteId);
  return `anonymous ${remote.ip}${remoteId.data.length === 0 ? '' : ` (says ${formatIdentity(remoteId)})`}`;
}

const ANONYMOUS = 'NULL_AUTHENTICATION';

const absent = (connection: string, id: string | null, since: string | null, reason: string | null): KnownPeer => ({
  connection,
  id,
  state: 'down',
  since,
  addresses: [],
  bytesIn: 0,
  bytesOut: 0,
  rttMs: null,
  suite: null,
  transport: null,
  rekeyAt: null,
  reason,
});

const keyOf = (connection: string, id: string | null): string => JSON.stringify([connection, id]);

/** Whether we would begin it: a peer with an address. */
const isDialled = (connection: Connection): boolean =>
  connection.remoteAddresses.some((address) => !address.startsWith('%any') && !address.includes('/'));

const roundTrip = (took: Millis | undefined): number | null => (took === undefined ? null : Math.round(took * 10) / 10);

function remember<K, V>(map: Map<K, V>, key: K, value: V): void {
  map.set(key, value);
  if (map.size > MOST_REMEMBERED) map.delete(map.keys().next().value as K);
}

const UP: ReadonlySet<string> = new Set(['established', 'rekeying']);
const BEGINNING: ReadonlySet<string> = new Set(['connecting', 'half-open', 'authenticating']);
const MOST_REMEMBERED = 4096;
