import type { FileHandle } from 'node:fs/promises';
import { equalBytes } from '../../core/bytes/index.ts';
import { TransferError } from '../transfer/errors.ts';
import type { DataPacket } from './packets.ts';
import type { Handle, SftpSession } from './session.ts';

/** A file of the server's that is open, and what it is called in messages. */
export interface RemoteFile {
  readonly path: string;
  readonly handle: Handle;
}

/** Reads a range in order, with many requests under way. @throws TransferError `TRANSFER_FILE_CHANGED` when the file ends before */
export async function readRange(
  session: SftpSession,
  { path, handle }: RemoteFile,
  { from, to }: { readonly from: number; readonly to: number },
  onData: (data: Uint8Array) => Promise<void> | void,
): Promise<void> {
  const size = session.sizes.read;
  const depth = depthFor(size);
  const underWay: { readonly offset: number; readonly length: number; readonly answer: Promise<Uint8Array> }[] = [];
  let next = from;
  const ask = (offset: number, length: number): Promise<Uint8Array> => watched(session.read(path, handle, offset, length));
  while (next < to || underWay.length > 0) {
    while (underWay.length < depth && next < to) {
      const length = Math.min(size, to - next);
      underWay.push({ offset: next, length, answer: ask(next, length) });
      next += length;
    }
    const { offset, length, answer } = underWay.shift()!;
    let data = await answer;
    for (let had = data.length; ; had += data.length) {
      if (data.length === 0) throw endsEarly(path);
      await onData(data);
      if (had >= length) break;
      data = await ask(offset + had, length - had);
    }
  }
}

/** Writes a range of a file of ours in order, with many requests under way. @throws TransferError `TRANSFER_FILE_CHANGED` when ours ends before */
export async function writeRange(
  session: SftpSession,
  { path, handle }: RemoteFile,
  file: FileHandle,
  { from, to }: { readonly from: number; readonly to: number },
  on: { readonly read: (data: Uint8Array) => void; readonly written: (count: number) => void },
): Promise<void> {
  const size = session.sizes.write;
  const depth = depthFor(size);
  const underWay: { readonly length: number; readonly answer: Promise<void> }[] = [];
  const settle = async (): Promise<void> => {
    const { length, answer } = underWay.shift()!;
    await answer;
    on.written(length);
  };
  const fill = async (offset: number): Promise<{ readonly packet: DataPacket; readonly id: number; readonly bytesRead: number }> => {
    const { packet, id } = session.writePacket(handle, offset, Math.min(size, to - offset));
    const { bytesRead } = await file.read(packet.data, 0, packet.data.length, offset);
    if (bytesRead === 0) throw endsEarly(path);
    return { packet, id, bytesRead };
  };
  // The disk is asked for what comes next while this is hashed and sealed.
  let filling = from < to ? watched(fill(from)) : undefined;
  for (let next = from; filling !== undefined; ) {
    const { packet, id, bytesRead } = await filling;
    next += bytesRead;
    filling = next < to ? watched(fill(next)) : undefined;
    on.read(packet.data.subarray(0, bytesRead));
    underWay.push({ length: bytesRead, answer: watched(session.write(path, id, packet.finish(bytesRead))) });
    if (underWay.length >= depth) await settle();
  }
  while (underWay.length > 0) await settle();
}

/** Is the end of what both have up to `until` the same? It stands for the whole where a server has no digest. */
export async function sameTail(session: SftpSession, remote: RemoteFile, file: FileHandle, until: number): Promise<boolean> {
  const from = Math.max(0, until - COMPARED);
  const ours = new Uint8Array(until - from);
  await file.read(ours, 0, ours.length, from);
  let [same, at] = [true, 0];
  await readRange(session, remote, { from, to: until }, (data) => {
    same &&= equalBytes(data, ours.subarray(at, at + data.length));
    at += data.length;
  });
  return same;
}

/** Octets that may be under way, both ends of SSH having as much of a window; a part that was cut off is trusted only before these. */
export const IN_FLIGHT = 2 * 1024 * 1024;

const COMPARED = 256 * 1024;

const depthFor = (size: number): number => Math.max(2, Math.ceil(IN_FLIGHT / size));

/** Several fail at once, and one of them tells it. */
function watched<T>(answer: Promise<T>): Promise<T> {
  answer.catch(() => {});
  return answer;
}

const endsEarly = (path: string): TransferError =>
  new TransferError(`${path}: became shorter while it was read`, {
    code: 'TRANSFER_FILE_CHANGED',
    resumable: true,
    hint: 'Run the same command again once nothing writes to it.',
  });
