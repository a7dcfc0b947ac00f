import { MalformedMessage } from '../bytes/errors.ts';

/** What both formats give. */
export interface CapturedPacket {
  /** Milliseconds since 1970 UTC, with their fraction. */
  readonly at: number;
  readonly linkType: number;
  /** What was captured of the frame; a view of the file. */
  readonly data: Uint8Array;
  /** Octets that the frame had on the link: more than `data` holds when the capture cut it short. */
  readonly length: number;
  /** Remark that the file keeps with the packet (pcapng). */
  readonly comment?: string;
}

/** What tcpdump captures at most; a longer packet is a sign that lengths lie. */
export const MAX_CAPTURED = 262144;

export const damaged = (message: string, offset: number): MalformedMessage =>
  new MalformedMessage(`${message} (offset ${offset})`, { code: 'CAPTURE_DAMAGED', offset });

export const view = (data: Uint8Array): DataView => new DataView(data.buffer, data.byteOffset, data.byteLength);
