import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { POLL, PollSet, Wakeup } from '../../../../src/host/platform/linux/poll.ts';
import { SocketAddress } from '../../../../src/host/platform/linux/socket-address.ts';
import { FastUdp } from '../../../../src/host/platform/linux/udp.ts';
import { UdpBatch } from '../../../../src/host/platform/linux/udp-batch.ts';
import { describeWithNative } from '../../../support/native.ts';

describeWithNative('waiting on descriptors', (native) => {
  test('says which of them is ready, and for what', () => {
    const a = FastUdp.open(native, { ip: '127.0.0.1', port: 0 });
    const b = FastUdp.open(native, { ip: '127.0.0.1', port: 0 });
    const wakeup = Wakeup.open(native);
    const set = new PollSet(native, 3);
    const [atA, atB, atWakeup] = [set.add(a.fd), set.add(b.fd), set.add(wakeup.fd)];
    expect(set.wait(0)).toBe(0);
    const buffer = native.allocate(8);
    a.send(buffer, 0, 8, SocketAddress.of(native, '127.0.0.1', b.local.port));
    wakeup.wake();
    wakeup.wake();
    expect(set.wait(1000)).toBe(2);
    expect([atA, atB, atWakeup].map((place) => set.ready(place))).toEqual([0, POLL.in, POLL.in]);
    expect([wakeup.clear(), wakeup.clear()]).toEqual([true, false]);
    set.watch(atA, POLL.in | POLL.out);
    b.receive(new UdpBatch(native, 1));
    expect(set.wait(1000)).toBe(1);
    expect([atA, atB, atWakeup].map((place) => set.ready(place))).toEqual([POLL.out, 0, 0]);
    expect(() => set.add(0)).toThrow(/no more than 3/);
    set.remove(atA);
    expect([set.wait(0), set.ready(atA)]).toEqual([0, 0]);
    expect(set.add(wakeup.fd)).toBe(atA);
    for (const one of [a, b, wakeup]) one.close();
    expect(set.wait(0)).toBe(3);
    expect(set.ready(atB)).toBe(POLL.invalid);
  });

  test('nothing comes: it waits as long as it was told', () => {
    const before = process.hrtime.bigint();
    expect(new PollSet(native).wait(20)).toBe(0);
    expect(process.hrtime.bigint() - before).toBeGreaterThan(19_000_000n);
  });

  test('another thread that waits is woken', async () => {
    const wakeup = Wakeup.open(native);
    const modules = new URL('../../../../dist/host/platform/linux/', import.meta.url).href;
    const worker = new Worker(
      `const { parentPort, workerData } = require('node:worker_threads');
       (async () => {
         const { loadNative } = await import(workerData.modules + 'ffi.js');
         const { PollSet, Wakeup } = await import(workerData.modules + 'poll.js');
         const native = await loadNative();
         const wakeup = Wakeup.adopt(native, workerData.fd);
         const set = new PollSet(native);
         set.add(wakeup.fd);
         parentPort.postMessage('waits');
         parentPort.postMessage([set.wait(60_000), wakeup.clear()]);
       })();`,
      { eval: true, workerData: { modules, fd: wakeup.fd } },
    );
    const messages: unknown[] = [];
    await new Promise<void>((resolve, reject) => {
      worker.on('error', reject);
      worker.on('exit', () => resolve());
      worker.on('message', (message) => {
        messages.push(message);
        if (message === 'waits') setTimeout(() => wakeup.wake(), 20);
      });
    });
    expect(messages).toEqual(['waits', [1, true]]);
    wakeup.close();
  });
});
