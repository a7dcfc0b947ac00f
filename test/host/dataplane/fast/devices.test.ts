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

  test('holds what comes while its thread waits for a processor, whatever it was opened for', () => {
    const [sender, receiver] = [bound(), bound(LITTLE)];
    const octets = Arrivals.octets(0);
    const device = new UdpDevice(native, receiver, new Arrivals(native, new NativeMemory(NativeMemory.octets(octets)).take(octets)));
    onTestFinished(() => device.close());
    const message = native.allocate(MESSAGE);
    const towards = SocketAddress.of(native, receiver.local.ip, receiver.local.port);
    // twice what the kernel would hold of them for who asks for little
    const sent = Math.ceil((4 * LITTLE) / MESSAGE);
    for (let i = 0; i < sent; i++) expect(sender.send(message, 0, MESSAGE, towards)).toBe(true);
    let came = 0;
    for (let more = MOST_MESSAGES; more > 0; ) {
      more = device.receive((_from, start, end) => {
        came += end - start;
      });
    }
    expect(came).toBe(sent * MESSAGE);
  });
});

/** Octets. Who asks for so many is granted twice as many, what the kernel needs itself among them. */
const LITTLE = 30_000;
const MESSAGE = 1400;
