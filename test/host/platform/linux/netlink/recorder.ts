import { fromHex, toHex } from '../../../../../src/core/bytes/index.ts';
import type { MessageWriter, NetlinkMessage } from '../../../../../src/host/platform/linux/netlink/codec.ts';
import type { NetlinkSocket } from '../../../../../src/host/platform/linux/netlink/socket.ts';

/** A socket without a kernel: keeps each request in hex, with sequence number 0, and answers all of them with one body. */
export function recorder(answer = ''): { readonly socket: NetlinkSocket; readonly sent: string[] } {
  const sent: string[] = [];
  const record = (request: MessageWriter): NetlinkMessage[] => {
    sent.push(toHex(request.finish(0)));
    return answer === '' ? [] : [{ type: 0, flags: 0, sequence: 0, port: 0, body: fromHex(answer) }];
  };
  return { socket: { request: record, dump: record, close: () => undefined } as unknown as NetlinkSocket, sent };
}
