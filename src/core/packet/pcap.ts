import { MalformedMessage } from '../bytes/errors.ts';
import { type CapturedPacket, damaged, MAX_CAPTURED, view } from './pcap-file.ts';
import { isPcapng, readPcapng } from './pcapng.ts';

export type { CapturedPacket } from './pcap-file.ts';

/**
 * Walks a capture file, pcap or pcapng, of either byte order, as far as it is sound.
 * Throws `MalformedMessage`: `NOT_A_CAPTURE` at once for any other file, `CAPTURE_DAMAGED` where a file breaks off or its lengths lie,
 * after all packets before that place have been given.
 */
export function readCapture(data: Uint8Array): Iterable<CapturedPacket> {
  if (isPcapng(data)) return readPcapng(data);
  const format = data.length >= 4 ? FORMATS[view(data).getUint32(0)] : undefined;
  if (format === undefined) {
    throw new MalformedMessage('neither a pcap nor a pcapng file', {
      code: 'NOT_A_CAPTURE',
      offset: 0,
      hint: 'Capture with: tcpdump -w FILE',
    });
  }
  return readPcap(data, format);
}

/** The 24 octets that begin a pcap file: microseconds, big-endian. */
export function pcapHeader(linkType: number): Uint8Array {
  const header = new Uint8Array(FILE_HEADER);
  const v = view(header);
  v.setUint32(0, 0xa1b2c3d4);
  v.setUint16(4, 2);
  v.setUint16(6, 4);
  v.setUint32(16, MAX_CAPTURED);
  v.setUint32(20, linkType);
  return header;
}

/** One record of a pcap file. @param at milliseconds since 1970 UTC */
export function pcapPacket(at: number, data: Uint8Array): Uint8Array {
  const record = new Uint8Array(RECORD_HEADER + data.length);
  const v = view(record);
  const micros = Math.round(at * 1000);
  v.setUint32(0, Math.floor(micros / 1e6));
  v.setUint32(4, micros % 1e6);
  v.setUint32(8, data.length);
  v.setUint32(12, data.length);
  record.set(data, RECORD_HEADER);
  return record;
}

interface PcapFormat {
  readonly littleEndian: boolean;
  /** Ticks of the second field in a millisecond. */
  readonly perMilli: number;
  /** Octets of a record's header: some Linux kernels of old added 8 (magic a1b2cd34). */
  readonly record: number;
}

function* readPcap(data: Uint8Array, { littleEndian, perMilli, record }: PcapFormat): Generator<CapturedPacket> {
  if (data.length < FILE_HEADER) throw damaged('the file header is cut short', data.length);
  const v = view(data);
  // The upper 16 bits tell about frame check sequences.
  const linkType = v.getUint32(20, littleEndian) & 0xffff;
  for (let at = FILE_HEADER; at < data.length; ) {
    if (at + record > data.length) throw damaged('the file ends inside a packet header', at);
    const captured = v.getUint32(at + 8, littleEndian);
    const length = v.getUint32(at + 12, littleEndian);
    if (captured > MAX_CAPTURED) throw damaged(`a packet of ${captured} octets`, at);
    const start = at + record;
    if (start + captured > data.length) throw damaged(`the file ends inside a packet of ${captured} octets`, at);
    const time = v.getUint32(at, littleEndian) * 1000 + v.getUint32(at + 4, littleEndian) / perMilli;
    yield { at: time, linkType, data: data.subarray(start, start + captured), length };
    at = start + captured;
  }
}

const FILE_HEADER = 24;
const RECORD_HEADER = 16;
/** By the first four octets, read big-endian. */
const FORMATS: Readonly<Record<number, PcapFormat>> = {
  2712847316: { littleEndian: false, perMilli: 1e3, record: 16 },
  3569595041: { littleEndian: true, perMilli: 1e3, record: 16 },
  2712812621: { littleEndian: false, perMilli: 1e6, record: 16 },
  1295823521: { littleEndian: true, perMilli: 1e6, record: 16 },
  2712849716: { littleEndian: false, perMilli: 1e3, record: 24 },
  885895841: { littleEndian: true, perMilli: 1e3, record: 24 },
};
