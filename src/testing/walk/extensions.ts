import { utf8 } from '../../core/bytes/index.ts';
import type { ChildPolicy, Connection, IkeSaInfo } from '../../core/ike/index.ts';
import { espProposal, fqdn, ikeProposal } from '../policies.ts';
import { SeededRandom } from '../seeded.ts';
import type { WalkAction } from './action.ts';
import type { ClientSetting, Setting } from './setting.ts';
import { PACES } from './temper.ts';
import type { Line, Side, WalkWorld } from './world.ts';

/** What both ends of a line speak besides RFC 7296. */
export type Extension = (typeof EXTENSIONS)[number];
export const EXTENSIONS = ['window', 'reauth', 'additional', 'ppk', 'resumption', 'crash', 'mobike'] as const;

/** Many lines speak plain IKEv2, the others some of everything. */
export function extend(setting: Setting, seed: number | string): Setting {
  const { extended, extension: share } = PACES[setting.temper];
  return {
    ...setting,
    clients: setting.clients.map((client) => {
      const random = new SeededRandom(seed, `extensions of ${client.name}`);
      if (!random.chance(extended)) return client;
      return EXTENSIONS.filter(() => random.chance(share)).reduce((line, extension) => ADD[extension](line, random), client);
    }),
  };
}

/** Steps that only lines with an extension have. */
export const EXTENDED: readonly (WalkAction & { readonly of: Extension; readonly rare?: boolean })[] = [
  {
    of: 'reauth',
    name: 'authenticate anew',
    weight: 2,
    run(world, random) {
      const line = pick(world, random, 'reauth');
      const side = line[random.pick(['client', 'hub'] as const)];
      const sa = standing(side, line)[0];
      if (sa === undefined) return undefined;
      side.peer.reauthenticate(sa.id);
      return `${side.name} ${line.client.name}`;
    },
  },
  {
    of: 'mobike',
    name: 'address changes',
    weight: 3,
    run(world, random) {
      const line = pick(world, random, 'mobike');
      const [before, after] = addresses(world, line, random);
      if (before === after) return undefined;
      // what the peer sends before it has heard goes to where nobody is
      world.leak([line], world.now + MOVED);
      excuseBeginners(world, line);
      excuseOutdated(world, [line]);
      line.client.peer.host.addAddress(after);
      world.moved(line.client, after);
      if (random.chance(0.5)) world.run(random.between(0, 300));
      line.client.peer.host.removeAddress(before);
      return `${line.client.name} to ${after}`;
    },
  },
  {
    of: 'mobike',
    name: 'address is lost for a while',
    weight: 1,
    run(world, random) {
      const line = pick(world, random, 'mobike');
      const [before, after] = addresses(world, line, random);
      world.leak([line], world.now + 2 * MOVED);
      excuseBeginners(world, line);
      excuseOutdated(world, [line]);
      line.client.peer.host.removeAddress(before);
      world.run(random.between(10, 8000));
      line.client.peer.host.addAddress(after);
      world.moved(line.client, after);
      return `${line.client.name} to ${after}`;
    },
  },
  {
    of: 'mobike',
    name: 'hub has another address for a while',
    weight: 2,
    run(world, random) {
      const line = pick(world, random, 'mobike');
      const { host } = line.hub.peer;
      // all that it has
      if (host.addresses.join() === HUB_ALSO) return undefined;
      if (!host.addresses.includes(HUB_ALSO)) {
        world.gains(line.hub, HUB_ALSO);
        return `${HUB_ALSO} comes`;
      }
      // whose traffic comes there has to hear of it, or to miss it
      const moving = world.lines.filter(({ setting }) =>
        line.hub.peer.ikeSas.some((sa) => sa.connection === setting.hubConnection.name && sa.local.ip === HUB_ALSO),
      );
      world.leak(moving, world.now + MOVED);
      excuseOutdated(world, moving);
      host.removeAddress(HUB_ALSO);
      return `${HUB_ALSO} goes`;
    },
  },
  {
    of: 'mobike',
    name: 'hub loses the address that is dialled',
    weight: 1,
    rare: true,
    run(world) {
      const { host } = world.hub.peer;
      if (!host.addresses.includes(HUB_ALSO) || host.addresses.length === 1) return undefined;
      // who has not heard of the other one has no way to it
      const prepared = world.lines.every(
        ({ client, setting }) => setting.extensions?.has('mobike') && client.peer.ikeSas.every(knowsOther),
      );
      if (!prepared) return undefined;
      world.leak(world.lines, world.now + MOVED + NOTICED);
      excuseOutdated(world, world.lines);
      world.hubMoved(HUB_ALSO);
      return `${HUB_ALSO} stays`;
    },
  },
];

const knowsOther = ({ state, remote, mobike }: IkeSaInfo): boolean =>
  state === 'established' && (remote.ip === HUB_ALSO || mobike?.peerAddresses.includes(HUB_ALSO) === true);

function pick(world: WalkWorld, random: SeededRandom, extension: Extension): Line {
  return random.pick(world.lines.filter(({ setting }) => setting.extensions?.has(extension)));
}

const standing = (side: Side, line: Line) => {
  const name = side === line.client ? line.setting.connection.name : line.setting.hubConnection.name;
  return side.peer.established.filter(({ connection, state }) => connection === name && state === 'established');
};

/** RFC 4555 §3.5 is about IKE SAs that stand: one that is being authenticated does not move, and begins anew only when it was given up. */
function excuseBeginners(world: WalkWorld, line: Line): void {
  const beginners = line.client.peer.ikeSas.some(({ state }) => state === 'authenticating');
  if (beginners) world.excuse([line], 'the client moved before it was authenticated', true);
}

/** Who came back with an old memory may take for old what is asked of it (§2.3), COOKIE2 as well: then the other end never learns whether it is there. */
function excuseOutdated(world: WalkWorld, lines: readonly Line[]): void {
  const outdated = lines.filter((line) => line.outdated.size > 0);
  world.excuse(outdated, 'an address changed after an end had come back with an old memory');
  world.leak(outdated);
}

/** The one it has, and one that it may have next. */
function addresses(world: WalkWorld, line: Line, random: SeededRandom): readonly [string, string] {
  const [before = line.setting.address] = line.client.peer.host.addresses;
  const last = 100 + 50 * world.lines.indexOf(line) + random.between(0, 49);
  return [before, `${before.slice(0, before.lastIndexOf('.'))}.${last}`];
}

type Ends = 'connection' | 'hubConnection';

function withBoth(
  client: ClientSetting,
  extension: Extension,
  change: (connection: Connection, end: Ends) => Partial<Connection>,
): ClientSetting {
  const { connection, hubConnection, extensions = [] } = client;
  return {
    ...client,
    extensions: new Set([...extensions, extension]),
    connection: { ...connection, ...change(connection, 'connection') },
    hubConnection: { ...hubConnection, ...change(hubConnection, 'hubConnection') },
  };
}

const ADD: Readonly<Record<Extension, (client: ClientSetting, random: SeededRandom) => ClientSetting>> = {
  window: (client, random) => withBoth(client, 'window', () => ({ windowSize: random.pick([2, 3, 8]) })),
  reauth: (client, random) => {
    const ends = random.pick([['connection'], ['hubConnection'], ['connection', 'hubConnection']] as const);
    return withBoth(client, 'reauth', ({ lifetimes }, end) =>
      (ends as readonly Ends[]).includes(end) ? { lifetimes: { ...lifetimes, reauth: random.between(150, 900) * 1000 } } : {},
    );
  },
  additional: (client, random) => {
    const child = random.chance(0.5);
    return withBoth(client, 'additional', ({ children }) => ({
      proposals: [ikeProposal('aes128gcm16-prfsha256-x25519-ke1_ecp256')],
      children: child ? children.map((one): ChildPolicy => ({ ...one, pfs: 'require', proposals: [CHILD_KES] })) : children,
    }));
  },
  ppk: (client, random) => {
    const required = random.chance(0.5);
    return withBoth(client, 'ppk', () => ({ ppk: { id: { kind: 'exact', id: fqdn(PPK_ID) }, required } }));
  },
  resumption: (client) => withBoth(client, 'resumption', () => ({ resumption: true })),
  crash: (client) => withBoth(client, 'crash', () => ({ crashDetection: true })),
  mobike: (client) =>
    withBoth(client, 'mobike', ({ localAddresses, retransmission }, end) => ({
      mobike: true,
      // RFC 4555 §3.11: the responder waits for the other end to find a path, or to find that its NAT has another mapping
      retransmission: { ...retransmission, responderGiveUp: 240_000 },
      localAddresses: [...localAddresses, end === 'connection' ? '%any' : HUB_ALSO],
    })),
};

const PPK_ID = 'ppk.example';
/** What every machine of a walk holds. */
export const PPKS: Readonly<Record<string, Uint8Array>> = { [PPK_ID]: utf8('a post-quantum pre-shared key of the simulation') };
const CHILD_KES = espProposal('aes128gcm16-x25519-ke1_ecp256-esn-noesn');
/** Beside the one that clients dial. */
const HUB_ALSO = '198.51.100.3';
/** Milliseconds in which an end has told the other where it is now. */
const MOVED = 30_000;
/** In which a client asks whether a hub lives that has not reached it: the longest delay of `setting.ts`. */
const NOTICED = 40_000;
