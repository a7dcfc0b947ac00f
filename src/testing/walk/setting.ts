import type { ChildPolicy, Connection } from '../../core/ike/index.ts';
import type { LinkConditions } from '../link.ts';
import type { NatOptions } from '../nat.ts';
import { childPolicy, connectionPolicy, espProposal, fqdn, ikeProposal, subnet } from '../policies.ts';
import type { SeededRandom } from '../seeded.ts';
import type { Extension } from './extensions.ts';
import { PACES, type Pace, type Temper } from './temper.ts';

/** What a seed decides before the first step: who is there, behind what, with which policies. */
export interface Setting {
  /** Every client has a line to the hub. */
  readonly clients: readonly ClientSetting[];
  readonly hub: { readonly name: string; readonly address: string };
  readonly temper: Temper;
  /** Only what must not break anything is done. */
  readonly gentle: boolean;
  /** Of every link while nothing is wrong with it. */
  readonly link: Partial<LinkConditions>;
}

export interface ClientSetting {
  readonly name: string;
  readonly address: string;
  readonly nat: NatOptions | undefined;
  /** What the client calls its line. */
  readonly connection: Connection;
  /** What the hub calls the same line. */
  readonly hubConnection: Connection;
  /** Spoken besides RFC 7296; none unless it says so. */
  readonly extensions?: ReadonlySet<Extension> | undefined;
  /** Names of the children that the operator wants up. */
  readonly children: readonly string[];
}

export function drawSetting(random: SeededRandom, temper: Temper): Setting {
  const pace = PACES[temper];
  const hub = { name: 'b', address: '198.51.100.2' };
  const names = random.chance(pace.secondClient) ? ['a', 'c'] : ['a'];
  const gentle = random.chance(pace.gentle);
  return {
    hub,
    temper,
    gentle,
    link: { delay: random.between(1, 60), jitter: random.chance(0.3) ? random.between(1, 80) : 0 },
    clients: names.map((name, i) => drawClient(random, pace, name, i, hub.address)),
  };
}

function drawClient(random: SeededRandom, pace: Pace, name: string, index: number, hubAddress: string): ClientSetting {
  const outside = `192.0.2.${10 + index}`;
  const nat = random.chance(0.4) ? drawNat(random, outside) : undefined;
  const address = nat === undefined ? outside : `10.200.${index}.5`;
  const count = random.chance(pace.secondChild) ? 2 : 1;
  const children = Array.from({ length: count }, (_, i) => drawChild(random, pace, i, 1 + 2 * index));
  const common = drawCommon(random, pace);
  const remote = (peer: string): Connection['remote'] => [{ auth: 'psk', id: { kind: 'exact', id: fqdn(`${peer}.example`) } }];
  return {
    name,
    address,
    nat,
    children: children.map(({ name: child }) => child),
    connection: connectionPolicy({
      ...common,
      name: 'hub',
      localAddresses: [address],
      remoteAddresses: [hubAddress],
      remote: remote('b'),
      children: children.map((child) => ({ ...child, startAction: 'start', dpdAction: 'start', closeAction: 'start' })),
    }),
    hubConnection: connectionPolicy({
      ...common,
      name: `to ${name}`,
      localAddresses: [hubAddress],
      remoteAddresses: [outside, '%any'],
      remote: remote(name),
      childless: random.pick(['allow', 'prefer']),
      children: children.map((child) => ({ ...child, localTs: child.remoteTs, remoteTs: child.localTs })),
    }),
  };
}

/** One client's `10.n.i.0/24`, one of the hub's `10.100.i.0/24`. */
function drawChild(random: SeededRandom, pace: Pace, i: number, net: number): ChildPolicy {
  const rekey = random.chance(pace.rekeyChild) ? random.between(30, 300) * 1000 : 0;
  const exchanges = random.chance(0.5);
  const packets = random.chance(pace.rekeyPackets) ? random.between(5, 20) : 0;
  return childPolicy({
    name: i === 0 ? 'net' : 'voice',
    localTs: [subnet(`10.${net}.${i}.0/24`)],
    remoteTs: [subnet(`10.100.${i}.0/24`)],
    proposals: [espProposal(exchanges ? 'aes128gcm16-x25519-esn-noesn' : 'aes128gcm16-noesn')],
    pfs: random.pick(exchanges ? ['require', 'prefer', 'off'] : ['off']),
    replayWindow: random.pick([64, 1024]),
    lifetimes: {
      rekey,
      jitter: Math.floor(rekey / 5),
      hard: rekey === 0 ? 0 : Math.floor(rekey * 1.5) + 60_000,
      rekeyBytes: 0,
      hardBytes: 0,
      rekeyPackets: packets,
      hardPackets: packets === 0 ? 0 : 100_000,
    },
  });
}

function drawCommon(random: SeededRandom, pace: Pace): Partial<Connection> {
  const rekey = random.chance(pace.rekeyIke) ? random.between(60, 600) * 1000 : 0;
  return {
    // ESP in user space goes inside UDP only
    encap: true,
    proposals: [ikeProposal(random.pick(['aes128gcm16-prfsha256-x25519', 'aes128gcm16-prfsha256-x25519-ecp256']))],
    lifetimes: { rekey, jitter: Math.floor(rekey / 5), hard: rekey === 0 ? 0 : Math.floor(rekey * 1.5) + 120_000, reauth: 0 },
    liveness: { delay: random.between(20, 40) * 1000 },
    retransmission: { initial: random.between(500, 1000), base: 1.8, giveUp: random.between(45, 60) * 1000 },
    childless: random.pick(['allow', 'allow', 'prefer', 'force']),
    fragmentSize: random.pick([1280, 1280, 576]),
  };
}

function drawNat(random: SeededRandom, outside: string): NatOptions {
  const kinds = ['endpoint-independent', 'address-dependent', 'address-and-port-dependent'] as const;
  return {
    outside: [outside],
    mapping: random.pick(kinds),
    filtering: random.pick(kinds),
    ports: random.pick(['preserve', 'sequential', 'random']),
    // longer than the client's liveness checks are apart: it keeps its mapping by itself
    timeout: random.between(60, 180) * 1000,
    inboundRefresh: true,
  };
}
