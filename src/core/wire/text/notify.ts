import { toHex } from '../../bytes/bytes.ts';
import { isErrorNotify, NotifyType, nameOf, ProtocolId } from '../iana.ts';
import type { Description } from '../payload.ts';
import type { NotifyPayload } from '../payloads/types.ts';
import { describeNotifyData } from './notify-data.ts';

/** `REKEY_SA ESP c8a3d6f1`, `INVALID_KE_PAYLOAD ECP_384`, `COOKIE 3f09…`. */
export function describeNotify(n: NotifyPayload): Description {
  const parts = [notifyName(n.notify)];
  if (n.spi.length > 0) parts.push(nameOf(ProtocolId, n.protocol), toHex(n.spi));
  const data = describeNotifyData(n);
  if (data === undefined) return parts.join(' ');
  if (typeof data === 'string') return `${parts.join(' ')} ${data}`;
  return { text: [...parts, data.text].filter((part) => part !== '').join(' '), lines: data.lines };
}

/** The registered name; a number we know nothing of is marked as error or status. */
export function notifyName(type: number): string {
  const name = nameOf(NotifyType, type);
  return name === String(type) ? `${isErrorNotify(type) ? 'error' : 'status'} ${type}` : name;
}
