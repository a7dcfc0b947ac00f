import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { type Cases, command } from '../support/cases.ts';

/** What the other suites of this folder take for granted: that this machine's kernel does what ours is to be compared with. */
export const cases: Cases = {
  'ESP takes AES-GCM': () => takes(SUITES.gcm),
  'ESP takes AES-CBC with HMAC-SHA-256': () => takes(SUITES.cbc),
  'ESP takes ChaCha20-Poly1305': () => takes(SUITES.chacha),
  'ESP takes extended sequence numbers and a window of 1024': () => takes(SUITES.gcm, 'replay-window 1024 flag esn'),
  'ESP takes no cipher that nobody has': () => assert.throws(() => takes('enc none(of(these)) 0x00112233445566778899aabbccddeeff'), /none/),
  'packets pass through ESP with AES-GCM': () => passes(SUITES.gcm),
  'packets pass through ESP with AES-CBC with HMAC-SHA-256': () => passes(SUITES.cbc),
  'packets pass through ESP with ChaCha20-Poly1305': () => passes(SUITES.chacha),
  'there are xfrm interfaces': () => {
    command('ip link add xfrm7 type xfrm dev lo if_id 7');
    try {
      assert.match(command('ip -d link show xfrm7'), /if_id 0x7/);
    } finally {
      command('ip link del xfrm7');
    }
  },
  'koffi calls the C library': () => assert.equal(libc('int getpid()')(), process.pid),
  'a TUN device opens, with offload': () => {
    const [open, ioctl, close] = [libc('int open(const char *, int)'), libc('int ioctl(int, ulong, ...)'), libc('int close(int)')];
    const fd = open('/dev/net/tun', 2) as number;
    assert.ok(fd >= 0, '/dev/net/tun does not open');
    try {
      const request = Buffer.alloc(40);
      request.write('tun-case\0');
      request.writeUInt16LE(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, 16);
      assert.equal(ioctl(fd, TUNSETIFF, 'void *', request), 0);
      assert.equal(ioctl(fd, TUNSETOFFLOAD, 'ulong', TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6), 0);
      assert.match(command('ip link show tun-case'), /tun-case/);
    } finally {
      close(fd);
    }
  },
  'netem makes packets wait': () => {
    const [left] = pair();
    try {
      command(`tc -n ${left} qdisc add dev wire root netem delay 300ms`);
      const answer = command(`ip netns exec ${left} ping -c 1 -W 5 10.77.0.2`);
      const waited = Number(/time=([\d.]+) ms/.exec(answer)?.[1]);
      assert.ok(waited >= 300, answer);
    } finally {
      unpair();
    }
  },
};

function takes(algorithms: string, more = ''): void {
  try {
    command(`ip xfrm state add ${LEFT_TO_RIGHT} proto esp spi 0x1001 mode tunnel ${more} ${algorithms}`);
    const listed = command('ip xfrm state');
    assert.match(listed, /spi 0x00001001/);
    for (const name of algorithms.match(/[a-z0-9]+\(.*?\)+/g) ?? []) assert.ok(listed.includes(name), `${name} is not in\n${listed}`);
  } finally {
    command('ip xfrm state flush');
  }
}

/** Echo requests between two namespaces in transport mode, and that both SAs counted them. */
function passes(algorithms: string): void {
  const ends = pair();
  try {
    for (const [i, end] of ends.entries()) {
      const [out, back] = i === 0 ? [LEFT_TO_RIGHT, RIGHT_TO_LEFT] : [RIGHT_TO_LEFT, LEFT_TO_RIGHT];
      for (const [spi, way] of Object.entries({ '0x1001': LEFT_TO_RIGHT, '0x1002': RIGHT_TO_LEFT }))
        command(`ip -n ${end} xfrm state add ${way} proto esp spi ${spi} reqid 1 mode transport ${algorithms}`);
      command(`ip -n ${end} xfrm policy add ${out} dir out tmpl proto esp reqid 1 mode transport`);
      command(`ip -n ${end} xfrm policy add ${back} dir in tmpl proto esp reqid 1 mode transport`);
    }
    command(`ip netns exec ${ends[0]} ping -c 3 -W 5 10.77.0.2`);
    const counted = command(`ip -n ${ends[1]} -s xfrm state`);
    assert.equal(counted.match(/\d+\(bytes\), 3\(packets\)/g)?.length, 2, counted);
  } finally {
    unpair();
  }
}

function pair(): readonly [string, string] {
  for (const name of PAIR) command(`ip netns add ${name}`);
  command(`ip link add wire netns ${PAIR[0]} type veth peer name wire netns ${PAIR[1]}`);
  for (const [i, name] of PAIR.entries()) {
    command(`ip -n ${name} addr add 10.77.0.${i + 1}/24 dev wire`);
    command(`ip -n ${name} link set wire up`);
  }
  return PAIR;
}

function unpair(): void {
  for (const name of PAIR) command(`ip netns del ${name}`);
}

/** A function of the C library. Loaded when a case wants it: the machine outside reads this file for its names alone. */
function libc(prototype: string): (...args: unknown[]) => unknown {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  const [, type = '', name = '', parameters = ''] = /^(.*?)(\w+)\((.*)\)$/.exec(prototype) ?? [];
  return koffi.load('libc.so.6').func(`${type} ${name}(${parameters})`);
}

const PAIR = ['left', 'right'] as const;
const LEFT_TO_RIGHT = 'src 10.77.0.1 dst 10.77.0.2';
const RIGHT_TO_LEFT = 'src 10.77.0.2 dst 10.77.0.1';
const key = (octets: number): string => `0x${'0123456789abcdef'.repeat(8).slice(0, octets * 2)}`;
const SUITES = {
  gcm: `aead rfc4106(gcm(aes)) ${key(20)} 128`,
  cbc: `enc cbc(aes) ${key(32)} auth-trunc hmac(sha256) ${key(32)} 128`,
  chacha: `aead rfc7539esp(chacha20,poly1305) ${key(36)} 128`,
} as const;
const TUNSETIFF = 0x400454ca;
const TUNSETOFFLOAD = 0x400454d0;
const IFF_TUN = 0x0001;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const TUN_F_CSUM = 1;
const TUN_F_TSO4 = 2;
const TUN_F_TSO6 = 4;
