// node outside.js SETTINGS      ESP of ours over UDP to a peer's kernel: sends echo requests, and answers those that come
import { createSocket } from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';
import { createPacketCipher, systemRandom } from '../../../src/core/crypto/index.ts';
import { InboundSa, OpenedPacket, OutboundSa } from '../../../src/core/esp/index.ts';
import { IcmpType, IcmpView, IpProtocol, IpView } from '../../../src/core/packet/index.ts';
import { answering } from '../../interop/support/dialogue.ts';
import { IDENTIFIER, icmpPacket, pattern } from './echo.ts';

export interface Settings {
  /** Outer and inner addresses of both ends. */
  readonly local: string;
  readonly remote: string;
  readonly inside: string;
  readonly remoteInside: string;
  readonly spiIn: number;
  readonly spiOut: number;
  readonly esn: boolean;
  readonly encryption: number;
  readonly keyLength?: number;
  /** Hexadecimal, both directions alike. */
  readonly encryptionKey: string;
  readonly integrity?: number;
  readonly integrityKey?: string;
}

/** So many echo requests at once. `twice`: each packet again; `broken`: before it one with another ICV. */
export interface Question {
  readonly requests: number;
  readonly octets: number;
  readonly twice?: boolean;
  readonly broken?: boolean;
}

export interface Answer {
  /** Requests that were answered with what was sent. */
  readonly answered: number;
  /** Packets of the peer's that came behind a later one. */
  readonly late: number;
  /** Requests of the peer's that were answered so far. */
  readonly served: number;
  readonly drops: Readonly<Record<string, number>>;
}

const PORT = 4500;
const settings = JSON.parse(process.argv[2]!) as Settings;
const cipher = () =>
  createPacketCipher({
    ...settings,
    encryptionKey: Buffer.from(settings.encryptionKey, 'hex'),
    integrityKey: settings.integrityKey === undefined ? undefined : Buffer.from(settings.integrityKey, 'hex'),
  });
const outbound = new OutboundSa({ spi: settings.spiOut, cipher: cipher(), esn: settings.esn, random: systemRandom() });
const inbound = new InboundSa({ spi: settings.spiIn, cipher: cipher(), esn: settings.esn });
const answered = new Set<number>();
let [expected, late, newest, served] = [0, 0, 0, 0];

const socket = createSocket('udp4');
socket.on('message', (datagram) => onDatagram(datagram));
socket.bind(PORT, settings.local, () => answering(ask));

async function ask({ requests, octets, twice, broken }: Question): Promise<Answer> {
  answered.clear();
  expected = octets;
  for (let sequence = 0; sequence < requests; sequence++) {
    const packet = sealed(IcmpType.ECHO, IDENTIFIER * 0x10000 + sequence, pattern(octets));
    if (broken)
      socket.send(
        packet.map((octet, i) => (i === packet.length - 1 ? octet ^ 1 : octet)),
        PORT,
        settings.remote,
      );
    for (let copy = 0; copy < (twice ? 2 : 1); copy++) socket.send(packet, PORT, settings.remote);
  }
  for (let waited = 0; waited < 20_000 && answered.size < requests; waited += 50) await sleep(50);
  return { answered: answered.size, late, served, drops: inbound.drops };
}

function onDatagram(datagram: Uint8Array): void {
  const opened = new OpenedPacket();
  if (inbound.open(datagram, opened) !== 'ok') return;
  const number = opened.sequenceHigh * 2 ** 32 + opened.sequenceLow;
  if (number < newest) late++;
  newest = Math.max(newest, number);
  const [ip, icmp] = [new IpView(), new IcmpView()];
  const packet = datagram.subarray(opened.start, opened.start + opened.length);
  if (opened.nextHeader !== IpProtocol.IPV4 || !ip.parse(packet) || !icmp.parse(ip)) return;
  const data = packet.subarray(icmp.start, icmp.end);
  if (icmp.type === IcmpType.ECHO_REPLY && icmp.identifier === IDENTIFIER && Buffer.compare(data, pattern(expected)) === 0)
    answered.add(icmp.sequence);
  if (icmp.type !== IcmpType.ECHO) return;
  served++;
  socket.send(sealed(IcmpType.ECHO_REPLY, icmp.rest, data), PORT, settings.remote);
}

function sealed(type: number, rest: number, data: Uint8Array): Uint8Array {
  const packet = icmpPacket(settings.inside, settings.remoteInside, type, rest, data);
  const out = new Uint8Array(outbound.sealedLength(packet.length));
  outbound.seal(packet, IpProtocol.IPV4, out, 0);
  return out;
}
