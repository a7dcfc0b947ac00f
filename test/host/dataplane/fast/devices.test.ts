import { expect, onTestFinished, test } from 'vitest';
import { Arrivals, UdpDevice } from '../../../../src/host/dataplane/fast/devices.ts';
import { MOST_MESSAGES } from '../../../../src/host/dataplane/fast/ports.ts';
import { NativeMemory } from '../../../../src/host/platform/linux/ffi.ts';
import { SocketAddress } from '../../../../src/host/platform/linux/socket-address.ts';
import { FastUdp } from '../../../../src/host/platform/linux/udp.ts';
import { describeWithNative } from '../../../support/native.ts';

describeWithNative('the UDP socket of a fast plane', (native) => {
  const bound = (receiveBuffer?: number): FastUdp => {
    const socket = FastUdp.open(native, { ip: '127.0.0.1', port: 0, ...(receiveBuffer === undefined ? {} : { receiveBuffer }) });
    onTestFinished(() => socket.close());
    return socket;
  };

  const deviceOver = (socket: FastUdp): UdpDevice => {
    const octets = Arrivals.octets(0);
    const device = new UdpDevice(native, socket, new Arrivals(native, new NativeMemory(NativeMemory.octets(octets)).take(octets)));
    onTestFinished(() => device.close());
    return device;
  };

  test('holds what comes while its thread waits for a processor, whatever it was opened for', () => {
    const [sender, receiver] = [bound(), bound(LITTLE)];
    const device = deviceOver(receiver);
    const message = native.allocate(MESSAGE);
    const towards = SocketAddress.of(native, receiver.local.ip, receiver.local.port);
    // twice what the kernel would hold of them for who asks for little
    const sent = Math.ceil((4 * LITTLE) / MESSAGE);
    for (let i = 0; i < sent; i++) expect(sender.send(message, 0, MESSAGE, towards)).toBe(true);
    let came = 0;
    for (let more = MOST_MESSAGES; more > 0; ) {
      more = device.receive((_from, start, end, step) => {
        came += Math.ceil((end - start) / step);
      });
    }
    expect(came).toBe(sent);
  });

  test('hands on together what came singly from one sender, in one size but for the last, and nothing else', () => {
    const [a, b, receiver] = [bound(), bound(), bound()];
    const device = deviceOver(receiver);
    const towards = SocketAddress.of(native, receiver.local.ip, receiver.local.port);
    const buffer = native.allocate(MESSAGE);
    const sent: [FastUdp, length: number, trafficClass?: number][] = [
      [a, 1400],
      [a, 1400],
      [a, 900],
      [a, 900],
      [a, 1400],
      [b, 1400],
      [b, 1400, 2],
      [b, 1400, 2],
      [b, 0],
      [b, 1],
    ];
    sent.forEach(([socket, length, trafficClass], i) => {
      buffer.octets.fill(i);
      expect(socket.send(buffer, 0, length, towards, trafficClass)).toBe(true);
    });
    const rows: unknown[] = [];
    device.receive(({ octets }, start, end, step, size, _local, _ip, port, trafficClass) => {
      const row: number[] = [];
      for (let at = start; at < end; at += step) {
        const datagram = octets.subarray(at, Math.min(at + size, end));
        const [which] = datagram;
        expect([...datagram]).toEqual(new Array(sent[which!]![1]).fill(which));
        row.push(which!);
      }
      rows.push([port === a.local.port ? 'a' : 'b', trafficClass, row]);
    });
    expect(rows).toEqual([
      ['a', 0, [0, 1, 2]],
      ['a', 0, [3]],
      ['a', 0, [4]],
      ['b', 0, [5]],
      ['b', 2, [6, 7]],
      ['b', 0, [9]],
    ]);
  });
});

/** Octets. Who asks for so many is granted twice as many, what the kernel needs itself among them. */
const LITTLE = 30_000;
const MESSAGE = 1400;
