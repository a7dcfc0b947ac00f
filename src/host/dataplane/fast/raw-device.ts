import type { Address } from '../../../core/bytes/index.ts';
import type { Native, NativeBuffer } from '../../platform/linux/ffi.ts';
import { ErrorQueue, pathMtuTowards } from '../../platform/linux/path-mtu.ts';
import { RawIp } from '../../platform/linux/raw.ts';
import { SocketAddress } from '../../platform/linux/socket-address.ts';
import type { UdpBatch } from '../../platform/linux/udp-batch.ts';
import type { RawPort, TakeTooLarge, TakeWhole } from './ports.ts';

/** A raw socket that whole packets leave and enter by. It was opened elsewhere, and is closed there. */
export class RawDevice implements RawPort {
  readonly ip: string;
  readonly protocol: number;
  readonly #native: Native;
  readonly #raw: RawIp;
  readonly #batch: UdpBatch;
  readonly #scratch: NativeBuffer;
  readonly #errors: ErrorQueue;

  constructor(native: Native, fd: number, ip: string, protocol: number) {
    this.ip = ip;
    this.protocol = protocol;
    this.#native = native;
    this.#raw = RawIp.adopt(native, fd, ip, protocol);
    this.#batch = RawIp.batch(native, MESSAGES);
    this.#scratch = native.allocate(LARGEST);
    this.#errors = new ErrorQueue(native, fd, this.#raw.isV6);
  }

  receive(take: TakeWhole): boolean {
    return this.#raw.receive(this.#batch, (from, start, end) => take(from.octets, start, end)) > 0;
  }

  receiveErrors(take: TakeTooLarge): void {
    // what is quoted begins with the header that was ours
    this.#errors.drain(({ ip, mtu, quoted }) => take(ip, mtu, quoted === undefined ? undefined : espOf(quoted)));
  }

  towards(remote: Address): { readonly mtu: number | undefined; send(packet: Uint8Array): boolean } {
    const raw = this.#raw;
    const scratch = this.#scratch;
    const peer = SocketAddress.of(this.#native, remote.ip, 0);
    return {
      mtu: pathMtuTowards(this.#native, raw.fd, { ip: this.ip, port: 0 }, { ip: remote.ip, port: ANY_PORT }),
      send(packet) {
        scratch.octets.set(packet);
        return raw.send(scratch, 0, packet.length, peer);
      },
    };
  }

  close(): void {
    this.#errors.close();
  }
}

/** From the SPI on, be it of ESP or of AH. */
function espOf(quoted: Uint8Array): Uint8Array {
  const version = quoted[0]! >>> 4;
  const at = version === 4 ? (quoted[0]! & 0x0f) * 4 : 40;
  const isEsp = quoted[version === 4 ? 9 : 6] === ESP;
  return isEsp ? quoted.subarray(at) : quoted.subarray(at + AH_SPI_AT);
}

const ESP = 50;
const AH_SPI_AT = 4;
const MESSAGES = 16;
const LARGEST = 65_536;
/** A route is looked up for it, and nothing is sent. */
const ANY_PORT = 9;
