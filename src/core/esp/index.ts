/**
 * ESP (RFC 4303) packet by packet: the two halves of an SA, over buffers of the caller's. No sockets, no clock, and nothing of IKE: whoever
 * has keys has an SA.
 *
 * ```ts
 * import { createPacketCipher, InboundSa, OpenedPacket, OutboundSa } from 'tunnelwright/esp';
 *
 * // AES-GCM with a tag of 16 octets (ENCR 20): 32 octets of key and 4 of salt. In earnest they come from the key exchange, new for each SA.
 * const KEYMAT = Uint8Array.from({ length: 36 }, (_, i) => i);
 * const keys = { encryption: 20, keyLength: 256, encryptionKey: KEYMAT };
 * const sender = new OutboundSa({ spi: 0xc0ffee01, cipher: createPacketCipher(keys), esn: true });
 * const receiver = new InboundSa({ spi: 0xc0ffee01, cipher: createPacketCipher(keys), esn: true });
 *
 * const payload = new TextEncoder().encode('hello');
 * const packet = new Uint8Array(sender.sealedLength(payload.length));
 * sender.seal(payload, 253, packet, 0); // next header: an IP protocol, 4 or 41 for a whole packet in tunnel mode
 * const copy = packet.slice();
 *
 * const opened = new OpenedPacket();
 * if (receiver.open(packet, opened) === 'ok') {
 *   const { start, length, nextHeader } = opened;
 *   console.log(nextHeader, new TextDecoder().decode(packet.subarray(start, start + length))); // 253 hello
 * }
 * console.log(receiver.open(copy, opened)); // replay
 * ```
 */
export { type CipherKeys, createPacketCipher, type PacketCipher } from '../crypto/index.ts';
export { MOST_IN_BURST, PacketBurst } from '../crypto/packet-burst.ts';
export * from './ah.ts';
export * from './inbound.ts';
export * from './ipcomp.ts';
export * from './outbound.ts';
export * from './outer-header.ts';
export { ReplayRings } from './replay-rings.ts';
export * from './replay-window.ts';
export type { OutboundSnapshot } from './sequence-counter.ts';
export * from './tcp-encap.ts';
export * from './udp-encap.ts';
