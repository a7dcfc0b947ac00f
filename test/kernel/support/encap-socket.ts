// In the guest: node encap-socket.js PORT      a socket by which the kernel takes ESP out of UDP (RFC 3948), for as long as this runs
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');
const call = (prototype: string) => libc.func(prototype) as (...args: unknown[]) => number;
const socket = call('int socket(int, int, int)');
const bind = call('int bind(int, void *, uint32_t)');
const setsockopt = call('int setsockopt(int, int, int, void *, uint32_t)');

const [AF_INET, SOCK_DGRAM, SOL_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP] = [2, 2, 17, 100, 2];
const address = Buffer.alloc(16);
address.writeUInt16LE(AF_INET, 0);
address.writeUInt16BE(Number(process.argv[2]), 2);
const fd = socket(AF_INET, SOCK_DGRAM, 0);
const kind = Buffer.from(new Int32Array([UDP_ENCAP_ESPINUDP]).buffer);
if (bind(fd, address, 16) !== 0 || setsockopt(fd, SOL_UDP, UDP_ENCAP, kind, 4) !== 0) throw new Error(`no such socket: ${koffi.errno()}`);
process.stdout.write('ready\n');
setInterval(() => undefined, 60_000);
