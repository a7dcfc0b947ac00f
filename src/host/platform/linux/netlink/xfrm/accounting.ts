import { Attributes, MessageWriter, NLM_F } from '../codec.ts';
import { HostReader } from '../host-order.ts';
import type { NetlinkSocket } from '../socket.ts';
import { readReplay, writeReplay, type XfrmReplay, type XfrmSequence } from './replay.ts';
import { writeTags } from './states.ts';
import {
  readAddress,
  readStateId,
  readUse,
  writeAddress,
  writeStateId,
  XFRM_MSG,
  XFRMA,
  type XfrmStateId,
  type XfrmUse,
} from './structs.ts';

/** What an SA did so far. It comes without its keys, so this is what counters are read by. */
export interface XfrmAccounting {
  readonly id: XfrmStateId;
  readonly source: string;
  readonly reqid: number;
  readonly use: XfrmUse | undefined;
  readonly sequence: XfrmSequence;
  /** Why the kernel tells it by itself: so many packets, so much time, or somebody changed it. */
  readonly cause: 'replay' | 'timer' | 'update' | undefined;
}

/** @throws DataPlaneError `KERNEL_ENTRY_MISSING` */
export function getAccounting(socket: NetlinkSocket, id: XfrmStateId): XfrmAccounting | undefined {
  const request = new MessageWriter(XFRM_MSG.GETAE);
  writeAeventId(request, id, AE.RVAL | AE.LVAL);
  writeTags(request, id);
  const [answer] = socket.request(request, { attempt: `read the counters of SPI ${id.spi.toString(16)}` });
  return answer && parseAccounting(answer.body);
}

/**
 * Puts an SA where another one stood: numbers to go on from, and what counts towards its lifetime. The window is that which it has.
 * @throws DataPlaneError `KERNEL_ENTRY_MISSING`
 */
export function setAccounting(socket: NetlinkSocket, id: XfrmStateId, to: { readonly replay?: XfrmReplay; readonly use?: XfrmUse }): void {
  const request = new MessageWriter(XFRM_MSG.NEWAE, NLM_F.REPLACE);
  writeAeventId(request, id, (to.replay ? AE.RVAL : 0) | (to.use ? AE.LVAL : 0));
  if (to.replay) writeReplay(request, to.replay);
  const { use } = to;
  if (use)
    request.attribute(XFRMA.LTIME_VAL, (writer) => writer.u64(use.bytes).u64(use.packets).u64(BigInt(use.addedAt)).u64(BigInt(use.usedAt)));
  writeTags(request, id);
  socket.request(request, { attempt: `set the counters of SPI ${id.spi.toString(16)}` });
}

/** XFRM_MSG_NEWAE: `struct xfrm_aevent_id` and what stands behind it. */
export function parseAccounting(body: Uint8Array): XfrmAccounting | undefined {
  const reader = new HostReader(body, 'xfrm_aevent_id');
  const id = readStateId(reader);
  const source = reader.bytes(16);
  const [flags, reqid] = [reader.u32(), reader.u32()];
  const attributes = Attributes.parse(reader.rest());
  if (id === undefined) return undefined;
  const use = attributes.reader(XFRMA.LTIME_VAL);
  return {
    id: { destination: id.destination, spi: id.spi, protocol: id.protocol, ifId: attributes.u32(XFRMA.IF_ID) },
    source: readAddress(new HostReader(source, 'xfrm_address_t'), id.family),
    reqid,
    use: use && readUse(use),
    sequence: readReplay(attributes).sequence,
    cause: flags & AE.CR ? 'replay' : flags & AE.CE ? 'timer' : flags & AE.CU ? 'update' : undefined,
  };
}

/** `struct xfrm_aevent_id`: 48 octets. */
function writeAeventId(request: MessageWriter, id: XfrmStateId, flags: number): void {
  writeStateId(request, id);
  writeAddress(request, undefined);
  request.u32(flags).u32(0);
}

const AE = { RVAL: 2, LVAL: 4, CR: 16, CE: 32, CU: 64 } as const;
