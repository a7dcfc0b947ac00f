export { type DecodedPacket, type DecodeOptions, decodeCapture } from './decode.ts';
export { renderDecoded } from './render.ts';
export * from './wireshark.ts';
export { parseDecodeAs } from './wireshark-profile.ts';
