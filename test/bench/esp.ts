import { createPacketCipher, systemRandom } from '../../src/core/crypto/index.ts';
import { InboundSa, OpenedPacket, OutboundSa } from '../../src/core/esp/index.ts';
import { EncryptionId, IntegrityId } from '../../src/core/wire/index.ts';
import { type Row, row } from './measure.ts';

interface Suite {
  readonly name: string;
  readonly encryption: number;
  readonly keyLength?: number;
  /** Key and salt. */
  readonly keyOctets: number;
  readonly integrity?: number;
}

export const SUITES: readonly Suite[] = [
  { name: 'aes128gcm16', encryption: EncryptionId.ENCR_AES_GCM_16, keyLength: 128, keyOctets: 20 },
  { name: 'aes256gcm16', encryption: EncryptionId.ENCR_AES_GCM_16, keyLength: 256, keyOctets: 36 },
  { name: 'chacha20poly1305', encryption: EncryptionId.ENCR_CHACHA20_POLY1305, keyOctets: 36 },
  {
    name: 'aes256-sha256',
    encryption: EncryptionId.ENCR_AES_CBC,
    keyLength: 256,
    keyOctets: 32,
    integrity: IntegrityId.AUTH_HMAC_SHA2_256_128,
  },
];

/** Packets that are sealed, and opened, in a second of CPU time: header, trailer, IV, cipher, sequence numbers and replay window. */
export function measureEsp(suite: Suite, octets: number, rounds: number): readonly [seal: Row, open: Row] {
  const payload = new Uint8Array(octets).fill(0x5a);
  const opened = new OpenedPacket();
  const seals: number[] = [];
  const opens: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const { outbound, inbound } = pair(suite);
    const packets = Array.from({ length: BATCH }, () => new Uint8Array(outbound.sealedLength(octets)));
    const sealing = seconds(() => {
      for (const packet of packets) outbound.seal(payload, IPV4, packet, 0);
    });
    const opening = seconds(() => {
      for (const packet of packets) if (inbound.open(packet, opened) !== 'ok') throw new Error('a packet did not open');
    });
    // The first round compiles.
    if (round === 0) continue;
    seals.push(BATCH / sealing / 1000);
    opens.push(BATCH / opening / 1000);
  }
  const what = (verb: string): string => `ESP ${verb} ${octets} octets, ${suite.name}`;
  return [row(what('seal'), 'Tunnelwright', 'kpkt/s/core', seals), row(what('open'), 'Tunnelwright', 'kpkt/s/core', opens)];
}

function pair(suite: Suite): { outbound: OutboundSa; inbound: InboundSa } {
  const cipher = () =>
    createPacketCipher({
      encryption: suite.encryption,
      keyLength: suite.keyLength,
      encryptionKey: new Uint8Array(suite.keyOctets).fill(7),
      integrity: suite.integrity,
      integrityKey: suite.integrity === undefined ? undefined : new Uint8Array(32).fill(9),
    });
  const random = systemRandom();
  return {
    outbound: new OutboundSa({ spi: 0x1001, cipher: cipher(), esn: true, random: { cbcIv: (length: number) => random.cbcIv(length) } }),
    inbound: new InboundSa({ spi: 0x1001, cipher: cipher(), esn: true }),
  };
}

/** CPU time of the process, so that a busy machine makes it slower and not wrong. */
function seconds(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

const IPV4 = 4;
const BATCH = 40_000;
