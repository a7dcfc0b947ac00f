// node outside-ah.js SETTINGS      AH of ours over a raw socket to a peer's kernel: sends echo requests, and answers those that come
import { setTimeout as sleep } from 'node:timers/promises';
import { systemRandom } from '../../../src/core/crypto/index.ts';
import type { ChildSaSpec } from '../../../src/core/ike/effects.ts';
import { IcmpType, IcmpView, IpProtocol, IpView } from '../../../src/core/packet/index.ts';
import { EspPlane } from '../../../src/host/dataplane/esp-plane.ts';
import { RawDevice } from '../../../src/host/dataplane/fast/raw-device.ts';
import { RawPaths } from '../../../src/host/dataplane/fast/raw-paths.ts';
import { systemClock } from '../../../src/host/platform/clock.ts';
import { needNative } from '../../../src/host/platform/linux/ffi.ts';
import { RawIp } from '../../../src/host/platform/linux/raw.ts';
import { selector } from '../../host/support/packets.ts';
import { answering } from '../../interop/support/dialogue.ts';
import { IDENTIFIER, icmpPacket, pattern } from './echo.ts';
import type { Question } from './outside.ts';

export interface AhSettings {
  /** Outer addresses; in transport mode there are no others. */
  readonly local: string;
  readonly remote: string;
  readonly inside: string;
  readonly remoteInside: string;
  readonly mode: ChildSaSpec['mode'];
  readonly esn: boolean;
  readonly spiIn: number;
  readonly spiOut: number;
  readonly integrity: number;
  /** Hexadecimal, both directions alike. */
  readonly integrityKey: string;
}

export interface AhAnswer {
  /** Requests that were answered with what was sent. */
  readonly answered: number;
  /** Requests of the peer's that were answered so far. */
  readonly served: number;
  /** Authentic packets of the peer's. */
  readonly packets: number;
  readonly drops: Readonly<Record<string, number>>;
}

const settings = JSON.parse(process.argv[2]!) as AhSettings;
const native = await needNative('tun');
const { fd } = RawIp.open(native, { ip: settings.local, protocol: IpProtocol.AH });
const port = new RawDevice(native, fd, settings.local, IpProtocol.AH);
const paths = new RawPaths();
paths.add(port);
let [twice, broken, served, octets] = [false, false, 0, 0];
const answered = new Set<number>();
const plane = new EspPlane({
  backend: 'test',
  clock: systemClock,
  random: systemRandom(),
  openPath: (local, remote) => {
    const path = paths.path(local, remote)!;
    return {
      ...path,
      sendWhole: (packet) => {
        if (broken) path.sendWhole?.(packet.map((octet, i) => (i === packet.length - 1 ? octet ^ 1 : octet)));
        if (twice) path.sendWhole?.(packet.slice());
        return path.sendWhole?.(packet) ?? false;
      },
    };
  },
  onObservation: () => undefined,
  deliver: (buffer, start, end) => onInner(buffer.slice(start, end)),
});
plane.install(child(settings));
setInterval(() => {
  while (port.receive((packet, start, end) => void plane.receiving.receiveWhole(packet, start, end)));
}, 5);
answering(ask);

async function ask(question: Question): Promise<AhAnswer> {
  answered.clear();
  octets = question.octets;
  [twice, broken] = [question.twice ?? false, question.broken ?? false];
  for (let sequence = 0; sequence < question.requests; sequence++)
    plane.send(packetOf(IcmpType.ECHO, IDENTIFIER * 0x10000 + sequence, pattern(octets)));
  [twice, broken] = [false, false];
  for (let waited = 0; waited < 20_000 && answered.size < question.requests; waited += 50) await sleep(50);
  const { inbound, drops } = plane.counters(1)!;
  return { answered: answered.size, served, packets: inbound.packets, drops };
}

function onInner(packet: Uint8Array): void {
  const [ip, icmp] = [new IpView(), new IcmpView()];
  if (!ip.parse(packet) || !icmp.parse(ip)) return;
  const data = packet.subarray(icmp.start, icmp.end);
  if (icmp.type === IcmpType.ECHO_REPLY && icmp.identifier === IDENTIFIER && Buffer.compare(data, pattern(octets)) === 0)
    answered.add(icmp.sequence);
  if (icmp.type !== IcmpType.ECHO) return;
  served++;
  plane.send(packetOf(IcmpType.ECHO_REPLY, icmp.rest, data));
}

function child({ mode, esn, spiIn, spiOut, integrity, integrityKey, local, remote }: AhSettings): ChildSaSpec {
  const keys = (spi: number) => ({
    ...{ spi, integrity, integrityKey: new Uint8Array(Buffer.from(integrityKey, 'hex')) },
    ...{ encryption: 0, keyLength: undefined, encryptionKey: new Uint8Array() },
  });
  return {
    ...{ id: 1, ikeSa: 1, connection: 'net', name: 'net', protocol: 'AH', mode, esn, replayWindow: 64, encap: false },
    ...{ outboundActive: true, replaces: undefined, assigned: [] },
    limits: { softBytes: 0, hardBytes: 0, softPackets: 0, hardPackets: 0 },
    inbound: keys(spiIn),
    outbound: keys(spiOut),
    localTs: [selector(`${settings.inside}/32`)],
    remoteTs: [selector(`${settings.remoteInside}/32`)],
    local: { ip: local, port: 500 },
    remote: { ip: remote, port: 500 },
  };
}

function packetOf(type: number, rest: number, data: Uint8Array): Uint8Array {
  return icmpPacket(settings.inside, settings.remoteInside, type, rest, data);
}
