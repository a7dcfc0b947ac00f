// Forged first requests from many addresses and ports of 127.0.0.0/8, as fast as asked or as this machine can.
//   flooder PORT SOCKETS SECONDS RATE MESSAGE(hex)      prints {"sent", "perSecond", "cpu"} at its end
import process from 'node:process';
import { needNative } from '../../../src/host/platform/linux/ffi.ts';
import { SocketAddress } from '../../../src/host/platform/linux/socket-address.ts';
import { FastUdp } from '../../../src/host/platform/linux/udp.ts';

/** Of one source, which the kernel takes as one message: so the processor is left to those who are measured. */
const BATCH = 16;
/** A turn of the event loop stays short enough to keep the pace. */
const MOST_AT_ONCE = 2048;
const [port = 0, count = 1, seconds = 1, rate = 1] = process.argv.slice(2, 6).map(Number);
const message = new Uint8Array(Buffer.from(process.argv[6] ?? '', 'hex'));

const native = await needNative('flooder');
const gateway = SocketAddress.of(native, '127.0.0.1', port);
const buffer = native.allocate(BATCH * message.length);
for (let i = 0; i < BATCH; i++) buffer.octets.set(message, i * message.length);
// They hear nothing, like the true owners of forged addresses: what is not read is dropped once the smallest of buffers is full.
const sources = Array.from({ length: count }, (_, n) =>
  FastUdp.open(native, { ip: `127.${10 + (n >>> 8)}.${n & 255}.7`, port: 0, receiveBuffer: 1 }),
);

const began = performance.now();
let sent = 0;
let turns = 0;
tick();

function tick(): void {
  const passed = performance.now() - began;
  if (passed >= seconds * 1000) {
    const { user, system } = process.cpuUsage();
    process.stdout.write(`${JSON.stringify({ sent, perSecond: Math.round((sent / passed) * 1000), cpu: (user + system) / 1e6 })}\n`);
    process.exit(0);
  }
  const due = Math.min(MOST_AT_ONCE, Math.floor((passed / 1000) * rate) - sent);
  for (let n = 0; n + BATCH <= due; n += BATCH) sendBatch();
  setTimeout(tick, 1);
}

function sendBatch(): void {
  for (let i = 0; i < BATCH; i++) {
    buffer.view.setUint32(i * message.length, (Math.random() * 2 ** 32) >>> 0);
    buffer.view.setUint32(i * message.length + 4, sent + i);
  }
  const source = sources[turns++ % sources.length]!;
  sent += source.sendBatch(buffer, 0, buffer.octets.length, message.length, gateway) / message.length;
}
