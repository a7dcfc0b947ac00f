import { describe, expect, test } from 'vitest';
import { toHex } from '../../../src/core/bytes/index.ts';
import type { Datagram } from '../../../src/core/ike/effects.ts';
import { Counters } from '../../../src/host/engine/counters.ts';
import { SocketSet } from '../../../src/host/engine/sockets.ts';
import type { Triage, UdpNetwork } from '../../../src/host/platform/udp.ts';
import { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { engineClock } from '../support/virtual-platform.ts';

const LOCAL = '192.0.2.1';
const REMOTE = '198.51.100.2';
const MESSAGE = new Uint8Array(28).fill(0xa0);
const OCTETS = toHex(MESSAGE);
/** A header alone: IKE_SA_INIT of the initiator, and what payload comes first. */
const first = (spi: number, payload: number): Uint8Array => {
  const data = new Uint8Array(28).fill(spi, 0, 8);
  data.set([payload, 0x20, 34, 0x08], 16);
  return data;
};
const SA = 33;
const NOTIFY = 41;
const SOMETHING_MORE = toHex(first(9, SA));

/** The sockets of one address, the wire in the hand of the test. */
async function opened() {
  const out: [port: number, octets: string][] = [];
  const into = new Map<number, (data: Uint8Array, ip: string, port: number) => void>();
  const triages = new Map<number, Triage>();
  const ike: Datagram[] = [];
  const turned: [octets: string, encap: boolean][] = [];
  const unused = () => Promise.reject(new Error('not here'));
  const udp: UdpNetwork = {
    sourceFor: unused,
    addresses: () => [],
    bind: ({ ip, port, onDatagram, triage }) => {
      into.set(port, onDatagram);
      triages.set(port, triage!);
      const send = (data: Uint8Array): boolean => out.push([port, toHex(data)]) > 0;
      const counters = { received: 0, sent: 0, queueDrops: 0, errors: 0 };
      return Promise.resolve({ local: { ip, port }, receiveBuffer: 0, counters, send, close: () => Promise.resolve() });
    },
  };
  const sockets = new SocketSet({ udp, tcp: { listen: unused, connect: unused }, clock: engineClock(new VirtualClock()) }, new Counters(), {
    onIke: (datagram) => ike.push(datagram) > 0,
    turnsAway: ({ data, encap }) => turned.push([toHex(data), encap]) > 0 && toHex(data) !== SOMETHING_MORE,
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
  return { out, ike, turned, triages, send, come: (port: number, data: Uint8Array) => into.get(port)!(data, REMOTE, port) };
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

  test('a first request without a cookie waits, on either port; whoever shows a cookie, knows an SPI or sends ESP does not', async () => {
    const { triages } = await opened();
    const marked = (data: Uint8Array): Uint8Array => Uint8Array.of(0, 0, 0, 0, ...data);
    const responder = first(1, SA);
    responder[19] = 0x20;
    for (const [port, form] of [
      [500, (data: Uint8Array) => data],
      [4500, marked],
    ] as const) {
      const waits = (data: Uint8Array): boolean => triages.get(port)!.waits(form(data));
      expect(waits(first(1, SA))).toBe(true);
      expect([first(1, NOTIFY), responder, MESSAGE, first(1, SA).subarray(0, 27), new Uint8Array(0)].map(waits)).toEqual(
        Array(5).fill(false),
      );
    }
    expect(triages.get(4500)!.waits(first(1, SA))).toBe(false);
  });

  test('what is turned away is done with; of anything else a copy goes the usual way', async () => {
    const { triages, ike, turned } = await opened();
    const place = Uint8Array.of(0, 0, 0, 0, ...first(1, SA));
    triages.get(4500)!.onWaiting(place, REMOTE, 4500);
    expect(turned).toEqual([[toHex(first(1, SA)), true]]);
    expect(ike).toEqual([]);
    place.set(first(9, SA), 4);
    triages.get(4500)!.onWaiting(place, REMOTE, 4500);
    place.fill(0);
    expect(ike.map(({ data, encap, remote }) => [toHex(data), encap, remote])).toEqual([
      [SOMETHING_MORE, true, { ip: REMOTE, port: 4500 }],
    ]);
  });
});
