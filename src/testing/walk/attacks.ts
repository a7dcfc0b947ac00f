import type { Address } from '../../core/bytes/index.ts';
import { ExchangeType, NotifyType, type Payload, ProtocolId, writeMessage } from '../../core/wire/index.ts';
import type { Packet } from '../network.ts';
import type { SeededRandom } from '../seeded.ts';
import type { WalkAction } from './action.ts';
import type { Line, WalkWorld } from './world.ts';

/** What somebody on the path can do who has no keys. None of it may end, move or change anything. */
export const ATTACKS: readonly WalkAction[] = [
  {
    name: 'random octets',
    weight: 1,
    run(world, random) {
      const line = random.pick(world.lines);
      const towards = random.pick(['client', 'hub'] as const);
      send(world, line, towards, random.bytes(random.between(1, 120)), random.pick([500, 4500]));
      return `to ${line[towards].name}`;
    },
  },
  {
    name: 'replay',
    weight: 4,
    run(world, random) {
      const packets = onInternet(world);
      if (packets.length === 0) return undefined;
      const count = random.between(1, 4);
      for (let i = 0; i < count; i++) world.internet.core.send(world.attacker, { ...random.pick(packets) });
      return `${count} packets`;
    },
  },
  {
    name: 'mutated copies',
    weight: 3,
    run(world, random) {
      const packets = onInternet(world);
      if (packets.length === 0) return undefined;
      const packet = random.pick(packets);
      const data = packet.data.slice();
      const at = random.chance(0.5) ? Math.min(data.length - 1, random.between(0, 40)) : random.between(0, data.length - 1);
      data[at] = data[at]! ^ (1 << random.between(0, 7));
      const cut = random.chance(0.2) ? data.subarray(0, random.between(0, data.length)) : data;
      // from where it came, or from somewhere else: an address is worth as much as what is in the packet
      const source = random.chance(0.5) ? packet.source : { ip: '203.0.113.66', port: random.between(1024, 65_535) };
      world.internet.core.send(world.attacker, { ...packet, source, data: cut });
      return `octet ${at} of ${data.length}`;
    },
  },
  {
    name: 'unprotected message',
    weight: 3,
    run(world, random) {
      const { line, towards, sa } = pickSa(world, random);
      if (sa === undefined) return undefined;
      const payload = random.pick(UNPROTECTED);
      const exchange = random.pick([
        ExchangeType.INFORMATIONAL,
        ExchangeType.CREATE_CHILD_SA,
        ExchangeType.IKE_AUTH,
        ExchangeType.IKE_SA_INIT,
      ]);
      // the flag of the other end’s role, so that it is taken for the other end’s
      const flags = { initiator: sa.role === 'responder', response: random.chance(0.5), version: false };
      const header = { spiI: sa.spiI, spiR: sa.spiR, majorVersion: 2, minorVersion: 0, exchange, flags, messageId: random.between(0, 5) };
      const message = writeMessage(header, [payload]);
      send(world, line, towards, Uint8Array.of(0, 0, 0, 0, ...message), 4500);
      return `${payload.kind === 'N' ? `N(${payload.notify})` : payload.kind} to ${line[towards].name}`;
    },
  },
  {
    name: 'ICMP says too big',
    weight: 1,
    run(world, random) {
      const line = random.pick(world.lines);
      const towards = random.pick(['client', 'hub'] as const);
      const other = towards === 'client' ? line.hub : line.client;
      line[towards].peer.observe({
        kind: 'path-mtu',
        remote: { ip: other.peer.host.addressFor(), port: 4500 },
        mtu: random.pick([0, 68, 576, 1280]),
      });
      return `to ${line[towards].name}`;
    },
  },
];

/** What an attacker who sees the internet can send again. */
const onInternet = (world: WalkWorld): readonly Packet[] => {
  const reachable = [...world.hub.peer.host.addresses];
  for (const { setting, client } of world.lines) reachable.push(...(setting.nat?.outside ?? client.peer.host.addresses));
  return world.ledger.seen.filter(({ destination }) => reachable.includes(destination.ip));
};

function pickSa(world: WalkWorld, random: SeededRandom) {
  const line = random.pick(world.lines);
  const towards = random.pick(['client', 'hub'] as const);
  const sas = line[towards].peer.ikeSas;
  return { line, towards, sa: sas.length === 0 ? undefined : random.pick(sas) };
}

/** To one end of a line, with the source address of the other. */
function send(world: WalkWorld, line: Line, towards: 'client' | 'hub', data: Uint8Array, port: number): void {
  const outside = (side: 'client' | 'hub'): string =>
    (side === 'client' && line.setting.nat?.outside[0]) || line[side].peer.host.addressFor();
  const source: Address = { ip: outside(towards === 'client' ? 'hub' : 'client'), port };
  const mapped = towards === 'client' ? line.client.nat?.mappings.find(({ inside }) => inside.port === port)?.outside : undefined;
  const destination = mapped ?? { ip: outside(towards), port };
  world.internet.core.send(world.attacker, { protocol: 'udp', source, destination, data });
}

const note = (notify: number): Payload => ({ kind: 'N', protocol: 0, spi: new Uint8Array(0), notify, data: new Uint8Array(0) });

const UNPROTECTED: readonly Payload[] = [
  { kind: 'D', protocol: ProtocolId.IKE, spis: [] },
  note(NotifyType.INVALID_SYNTAX),
  note(NotifyType.AUTHENTICATION_FAILED),
  note(NotifyType.INVALID_IKE_SPI),
  note(NotifyType.INVALID_MAJOR_VERSION),
  note(NotifyType.NO_PROPOSAL_CHOSEN),
  note(NotifyType.TEMPORARY_FAILURE),
  note(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD),
  note(NotifyType.CHILD_SA_NOT_FOUND),
  note(NotifyType.COOKIE),
];
