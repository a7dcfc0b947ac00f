import { once } from 'node:events';
import { expect, test } from 'vitest';
import { type MachineStream, machineSockets } from '../../../src/host/platform/machine-sockets.ts';

const LOOPBACK = '127.0.0.1';
/** Of 127.0.0.0/8, all of which is ours on Linux alone. */
const OTHER = process.platform === 'linux' ? '127.0.0.2' : LOOPBACK;
const TIMEOUT = 60_000;

/** A port of the loopback that was free, and the streams that came to it. */
async function listening(act: (port: number, streams: readonly MachineStream[]) => Promise<void>): Promise<void> {
  const streams: MachineStream[] = [];
  const take = (stream: MachineStream): void => void streams.push(stream);
  let port = 20_000 + (process.pid % 10_000);
  const listen = (): Promise<() => void> => machineSockets.listen({ ip: LOOPBACK, port }, take);
  let stop: (() => void) | undefined;
  while (stop === undefined && port < 65_000) stop = await listen().catch(() => void port++);
  if (stop === undefined) throw new Error('no port is free');
  try {
    await act(port, streams);
  } finally {
    stop();
    for (const stream of streams) stream.destroy();
  }
}

test('a connection comes from the address that was wished, and each direction ends by itself', () =>
  listening(async (port, streams) => {
    const stream = await machineSockets.connect({ from: OTHER, to: { ip: LOOPBACK, port }, timeout: TIMEOUT });
    stream.end('question');
    await expect.poll(() => streams.length, { timeout: TIMEOUT }).toBe(1);
    const [far] = streams;
    expect(far!.remoteAddress).toBe(OTHER);
    expect(String((await once(far!, 'data'))[0])).toBe('question');
    far!.end('answer');
    expect(String((await once(stream, 'data'))[0])).toBe('answer');
    stream.destroy();
  }));

test('what stands in the way is said by its name', () =>
  listening(async (port) => {
    const dial = { from: LOOPBACK, to: { ip: LOOPBACK, port: 1 }, timeout: TIMEOUT };
    await expect(machineSockets.connect(dial)).rejects.toMatchObject({
      code: 'ECONNREFUSED',
      message: '127.0.0.1:1: nothing listens there',
    });
    await expect(machineSockets.connect({ ...dial, from: '192.0.2.1' })).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' });
    const gone = AbortSignal.abort(new Error('enough'));
    await expect(machineSockets.connect({ ...dial, signal: gone })).rejects.toThrow('enough');
    await expect(machineSockets.listen({ ip: LOOPBACK, port }, () => undefined)).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await expect(machineSockets.listen({ ip: '192.0.2.1', port }, () => undefined)).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' });
  }));
