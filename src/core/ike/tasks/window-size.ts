import { NotifyType, type Payload } from '../../wire/index.ts';
import type { IkeSaInfo } from '../effects.ts';
import type { IkeSa } from '../ike-sa.ts';
import type { MessageWindow } from '../message-window.ts';
import { findNotify, notify } from '../notifies.ts';
import type { Connection } from '../policy.ts';

/** RFC 7296 §2.3: so many requests of the peer we take at once; 1 needs no word. */
export function offerWindow({ windowSize = 1 }: Connection): Payload[] {
  if (windowSize <= 1) return [];
  const data = new Uint8Array(4);
  new DataView(data.buffer).setUint32(0, windowSize);
  return [notify(NotifyType.SET_WINDOW_SIZE, data)];
}

/** What `offerWindow` promised counts from here on: the window is one until the initial exchanges are complete (§2.3). */
export function openWindow(sa: IkeSa): void {
  const { windowSize = 1 } = sa.connection ?? {};
  sa.window.receiveSize = Math.max(sa.window.receiveSize, windowSize);
}

/** What the peer takes at once. A window never gets smaller, and nonsense changes nothing. */
export const heedWindow = (sa: IkeSa, payloads: readonly Payload[]): void => widen(sa, announcedWindow(payloads));

/** Octets of a notify are gone with the message: who needs the size later reads it first. */
export function announcedWindow(payloads: readonly Payload[]): number {
  const data = findNotify(payloads, NotifyType.SET_WINDOW_SIZE)?.data;
  return data?.length === 4 ? new DataView(data.buffer, data.byteOffset, 4).getUint32(0) : 1;
}

/** We have no more under way than we would take ourselves. */
export function widen({ window, connection }: IkeSa, size: number): void {
  window.sendSize = Math.max(window.sendSize, Math.min(size, connection?.windowSize ?? 1));
}

export function windowInfo({ sendSize, receiveSize }: MessageWindow): IkeSaInfo['window'] {
  return sendSize > 1 || receiveSize > 1 ? { ours: sendSize, theirs: receiveSize } : undefined;
}
