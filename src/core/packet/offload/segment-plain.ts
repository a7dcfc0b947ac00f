import { concat } from '../../bytes/bytes.ts';
import { checksum, fold } from '../checksum.ts';
import { getU16, getU32, putU16, putU32 } from '../octets.ts';
import { TcpFlag } from '../tcp.ts';
import { CWR, type SegmentFault, SuperPacket } from './super-packet.ts';
import { GsoType, partialSum, type VnetHeader } from './vnet-header.ts';

/** The slow and clear twin of `Segmenter`: every packet that the one given stands for, or why it cannot be sent. */
export function segmentPlain(packet: Uint8Array, header: VnetHeader): readonly Uint8Array[] | SegmentFault {
  if (header.gsoType === GsoType.NONE) {
    const verdict = header.check(packet, 0, packet.length);
    return verdict === 'ok' ? [completed(packet, header)] : verdict;
  }
  const whole = new SuperPacket();
  const verdict = whole.read(header, packet, 0, packet.length);
  if (verdict !== 'ok') return verdict;
  return Array.from({ length: whole.count }, (_, index) => segment(packet, header, whole, index));
}

function completed(packet: Uint8Array, header: VnetHeader): Uint8Array {
  const copy = packet.slice();
  if (!header.needsCsum) return copy;
  const value = checksum(packet, header.csumStart, packet.length);
  const udp = header.csumOffset === 6;
  putU16(copy, header.csumStart + header.csumOffset, udp && value === 0 ? 0xffff : value);
  return copy;
}

function segment(packet: Uint8Array, header: VnetHeader, whole: SuperPacket, index: number): Uint8Array {
  const offset = index * header.gsoSize;
  const headers = packet.subarray(0, whole.payloadAt);
  const payload = packet.subarray(whole.payloadAt).subarray(offset, offset + header.gsoSize);
  const piece = concat(headers, payload);
  const transport = whole.transportAt;
  if (whole.ip.version === 4) {
    putU16(piece, 2, piece.length);
    putU16(piece, 4, (whole.ip.identification + index) % 0x10000);
    putU16(piece, 10, 0);
    putU16(piece, 10, checksum(piece, 0, transport));
  } else {
    putU16(piece, 4, piece.length - 40);
  }
  const length = piece.length - transport;
  // The pseudo header with the length of this piece in place of the whole one's.
  const pseudo = fold(partialSum(packet, 0, header) + (~(packet.length - transport) & 0xffff) + length);
  const checksumAt = transport + header.csumOffset;
  if (whole.tcp) {
    const last = index === whole.count - 1;
    const urgent = getU16(packet, transport + 18);
    let flags = packet[transport + 13]!;
    if (index > 0) flags &= ~CWR;
    if (!last) flags &= ~(TcpFlag.FIN | TcpFlag.PSH);
    if (flags & TcpFlag.URG) {
      if (index > 0 && urgent <= offset) flags &= ~TcpFlag.URG;
      putU16(piece, transport + 18, urgent <= offset ? 0 : urgent - offset);
    }
    piece[transport + 13] = flags;
    putU32(piece, transport + 4, getU32(packet, transport + 4) + offset);
    putU16(piece, checksumAt, 0);
    putU16(piece, checksumAt, checksum(piece, transport, piece.length, pseudo));
  } else {
    putU16(piece, transport + 4, length);
    putU16(piece, checksumAt, 0);
    putU16(piece, checksumAt, checksum(piece, transport, piece.length, pseudo) || 0xffff);
  }
  return piece;
}
