import { afterAll, beforeAll, expect, test } from 'vitest';
import { integrityTransforms } from '../../../src/core/crypto/index.ts';
import { EspPlane } from '../../../src/host/dataplane/esp-plane.ts';
import { RawDevice } from '../../../src/host/dataplane/fast/raw-device.ts';
import { RawPaths } from '../../../src/host/dataplane/fast/raw-paths.ts';
import { loadNative, type Native } from '../../../src/host/platform/linux/ffi.ts';
import { loadLibc } from '../../../src/host/platform/linux/netlink/libc.ts';
import { within } from '../../../src/host/platform/linux/netlink/within.ts';
import { RawIp } from '../../../src/host/platform/linux/raw.ts';
import { scriptedRandom } from '../../../src/testing/seeded.ts';
import { childPair } from '../../host/support/esp-pair.ts';
import { packet } from '../../host/support/packets.ts';
import { addNamespace, networkName } from '../support/network.ts';
import { eventually, must, PATIENCE } from '../support/process.ts';
import { describeWith, NAMESPACES } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';

const ENDS = {
  4: { left: '10.89.0.1', right: '10.89.0.2' },
  6: { left: 'fd89::1', right: 'fd89::2' },
} as const;
const [ESP, AH] = [50, 51] as const;

/** A plane of user space whose packets leave and enter by raw sockets of a namespace. */
class End {
  readonly plane: EspPlane;
  readonly delivered: Uint8Array[] = [];
  readonly #paths = new RawPaths();
  readonly #sockets: RawIp[] = [];

  constructor(native: Native, ips: readonly string[], protocol: number) {
    for (const ip of ips) {
      const socket = RawIp.open(native, { ip, protocol });
      this.#sockets.push(socket);
      this.#paths.add(new RawDevice(native, socket.fd, ip, protocol));
    }
    this.plane = new EspPlane({
      backend: 'test',
      clock: { now: () => performance.now(), wall: () => 0, after: () => ({ cancel: () => {} }), soon: () => {} },
      random: scriptedRandom(ips.join()),
      openPath: (local, remote) => this.#paths.path(local, remote)!,
      onObservation: () => {},
      deliver: (buffer, start, end) => this.delivered.push(buffer.slice(start, end)),
    });
  }

  receive(): void {
    for (const port of this.#paths.all)
      while (port.receive((octets, start, end) => void this.plane.receiving.receiveWhole(octets, start, end)));
  }

  close(): void {
    this.plane.close();
    this.#paths.closeAll();
    for (const socket of this.#sockets) socket.close();
  }
}

describeWith(NAMESPACES, 'ESP and AH straight on IP', () => {
  const scope = new Scope();
  const [left, right] = [networkName(), networkName()];
  let native: Native;
  let inside: <T>(namespace: string, make: () => T) => T;

  beforeAll(async () => {
    native = (await loadNative())!;
    const libc = await loadLibc();
    inside = (namespace, make) => within(libc, `/run/netns/${namespace}`, make);
    for (const namespace of [left, right]) await addNamespace(scope, namespace);
    await must('ip', ['-n', left, 'link', 'add', 'out', 'type', 'veth', 'peer', 'name', 'out', 'netns', right]);
    for (const [namespace, v4, v6] of [
      [left, ENDS[4].left, ENDS[6].left],
      [right, ENDS[4].right, ENDS[6].right],
    ] as const) {
      await must('ip', ['-n', namespace, 'address', 'add', `${v4}/24`, 'dev', 'out']);
      await must('ip', ['-n', namespace, '-6', 'address', 'add', `${v6}/64`, 'dev', 'out', 'nodad']);
      await must('ip', ['-n', namespace, 'link', 'set', 'out', 'up']);
    }
  });
  afterAll(() => scope.close());

  const mac = new Uint8Array(integrityTransforms().find(({ id }) => id === 12)!.keyLength).fill(9);

  test.each([
    [4, 'ESP', ESP],
    [6, 'ESP', ESP],
    [4, 'AH', AH],
    [6, 'AH', AH],
  ] as const)('over IPv%i, %s: whole packets, and such as the kernels cut and put together', async (version, protocol, number) => {
    const { left: from, right: to } = ENDS[version];
    const a = inside(left, () => new End(native, [from], number));
    const b = inside(right, () => new End(native, [to], number));
    try {
      const specs = childPair({ more: { encap: false, protocol } });
      const keyed = (spec: typeof specs.a): typeof specs.a => {
        const half = (keys: typeof spec.inbound) => (protocol === 'AH' ? { ...keys, integrity: 12, integrityKey: mac.slice() } : keys);
        return { ...spec, inbound: half(spec.inbound), outbound: half(spec.outbound) };
      };
      const ends = { local: { ip: from, port: 0 }, remote: { ip: to, port: 0 } };
      inside(left, () => a.plane.install({ ...keyed(specs.a), ...ends, packets: { df: 'clear' } }));
      inside(right, () => b.plane.install({ ...keyed(specs.b), local: ends.remote, remote: ends.local }));
      // a link that has just come up may lose the first ones
      await eventually(
        'packets pass',
        () => {
          a.plane.send(packet('10.0.0.1', '10.0.1.1', { size: 100 }));
          b.receive();
          return b.delivered.length > 0;
        },
        PATIENCE,
        () => JSON.stringify([a.plane.drops(), a.plane.counters(1), b.plane.drops(), b.plane.counters(1)]),
      );
      b.delivered.length = 0;
      const sent = [packet('fd00:a::1', 'fd00:b::1', { size: 1300 }), packet('10.0.0.1', '10.0.1.1', { size: 4000 })];
      for (const one of sent) expect(a.plane.send(one)).toBe(true);
      await eventually(
        'all have come',
        () => {
          b.receive();
          return sent.every((one) => b.delivered.some((got) => Buffer.compare(got, one) === 0));
        },
        PATIENCE,
        () => JSON.stringify([a.plane.counters(1), b.plane.drops(), b.plane.counters(1), b.delivered.map(({ length }) => length)]),
      );
      b.plane.send(packet('10.0.1.1', '10.0.0.1'));
      await eventually(
        'the answer',
        () => {
          a.receive();
          return a.delivered.length > 0;
        },
        PATIENCE,
        () => JSON.stringify(a.plane.drops()),
      );
      expect(Object.values(b.plane.counters(1)!.drops).reduce((sum, count) => sum + count, 0)).toBe(0);
    } finally {
      a.close();
      b.close();
    }
  });

  test('an address that is not ours is refused in a sentence', () => {
    expect(() => inside(left, () => RawIp.open(native, { ip: '192.0.2.77', protocol: ESP }))).toThrow(
      expect.objectContaining({ code: 'ADDRESS_NOT_OURS' }),
    );
  });
});
