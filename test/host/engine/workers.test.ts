import { generateKeyPairSync } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { PeerViolation } from '../../../src/core/bytes/index.ts';
import { type KeyObject, keyExchange, schemeByName } from '../../../src/core/crypto/index.ts';
import type { AskRank } from '../../../src/core/ike/effects.ts';
import { JobQueue } from '../../../src/host/engine/workers/job-queue.ts';
import { type PoolOptions, WorkerPool } from '../../../src/host/engine/workers/pool.ts';
import { compute } from '../../../src/host/engine/workers/work.ts';
import { systemThreads } from '../../../src/host/platform/worker-threads.ts';
import { ManualThreads } from '../support/virtual-threads.ts';

describe('the queue', () => {
  const filled = (most: number, ranks: readonly AskRank[]) => {
    const queue = new JobQueue<string>(most);
    for (const [n, rank] of ranks.entries()) queue.put(`${rank} ${n}`, rank, true);
    return queue;
  };
  const drained = (queue: JobQueue<string>): string[] => {
    const out: string[] = [];
    for (let item = queue.take(); item !== undefined; item = queue.take()) out.push(item);
    return out;
  };

  test('the proven before those who hear us, those before strangers; in each line the first first', () => {
    const queue = filled(10, ['stranger', 'reachable', 'trusted', 'stranger', 'trusted', 'reachable']);
    expect(drained(queue)).toEqual(['trusted 2', 'trusted 4', 'reachable 1', 'reachable 5', 'stranger 0', 'stranger 3']);
    expect(queue.size).toBe(0);
  });

  test('is bounded: the latest stranger goes for somebody better, nobody goes for an equal', () => {
    const queue = filled(3, ['stranger', 'stranger', 'reachable']);
    expect(queue.put('one more', 'stranger', true)).toMatchObject({ place: undefined, evicted: undefined });
    expect(queue.put('better', 'reachable', true)).toMatchObject({ evicted: 'stranger 1' });
    expect(queue.put('best', 'trusted', true)).toMatchObject({ evicted: 'stranger 0' });
    expect(queue.put('best too', 'trusted', true)).toMatchObject({ evicted: 'better' });
    expect(queue.put('late', 'reachable', true)).toMatchObject({ place: undefined, evicted: undefined });
    expect(drained(queue)).toEqual(['best', 'best too', 'reachable 2']);
  });

  test('what may not be refused has a place beyond the bound, and gives none up', () => {
    const queue = filled(1, ['stranger']);
    expect(queue.put('a signature', 'stranger', false).place).toBeDefined();
    expect(queue.put('better', 'trusted', true)).toMatchObject({ evicted: 'stranger 0' });
    expect(queue.put('another', 'trusted', true)).toMatchObject({ place: undefined });
    expect(drained(queue)).toEqual(['better', 'a signature']);
  });

  test('whoever leaves, from wherever, leaves once, and makes room', () => {
    const queue = new JobQueue<number>(3);
    const places = [0, 1, 2].map((n) => queue.put(n, 'stranger', true).place!);
    expect([queue.leave(places[1]!), queue.leave(places[1]!)]).toEqual([true, false]);
    expect(queue.put(3, 'stranger', true).place).toBeDefined();
    expect([queue.leave(places[0]!), queue.take(), queue.leave(places[2]!), queue.take(), queue.take()]).toEqual([
      true,
      2,
      false,
      3,
      undefined,
    ]);
  });
});

describe('the pool', () => {
  const MODULE = new URL('file:///nowhere/worker.js');
  const X25519 = keyExchange(31)!;
  const kex = (peerPublic = X25519.offer().publicValue) => ({ kind: 'key-exchange', method: 31, peerPublic, seed: undefined }) as const;
  const job = (rank: AskRank, refusable = true) => ({ rank, refusable });
  const made = (workers: number, more: Partial<PoolOptions> = {}) => {
    const threads = new ManualThreads();
    return { threads, pool: new WorkerPool({ threads, workers, module: MODULE, ...more }) };
  };

  test('each worker has one work under way and one at hand; the rest waits here, where the order can still change', async () => {
    const { threads, pool } = made(2);
    const results: string[] = [];
    for (const rank of ['stranger', 'stranger', 'stranger', 'stranger', 'stranger', 'reachable', 'trusted'] as const) {
      void pool.run(kex(), job(rank)).result.then(() => results.push(rank));
    }
    expect(threads.started.map(({ posted }) => posted.length)).toEqual([2, 2]);
    expect(pool.load()).toMatchObject({ workers: 2, underWay: 4, waiting: { trusted: 1, reachable: 1, stranger: 1 } });
    for (let round = 0; round < 4; round++) for (const thread of threads.started) if (thread.posted.length > 0) thread.work();
    await new Promise(setImmediate);
    expect(results.slice(4)).toEqual(['trusted', 'reachable', 'stranger']);
    expect(pool.load()).toMatchObject({ underWay: 0, done: 7 });
  });

  test('what is taken back is not computed; a secret that comes for it all the same is overwritten', async () => {
    const { threads, pool } = made(1);
    const [underWay, , waits] = [1, 2, 3].map(() => pool.run(kex(), job('stranger')));
    let settled = 0;
    for (const { result } of [underWay!, waits!]) result.finally(() => settled++).catch(() => undefined);
    waits!.cancel();
    waits!.cancel();
    underWay!.cancel();
    const [thread] = threads.started;
    const first = thread!.posted.shift()!;
    const result = compute<'key-exchange'>(first.work as ReturnType<typeof kex>);
    thread!.say({ id: first.id, result });
    expect(result.sharedSecret.every((octet) => octet === 0)).toBe(true);
    thread!.work();
    expect(thread!.posted).toEqual([]);
    await new Promise(setImmediate);
    expect(settled).toBe(0);
    expect(pool.load()).toMatchObject({ cancelled: 1, done: 1, underWay: 0 });
  });

  test('refusal under pressure: it is told where it begins and where it ends, and who is refused hears it', async () => {
    const marks: boolean[] = [];
    const { threads, pool } = made(1, { onPressure: (high) => marks.push(high) });
    const refused: string[] = [];
    const results = Array.from({ length: 300 }, (_, n) =>
      pool.run(kex(), job('stranger')).result.catch((error: { code: string }) => void refused.push(`${n} ${error.code}`)),
    );
    expect(marks).toEqual([true]);
    expect(pool.load()).toMatchObject({ refused: 300 - 256 - 2, waiting: { stranger: 256 } });
    for (let n = 0; n < 258; n++) threads.started[0]!.work();
    await Promise.all(results);
    expect(marks).toEqual([true, false]);
    expect(refused).toHaveLength(42);
    expect(refused.at(-1)).toBe('299 OVERLOADED');
  });

  test('a worker that crashes: its work is answered by an error, the rest goes on in another one', async () => {
    const crashes: string[] = [];
    const { threads, pool } = made(1, { onCrash: ({ code, message }) => crashes.push(`${code} ${message}`) });
    const results = [1, 2, 3].map(() =>
      pool.run(kex(), job('trusted')).result.then(
        () => 'done',
        ({ code }: { code: string }) => code,
      ),
    );
    threads.started[0]!.crash();
    expect(threads.started).toHaveLength(2);
    threads.started[1]!.work();
    expect(await Promise.all(results)).toEqual(['WORKER_CRASHED', 'WORKER_CRASHED', 'done']);
    expect(crashes).toEqual(['WORKER_CRASHED a worker ended while it computed: out of memory']);
    expect(pool.load()).toMatchObject({ workers: 1, crashes: 1 });
  });

  test('one that only crashes is given up; without any, all is computed here', async () => {
    const { threads, pool } = made(1);
    for (let n = 0; n < 5; n++) threads.started.at(-1)!.crash();
    expect(threads.started).toHaveLength(5);
    expect(pool.load()).toMatchObject({ workers: 0, crashes: 5 });
    expect((await pool.run(kex(), job('stranger')).result).sharedSecret).toHaveLength(32);
    await expect(pool.run(kex(new Uint8Array(32)), job('stranger')).result).rejects.toBeInstanceOf(PeerViolation);
  });

  test('close ends the threads; what waits is forgotten, and a late answer is none', async () => {
    const { threads, pool } = made(2);
    for (let n = 0; n < 6; n++) void pool.run(kex(), job('stranger'));
    const [thread] = threads.started;
    await pool.close();
    expect(threads.started.map(({ ended }) => ended)).toEqual([true, true]);
    thread!.work();
    thread!.crash();
    expect(pool.load()).toMatchObject({ done: 0, crashes: 0, waiting: { stranger: 0 } });
  });
});

describe('real threads', () => {
  const MODULE = new URL('../../../dist/host/engine/workers/worker.js', import.meta.url);
  const scheme = (name: string) => schemeByName(name)!;
  const trusted = { rank: 'trusted', refusable: false } as const;
  let pool: WorkerPool | undefined;
  afterEach(() => pool?.close());

  test('compute key exchanges, sign with keys that are lent to them, judge signatures, and tell errors as they are', async () => {
    pool = new WorkerPool({ threads: systemThreads, workers: 1, module: MODULE });
    for (const id of [31, 19, 35]) {
      const offer = keyExchange(id)!.offer();
      const { publicValue, sharedSecret } = await pool.run<'key-exchange'>(
        { kind: 'key-exchange', method: id, peerPublic: offer.publicValue, seed: undefined },
        trusted,
      ).result;
      expect(offer.finish(publicValue)).toEqual(sharedSecret);
    }
    const { privateKey, publicKey } = generateKeyPairSync('ed25519') as { privateKey: KeyObject; publicKey: KeyObject };
    const octets = new Uint8Array(200).fill(3);
    const data = await pool.run<'sign'>({ kind: 'sign', key: privateKey, scheme: scheme('ed25519'), octets }, trusted).result;
    const judge = (signed: Uint8Array) =>
      pool!.run<'verify'>({ kind: 'verify', method: 14, data: signed, publicKey, octets }, trusted).result;
    expect(await judge(data)).toMatchObject({ ok: true, scheme: 'ed25519' });
    expect(await judge(data.with(-1, data.at(-1)! ^ 1))).toMatchObject({ ok: false });
    const zero = pool.run<'key-exchange'>(
      { kind: 'key-exchange', method: 31, peerPublic: new Uint8Array(32), seed: undefined },
      trusted,
    ).result;
    await expect(zero).rejects.toMatchObject({ name: 'PeerViolation', code: 'INVALID_PUBLIC_VALUE', section: 'RFC 8031 §3.2' });
    await expect(
      pool.run<'sign'>({ kind: 'sign', key: privateKey, scheme: scheme('rsa-pss-sha256'), octets }, trusted).result,
    ).rejects.toMatchObject({
      code: 'SIGNATURE_SCHEME',
    });
    expect(pool.load()).toMatchObject({ workers: 1, underWay: 0, crashes: 0 });
  });

  test('a module that is not there is a worker that only crashes, and nothing is lost by it', async () => {
    let gaveUp: () => void;
    const given = new Promise<void>((resolve) => (gaveUp = resolve));
    pool = new WorkerPool({
      threads: systemThreads,
      workers: 1,
      module: new URL('./no-such-worker.js', MODULE),
      onCrash: ({ message }) => message.includes('not started again') && gaveUp(),
    });
    await given;
    const peerPublic = keyExchange(31)!.offer().publicValue;
    const { sharedSecret } = await pool.run<'key-exchange'>({ kind: 'key-exchange', method: 31, peerPublic, seed: undefined }, trusted)
      .result;
    expect(sharedSecret).toHaveLength(32);
  });
});
