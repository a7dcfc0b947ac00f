import { PacketType } from './protocol.ts';

/** Requests in a row that come to the same whichever of them is done first: READs, or WRITEs each of which begins where the one before ends. */
export class Run {
  /** What the requests of this run are; 0 for any other request, which is alone. */
  #type = 0;
  #handle = 0;
  #end = 0;

  /** Others may be done beside the one that was looked at last: it is well formed, and nothing but READ or WRITE. */
  get begun(): boolean {
    return this.#type !== 0;
  }

  /**
   * @param packet without its length
   * @param appends whether WRITE puts its data at the end of the file, wherever it says
   * @returns whether it may be done beside the one before
   */
  continues(packet: Uint8Array, appends: (handle: Uint8Array) => boolean): boolean {
    const { READ, WRITE } = PacketType;
    const [before, type] = [this.#type, packet[0]];
    this.#type = 0;
    if (packet.length < HEAD || (type !== READ && type !== WRITE)) return false;
    const view = new DataView(packet.buffer, packet.byteOffset, HEAD);
    const [offset, length] = [Number(view.getBigUint64(13)), view.getUint32(21)];
    if (view.getUint32(5) !== 4 || !Number.isSafeInteger(offset + length)) return false;
    if (type === READ) {
      this.#type = READ;
      return before === READ;
    }
    if (length !== packet.length - HEAD || appends(packet.subarray(9, 13))) return false;
    const [handle, end] = [this.#handle, this.#end];
    this.#type = WRITE;
    this.#handle = view.getUint32(9);
    this.#end = offset + length;
    return before === WRITE && handle === this.#handle && end === offset;
  }
}

/** Type, id, a handle of ours with its length, offset, and the length of what is read or written. */
const HEAD = 1 + 4 + 4 + 4 + 8 + 4;
