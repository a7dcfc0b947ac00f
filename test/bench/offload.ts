import { pseudoHeaderSum, putU16, writeIpv4, writeTcp } from '../../src/core/packet/index.ts';
import {
  Coalescer,
  GsoType,
  openPacketMemory,
  packetBuffer,
  RUN_BUFFER,
  Segmenter,
  VnetFlag,
  VnetHeader,
} from '../../src/core/packet/offload/index.ts';
import { type Row, row } from './measure.ts';

/** What a TUN super-packet costs on its way through, both ways: CPU time for each TCP segment of 1348 octets over IPv4, without any cipher. */
export function measureOffload(rounds: number): readonly [segmentation: Row, coalescing: Row] {
  // One buffer for all, as a packet loop has it.
  const memory = openPacketMemory(RUNS_AT + FLOWS * RUN_BUFFER);
  const buffer = packetBuffer(new Uint8Array(memory.buffer), memory.arithmetic);
  const header = superPacket(buffer.octets, SOURCE_AT);
  const end = SOURCE_AT + HEADERS + SEGMENTS * SIZE;
  const segmenter = new Segmenter();
  const stride = HEADERS + SIZE + ESP;
  const segment = (): void => {
    segmenter.begin(buffer, SOURCE_AT, end, header);
    segmenter.write(buffer, PACKETS_AT, stride, SEGMENTS);
  };
  let writes = 0;
  const sink = { deliver: (): void => void writes++ };
  const coalescer = new Coalescer({ sink, flows: FLOWS, buffer, at: RUNS_AT, udp: true });
  const coalesce = (): void => {
    for (let i = 0, at = PACKETS_AT; i < SEGMENTS; i++, at += stride) coalescer.push(buffer, at, at + HEADERS + SIZE);
    coalescer.flush();
  };
  segment();
  coalesce();
  if (writes !== 1) throw new Error(`${SEGMENTS} segments became ${writes} writes`);
  const what = (verb: string): string => `${verb} 1348-octet TCP segments`;
  return [
    row(what('Cut into'), 'Tunnelwright', 'ns/segment', runs(rounds, segment)),
    row(what('Merge'), 'Tunnelwright', 'ns/segment', runs(rounds, coalesce)),
  ];
}

function runs(rounds: number, work: () => void): number[] {
  const measured: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const before = process.cpuUsage();
    for (let i = 0; i < REPEATS; i++) work();
    const { user, system } = process.cpuUsage(before);
    // The first round compiles.
    if (round > 0) measured.push(((user + system) * 1000) / (REPEATS * SEGMENTS));
  }
  return measured;
}

/** As the kernel hands it out. */
function superPacket(data: Uint8Array, at: number): VnetHeader {
  const [source, destination] = [Uint8Array.of(10, 1, 0, 1), Uint8Array.of(10, 2, 0, 1)];
  const length = HEADERS + SEGMENTS * SIZE;
  for (let i = at + HEADERS; i < at + length; i++) data[i] = i * 7;
  const fields = { identification: 1, dontFragment: true, moreFragments: false, fragmentOffset: 0, trafficClass: 0, hopLimit: 64 };
  writeIpv4(data, at, { length, protocol: TCP, source, destination, ...fields });
  writeTcp(data, at + 20, { sourcePort: 40000, destinationPort: 443, seq: 1, ack: 1, flags: ACK, window: 512 }, 32);
  data.set([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1], at + 40);
  putU16(data, at + 36, pseudoHeaderSum(source, 0, destination, 0, 4, TCP, length - 20));
  return Object.assign(new VnetHeader(), {
    flags: VnetFlag.NEEDS_CSUM,
    gsoType: GsoType.TCPV4,
    gsoSize: SIZE,
    csumStart: 20,
    csumOffset: 16,
  });
}

const SIZE = 1348;
const SEGMENTS = 48;
/** IPv4, TCP, timestamps. */
const HEADERS = 52;
/** Header and IV before each packet, or trailer and ICV behind it. */
const ESP = 16;
const SOURCE_AT = 10;
const PACKETS_AT = (1 << 16) + ESP;
const RUNS_AT = 3 << 16;
const FLOWS = 8;
const TCP = 6;
const ACK = 0x10;
const REPEATS = 4000;
