// Forged first requests from many addresses and ports of 127.0.0.0/8, as fast as asked or as this machine can.
//   flooder PORT SOCKETS SECONDS RATE MESSAGE(hex)      prints {"sent", "perSecond"} at its end
import { createSocket, type Socket } from 'node:dgram';
import process from 'node:process';

/** A turn of the event loop stays short enough to keep the pace. */
const MOST_AT_ONCE = 2000;
const [port = 0, sockets = 1, seconds = 1, rate = 1] = process.argv.slice(2, 6).map(Number);
const message = new Uint8Array(Buffer.from(process.argv[6] ?? '', 'hex'));
const spi = new DataView(message.buffer, message.byteOffset, 8);

const sources: Socket[] = [];
for (let n = 0; n < sockets; n++) sources.push(await open(`127.${10 + (n >>> 8)}.${n & 255}.7`));

const began = performance.now();
let sent = 0;
tick();

function tick(): void {
  const passed = performance.now() - began;
  if (passed >= seconds * 1000) {
    process.stdout.write(`${JSON.stringify({ sent, perSecond: Math.round((sent / passed) * 1000) })}\n`);
    process.exit(0);
  }
  const due = Math.min(MOST_AT_ONCE, Math.floor((passed / 1000) * rate) - sent);
  for (let n = 0; n < due; n++) {
    spi.setUint32(0, (Math.random() * 2 ** 32) >>> 0);
    spi.setUint32(4, sent);
    sources[sent++ % sources.length]!.send(message, 0, message.length, port, '127.0.0.1');
  }
  setImmediate(tick);
}

/** It hears nothing, like the true owner of a forged address: answers would take half of this processor. Only its handle can be told so. */
async function open(ip: string): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', lookup: ((host: string, _: unknown, done: Found) => done(null, host, 4)) as never });
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => socket.bind({ address: ip, port: 0, exclusive: true }, resolve));
  for (const symbol of Object.getOwnPropertySymbols(socket)) {
    const state = (socket as unknown as Record<symbol, { handle?: { recvStop?: () => void } } | undefined>)[symbol];
    state?.handle?.recvStop?.();
  }
  return socket;
}

type Found = (error: null, ip: string, family: number) => void;
