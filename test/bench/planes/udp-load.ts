// node udp-load.js receive ADDRESS PORT | send ADDRESS PORT FROM
// Datagrams in batches of sendmmsg(2) and recvmmsg(2), each datagram an ordinary one, as by an application that knows of no segmentation
// offload.
import koffi from 'koffi';
import { answering } from '../../interop/support/dialogue.ts';

/** To the sender: so many datagrams a second for so long, each carrying the number of the step. */
export interface Step {
  readonly step: number;
  readonly rate: number;
  readonly seconds: number;
  readonly octets: number;
}

export interface Sent {
  readonly sent: number;
  readonly seconds: number;
  /** Of processor time. */
  readonly busy: number;
}

/** To the receiver: what has come of that step? */
export interface Asked {
  readonly count: number;
}

export interface Counted {
  readonly received: number;
}

const libc = koffi.load('libc.so.6');
const call = (prototype: string) => libc.func(prototype) as (...args: unknown[]) => number;
const socket = call('int socket(int, int, int)');
const bind = call('int bind(int, void *, uint32_t)');
const connect = call('int connect(int, void *, uint32_t)');
const setsockopt = call('int setsockopt(int, int, int, void *, uint32_t)');
const sendmmsg = call('int sendmmsg(int, void *, uint32_t, int)');
const recvmmsg = call('int recvmmsg(int, void *, uint32_t, int, void *)');
const usleep = call('int usleep(uint32_t)');

const BATCH = 64;
const SLOT = 2048;
/** Datagrams that a sender may be behind. */
const BURST = 256;
const [AF_INET, SOCK_DGRAM, SOL_SOCKET, SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_RCVTIMEO] = [2, 2, 1, 32, 33, 20];
/** Blocks for the first and takes what is there behind it. */
const MSG_WAITFORONE = 0x10000;

const [role, address = '', port = '0', from] = process.argv.slice(2);
const batch = batchOf();
if (role === 'send') send();
else receive();

function send(): void {
  const fd = opened();
  check(bind(fd, inet(from!, 0), 16), 'bind');
  check(connect(fd, inet(address, Number(port)), 16), 'connect');
  answering((command: Step): Sent => {
    batch.fill(command.step, command.octets);
    const [start, length, before] = [performance.now(), command.seconds * 1000, process.cpuUsage()];
    // small enough to be even, large enough to be cheap
    const most = Math.max(1, Math.min(BATCH, Math.round(command.rate / 4000)));
    let [sent, forgiven] = [0, 0];
    for (;;) {
      const passed = performance.now() - start;
      if (passed >= length) {
        const { user, system } = process.cpuUsage(before);
        return { sent, seconds: passed / 1000, busy: (user + system) / 1e6 };
      }
      const due = Math.floor((passed * command.rate) / 1000) - sent - forgiven;
      if (due < most) {
        usleep(50);
        continue;
      }
      // who was not let run for a while does not make up for it in one burst
      if (due > BURST) forgiven += due - BURST;
      sent += Math.max(0, sendmmsg(fd, batch.headers, most, 0));
    }
  });
}

function receive(): void {
  const fd = opened();
  check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, Buffer.from(new BigInt64Array([0n, 20_000n]).buffer), 16), 'SO_RCVTIMEO');
  check(bind(fd, inet(address, Number(port)), 16), 'bind');
  const counts = new Map<number, number>();
  const turn = (): void => {
    for (let i = 0; i < 16; i++) {
      const came = recvmmsg(fd, batch.headers, BATCH, MSG_WAITFORONE, null);
      if (came <= 0) break;
      for (let slot = 0; slot < came; slot++) {
        const step = batch.payload.readUInt32LE(slot * SLOT);
        counts.set(step, (counts.get(step) ?? 0) + 1);
      }
    }
    setImmediate(turn);
  };
  answering((command: Asked): Counted => ({ received: counts.get(command.count) ?? 0 }));
  turn();
}

function opened(): number {
  const fd = check(socket(AF_INET, SOCK_DGRAM, 0), 'socket');
  const large = Buffer.from(new Int32Array([8 << 20]).buffer);
  for (const option of [SO_SNDBUFFORCE, SO_RCVBUFFORCE]) check(setsockopt(fd, SOL_SOCKET, option, large, 4), 'buffers');
  return fd;
}

/** An array of struct mmsghdr, each with one struct iovec over a slot of its own; the layout of 64-bit Linux. */
function batchOf(): { readonly headers: Buffer; readonly payload: Buffer; fill(step: number, octets: number): void } {
  const [headers, vectors, payload] = [BATCH * 64, BATCH * 16, BATCH * SLOT].map((size) => Buffer.alloc(size)) as [Buffer, Buffer, Buffer];
  for (let i = 0; i < BATCH; i++) {
    vectors.writeBigUInt64LE(koffi.address(payload) + BigInt(i * SLOT), i * 16);
    vectors.writeBigUInt64LE(BigInt(SLOT), i * 16 + 8);
    headers.writeBigUInt64LE(koffi.address(vectors) + BigInt(i * 16), i * 64 + 16);
    headers.writeBigUInt64LE(1n, i * 64 + 24);
  }
  const fill = (step: number, octets: number): void => {
    for (let i = 0; i < BATCH; i++) {
      payload.writeUInt32LE(step, i * SLOT);
      vectors.writeBigUInt64LE(BigInt(octets), i * 16 + 8);
    }
  };
  // `fill` keeps the vectors alive, whose address the headers have
  return { headers, payload, fill };
}

function inet(ip: string, number: number): Buffer {
  const sockaddr = Buffer.alloc(16);
  sockaddr.writeUInt16LE(AF_INET, 0);
  sockaddr.writeUInt16BE(number, 2);
  sockaddr.set(ip.split('.').map(Number), 4);
  return sockaddr;
}

function check(result: number, what: string): number {
  if (result < 0) throw new Error(`${what}: ${koffi.errno()}`);
  return result;
}
