import { printable } from '../../core/bytes/bytes.ts';
import type { DecodedCapture, DecodedPacket } from './decode.ts';

export interface RenderOptions {
  /** Beneath every packet what its summary leaves out; on unless false. */
  readonly details?: boolean;
}

/** A decoded capture as text: a line per packet, its details beneath. Times are seconds since the first packet. */
export function renderDecoded(capture: DecodedCapture, options: RenderOptions = {}): string {
  const { packets, damage } = capture;
  const first = packets[0]?.at ?? 0;
  const columns = widths(packets);
  const lines = packets.flatMap((packet) => renderPacket(packet, first, columns, options));
  if (packets.length === 0) lines.push('the capture holds no packets');
  if (damage !== undefined) lines.push(`the capture is damaged and was read up to here: ${damage}`);
  return `${lines.join('\n')}\n`;
}

/** @param first `at` of the first packet of the capture */
function renderPacket(packet: DecodedPacket, first: number, columns: Columns, options: RenderOptions): string[] {
  const time = ((packet.at - first) / 1000).toFixed(6);
  const ends =
    packet.source === '' ? '' : `${packet.source.padStart(columns.source)} → ${packet.destination.padEnd(columns.destination)}  `;
  const line = `${String(packet.number).padStart(columns.number)}  ${time.padStart(columns.time)}  ${ends}${packet.summary}`;
  const comment = packet.comment === undefined ? [] : [`# ${printable(packet.comment)}`];
  if (options.details === false) return [line];
  return [line, ...[...comment, ...packet.lines].map((detail) => `${' '.repeat(columns.number + 4)}${detail}`)];
}

interface Columns {
  readonly number: number;
  readonly time: number;
  readonly source: number;
  readonly destination: number;
}

function widths(packets: readonly DecodedPacket[]): Columns {
  const last = packets.at(-1);
  const seconds = last === undefined ? 0 : Math.trunc((last.at - packets[0]!.at) / 1000);
  let source = 0;
  let destination = 0;
  for (const packet of packets) {
    source = Math.max(source, packet.source.length);
    destination = Math.max(destination, packet.destination.length);
  }
  return { number: String(packets.length).length, time: String(seconds).length + 7, source, destination };
}
