export { CaptureDecoder, type DecodedCapture, type DecodedPacket, type DecodeOptions, decodeCapture } from './decode.ts';
export type { EspFacts } from './esp-decoder.ts';
export type { IkeFacts } from './ike-decoder.ts';
export { type RenderOptions, renderDecoded } from './render.ts';
export * from './wireshark.ts';
export { parseDecodeAs } from './wireshark-profile.ts';
