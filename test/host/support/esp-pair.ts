import type { Primitives } from '../../../src/core/crypto/primitives.ts';
import type { ChildSaKeys, ChildSaSpec, Observation } from '../../../src/core/ike/effects.ts';
import type { TrafficSelector } from '../../../src/core/wire/payloads/types.ts';
import type { EspPath } from '../../../src/host/dataplane/data-plane.ts';
import { EspPlane } from '../../../src/host/dataplane/esp-plane.ts';
import { zlibDeflate } from '../../../src/host/platform/deflate.ts';
import { scriptedRandom } from '../../../src/testing/seeded.ts';
import { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { selector } from './packets.ts';

const LOCAL = { ip: '198.51.100.2', port: 4500 };
const REMOTE = { ip: '203.0.113.7', port: 4500 };

export type Suite = Pick<ChildSaKeys, 'encryption' | 'keyLength' | 'integrity'> & { readonly key: number; readonly mac: number };

/** Octets of key and salt, and of the MAC's key, beside the IANA numbers. */
export const suites = {
  aes128gcm16: { encryption: 20, keyLength: 128, integrity: 0, key: 20, mac: 0 },
  aes256gcm16: { encryption: 20, keyLength: 256, integrity: 0, key: 36, mac: 0 },
  chacha20poly1305: { encryption: 28, keyLength: undefined, integrity: 0, key: 36, mac: 0 },
  'aes256-sha256': { encryption: 12, keyLength: 256, integrity: 12, key: 32, mac: 32 },
} as const satisfies Record<string, Suite>;

export interface PairChild {
  readonly id?: number;
  readonly suite?: Suite;
  /** Of A; B has them the other way round. */
  readonly localTs?: readonly (string | TrafficSelector)[];
  readonly remoteTs?: readonly (string | TrafficSelector)[];
  readonly more?: Partial<ChildSaSpec>;
}

/** Both ends' view of one CHILD_SA. */
export function childPair({
  id = 1,
  suite = suites.aes128gcm16,
  localTs = ['0.0.0.0/0', '::/0'],
  remoteTs = ['0.0.0.0/0', '::/0'],
  more = {},
}: PairChild = {}): {
  a: ChildSaSpec;
  b: ChildSaSpec;
} {
  const keys = (spi: number, fill: number): ChildSaKeys => ({
    spi,
    encryption: suite.encryption,
    keyLength: suite.keyLength,
    encryptionKey: new Uint8Array(suite.key).fill(fill),
    integrity: suite.integrity,
    integrityKey: new Uint8Array(suite.mac).fill(fill + 1),
  });
  const toA = keys(0xa000 + id, 10 * id);
  const toB = keys(0xb000 + id, 10 * id + 5);
  const local = localTs.map((ts) => (typeof ts === 'string' ? selector(ts) : ts));
  const remote = remoteTs.map((ts) => (typeof ts === 'string' ? selector(ts) : ts));
  const common = {
    id,
    ikeSa: 1,
    connection: 'road',
    name: `net-${id}`,
    protocol: 'ESP',
    mode: 'tunnel',
    esn: true,
    replayWindow: 64,
    encap: true,
    outboundActive: true,
    replaces: undefined,
    limits: { softBytes: 0, hardBytes: 0, softPackets: 0, hardPackets: 0 },
    assigned: [],
  } as const;
  return {
    a: { ...common, inbound: toA, outbound: toB, localTs: local, remoteTs: remote, local: LOCAL, remote: REMOTE, ...more },
    b: { ...common, inbound: toB, outbound: toA, localTs: remote, remoteTs: local, local: REMOTE, remote: LOCAL, ...more },
  };
}

interface EspEnd {
  readonly plane: EspPlane;
  /** Inner packets that came out here. */
  readonly delivered: Uint8Array[];
  readonly observed: Observation[];
  /** ESP packets that left here, as they were on the wire. */
  readonly wire: Uint8Array[];
  /** Traffic classes that their outer headers were to have. */
  readonly classes: (number | undefined)[];
  /** Where the other end sees this one; changing it is a NAT that rebinds. */
  address: { ip: string; port: number };
}

export interface EspPair {
  readonly a: EspEnd;
  readonly b: EspEnd;
  readonly clock: VirtualClock;
  /** false: what is sent is only recorded. */
  connected: boolean;
  /** Outer headers are ours; what is on the wire then begins with them. */
  whole: boolean;
}

/** Two ESP planes whose packets reach one another at once. */
export const espPair = (...children: readonly PairChild[]): EspPair => espPairOf({}, ...children);

/** With ciphers of one's own at either end. */
export function espPairOf(ciphers: PairCiphers, ...children: readonly PairChild[]): EspPair {
  const clock = new VirtualClock();
  const pair = { clock, connected: true, whole: false } as { -readonly [K in keyof EspPair]: EspPair[K] };
  pair.a = end(pair, 'b', LOCAL, ciphers.a);
  pair.b = end(pair, 'a', REMOTE, ciphers.b);
  for (const child of children) installBoth(pair, child);
  return pair;
}

export function installBoth(pair: EspPair, child: PairChild): void {
  const { a, b } = childPair(child);
  pair.a.plane.install(a);
  pair.b.plane.install(b);
}

type PairCiphers = Readonly<Partial<Record<'a' | 'b', Primitives['createPacketCipher'] | undefined>>>;

function end(
  pair: EspPair,
  other: 'a' | 'b',
  address: { ip: string; port: number },
  createPacketCipher?: Primitives['createPacketCipher'],
): EspEnd {
  const delivered: Uint8Array[] = [];
  const observed: Observation[] = [];
  const wire: Uint8Array[] = [];
  const classes: (number | undefined)[] = [];
  const self: EspEnd = {
    delivered,
    observed,
    wire,
    classes,
    address,
    plane: new EspPlane({
      backend: 'test',
      createPacketCipher,
      clock: {
        now: () => pair.clock.now,
        wall: () => 0,
        after: (delay, run) => pair.clock.after(delay, run),
        soon: (run) => void pair.clock.after(0, run),
      },
      random: scriptedRandom(other),
      deflate: zlibDeflate,
      openPath: (_local, remote, encap): EspPath => ({
        mtu: 1500,
        overhead: pair.whole && !encap ? (remote.ip.includes(':') ? 40 : 20) : 28,
        sendWhole:
          pair.whole && !encap
            ? (packet) => {
                wire.push(packet.slice());
                if (pair.connected) pair[other].plane.receiving.receiveWhole(packet.slice());
                return true;
              }
            : undefined,
        send(packet, trafficClass) {
          wire.push(packet.slice());
          classes.push(trafficClass);
          if (pair.connected) pair[other].plane.receive(packet.slice(), self.address.ip, self.address.port);
          return true;
        },
      }),
      onObservation: (observation) => observed.push(observation),
      deliver: (buffer, start, end) => delivered.push(buffer.slice(start, end)),
    }),
  };
  return self;
}
