import { expect, test } from 'vitest';
import type { DataPlaneError } from '../../../../src/core/bytes/index.ts';
import type { FromLoop, ToLoop } from '../../../../src/host/dataplane/fast/messages.ts';
import { ThreadPort } from '../../../../src/host/dataplane/fast/thread-port.ts';
import type { ThreadEvents } from '../../../../src/host/platform/worker-threads.ts';
import { childPair } from '../../support/esp-pair.ts';

function open() {
  const told: ToLoop[] = [];
  const ended: { error: DataPlaneError; children: readonly number[] }[] = [];
  let events!: ThreadEvents;
  const threads = {
    cores: 1,
    start: (_: URL, given: ThreadEvents) => {
      events = given;
      return { post: (message: unknown) => void told.push(message as ToLoop), end: () => Promise.resolve() };
    },
  };
  const tun = { fd: 3, name: 'tw0', header: 10, offloads: { checksum: true, tcp: true, udp: true } } as const;
  const port = new ThreadPort({
    threads,
    backend: 'tun',
    inner: { kind: 'tun', tun },
    singly: false,
    wake: 4,
    ring: () => undefined,
    onObservation: () => undefined,
    openPath: () => ({ mtu: 1500, overhead: 28, send: () => true }),
    onEnd: (error, children) => ended.push({ error, children }),
  });
  const answer = (message: FromLoop): void => events.onMessage(message);
  return { port, told, ended, answer, die: (why: string) => events.onExit(why) };
}

const tokenOf = (message: ToLoop | undefined): number => (message !== undefined && 'token' in message ? message.token : -1);

test('a CHILD_SA stands when the thread says so, and its refusal is the caller’s', async () => {
  const { port, told, answer } = open();
  const first = port.install(childPair({ id: 1 }).a, undefined);
  answer({ kind: 'done', token: tokenOf(told.at(-1)), refusal: undefined });
  await first;
  expect(port.counters(1)).toBeDefined();
  const second = port.install(childPair({ id: 2 }).a, undefined);
  answer({ kind: 'done', token: tokenOf(told.at(-1)), refusal: { message: 'no', code: 'SPI_IN_USE', hint: undefined } });
  await expect(second).rejects.toMatchObject({ code: 'SPI_IN_USE', message: 'no' });
  expect(port.counters(2)).toBeUndefined();
});

test('a thread that ends by itself is told with the CHILD_SAs it carried, and refuses what waits and what comes', async () => {
  const { port, told, ended, answer, die } = open();
  const first = port.install(childPair({ id: 1 }).a, undefined);
  answer({ kind: 'done', token: tokenOf(told.at(-1)), refusal: undefined });
  await first;
  const waiting = port.install(childPair({ id: 2 }).a, undefined);
  die('out of memory');
  await expect(waiting).rejects.toMatchObject({ code: 'PLANE_ENDED', message: expect.stringContaining('out of memory') });
  expect(ended).toMatchObject([{ error: { code: 'PLANE_ENDED' }, children: expect.arrayContaining([1]) }]);
  await expect(port.install(childPair({ id: 3 }).a, undefined)).rejects.toMatchObject({ code: 'PLANE_ENDED' });
  await port.close();
});
