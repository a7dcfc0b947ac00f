import { describe, expect, test } from 'vitest';
import { toHex } from '../../../src/core/bytes/index.ts';
import type { Datagram } from '../../../src/core/ike/effects.ts';
import { Counters } from '../../../src/host/engine/counters.ts';
import { SocketSet } from '../../../src/host/engine/sockets.ts';
import type { UdpNetwork } from '../../../src/host/platform/udp.ts';
import { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { engineClock } from '../support/virtual-platform.ts';

const LOCAL = '192.0.2.1';
const REMOTE = '198.51.100.2';
const MESSAGE = new Uint8Array(28).fill(0xa0);
const OCTETS = toHex(MESSAGE);

/** The sockets of one address, the wire in the hand of the test. */
async function opened() {
  const out: [port: number, octets: string][] = [];
  const into = new Map<number, (data: Uint8Array, ip: string, port: number) => void>();
  const ike: Datagram[] = [];
  const unused = () => Promise.reject(new Error('not here'));
  const udp: UdpNetwork = {
    sourceFor: unused,
    addresses: () => [],
    bind: ({ ip, port, onDatagram }) => {
      into.set(port, onDatagram);
      const send = (data: Uint8Array): boolean => out.push([port, toHex(data)]) > 0;
      const counters = { received: 0, sent: 0, queueDrops: 0, errors: 0 };
      return Promise.resolve({ local: { ip, port }, receiveBuffer: 0, counters, send, close: () => Promise.resolve() });
    },
  };
  const sockets = new SocketSet({ udp, tcp: { listen: unused, connect: unused }, clock: engineClock(new VirtualClock()) }, new Counters(), {
    onIke: (datagram) => ike.push(datagram) > 0,
    onEsp: () => true,
    onBound: () => Promise.resolve(),
    onUnbinding: () => Promise.resolve(),
    onStreamClosed: () => undefined,
    onStir: () => undefined,
    onFailure: () => undefined,
  });
  await sockets.open(LOCAL, { ike: 500, nat: 4500 });
  const send = (encap: boolean): void => {
    const port = encap ? 4500 : 500;
    sockets.transmit({ local: { ip: LOCAL, port }, remote: { ip: REMOTE, port }, data: MESSAGE, encap });
  };
  return { out, ike, send, come: (port: number, data: Uint8Array) => into.get(port)!(data, REMOTE, port) };
}

describe('IKE on the two ports (RFC 7296 §2, §3.1)', () => {
  test('on port 4500 it goes out behind four octets of zero, on port 500 without them', async () => {
    const { out, send } = await opened();
    send(true);
    send(false);
    expect(out).toEqual([
      [4500, `00000000${OCTETS}`],
      [500, OCTETS],
    ]);
  });

  test('and comes in likewise', async () => {
    const { ike, come } = await opened();
    come(4500, Uint8Array.of(0, 0, 0, 0, ...MESSAGE));
    come(500, MESSAGE);
    expect(ike.map(({ data, encap }) => [toHex(data), encap])).toEqual([
      [OCTETS, true],
      [OCTETS, false],
    ]);
  });
});
