/** UDP payloads of a classic pcap in the order of their recording. */
export function* udpPayloads(file: Uint8Array): Generator<Uint8Array> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  // A little-endian file of LINKTYPE_LINUX_SLL2.
  if (view.getUint32(0, true) !== 0xa1b2c3d4 || view.getUint32(20, true) !== 276) throw new Error('not such a recording');
  for (let at = 24; at + 16 <= file.length; ) {
    const length = view.getUint32(at + 8, true);
    const frame = file.subarray(at + 16, at + 16 + length);
    at += 16 + length;
    const ip = frame.subarray(20);
    const isIpv4 = ip[0]! >> 4 === 4;
    if ((isIpv4 ? ip[9] : ip[6]) !== 17) continue;
    const udp = ip.subarray(isIpv4 ? (ip[0]! & 15) * 4 : 40);
    yield udp.slice(8, (udp[4]! << 8) | udp[5]!);
  }
}
