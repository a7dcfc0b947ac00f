// node echoes.js FROM TO
// Echo requests (RFC 792) that never cease: 32 are under way at any time, each with a number of its own. Once its input has ended it waits for
// those under way, says in a line of JSON what came of all, and ends.
import koffi from 'koffi';
import { checksum, putU16, putU32 } from '../../../src/core/packet/index.ts';

export interface Echoed {
  readonly sent: number;
  readonly received: number;
  /** Answers to what was answered before. */
  readonly repeated: number;
  /** Not answered within a minute. */
  readonly lost: number;
}

const libc = koffi.load('libc.so.6');
const call = (prototype: string) => libc.func(prototype) as (...args: unknown[]) => number;
const send = call('long send(int fd, void *at, size_t length, int flags)');
const receive = call('long recv(int fd, void *at, size_t length, int flags)');

const WINDOW = 32;
const PATIENCE = 60_000;
const ECHO_REPLY = 0;
const ECHO_REQUEST = 8;
const ID = 0x7477;
const [AF_INET, SOCK_RAW, SOCK_NONBLOCK, IPPROTO_ICMP] = [2, 3, 0o4000, 1];

const [from = '', to = ''] = process.argv.slice(2);
const fd = opened(from, to);
const request = Buffer.alloc(1008, 0x5a);
const arrived = Buffer.alloc(2048);
/** By number: when it was sent. */
const underWay = new Map<number, number>();
const counts = { sent: 0, received: 0, repeated: 0, lost: 0 };
let ended = false;
process.stdin.on('close', () => {
  ended = true;
});
process.stdin.resume();
turn();

function turn(): void {
  let idle = true;
  for (let i = 0; i < 256 && takeOne(); i++) idle = false;
  const now = performance.now();
  for (const [number, at] of underWay) {
    if (now - at < PATIENCE) break;
    underWay.delete(number);
    counts.lost++;
  }
  while (!ended && underWay.size < WINDOW && sendOne(now)) idle = false;
  if (ended && underWay.size === 0) {
    process.stdout.write(`${JSON.stringify(counts satisfies Echoed)}\n`, () => process.exit(0));
    return;
  }
  if (idle) setTimeout(turn, 1);
  else setImmediate(turn);
}

function sendOne(now: number): boolean {
  const number = counts.sent;
  request[0] = ECHO_REQUEST;
  request[1] = 0;
  putU16(request, 2, 0);
  putU16(request, 4, ID);
  putU16(request, 6, number);
  putU32(request, 8, number);
  putU16(request, 2, checksum(request, 0, request.length));
  // a queue that is full has room again later
  if (send(fd, request, request.length, 0) < 0) return false;
  counts.sent++;
  underWay.set(number, now);
  return true;
}

/** @returns false when nothing waits */
function takeOne(): boolean {
  const length = receive(fd, arrived, arrived.length, 0);
  if (length < 0) return false;
  const at = (arrived[0]! & 0x0f) * 4;
  if (length < at + request.length || arrived[at] !== ECHO_REPLY || arrived.readUInt16BE(at + 4) !== ID) return true;
  if (underWay.delete(arrived.readUInt32BE(at + 8))) counts.received++;
  else counts.repeated++;
  return true;
}

function opened(from: string, to: string): number {
  const check = (result: number, what: string): number => {
    if (result < 0) throw new Error(`${what}: errno ${koffi.errno()}`);
    return result;
  };
  const fd = check(call('int socket(int, int, int)')(AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_ICMP), 'socket');
  const address = (ip: string): Buffer => Buffer.from([AF_INET, 0, 0, 0, ...ip.split('.').map(Number), 0, 0, 0, 0, 0, 0, 0, 0]);
  check(call('int bind(int, void *, uint32_t)')(fd, address(from), 16), 'bind');
  check(call('int connect(int, void *, uint32_t)')(fd, address(to), 16), 'connect');
  return fd;
}
