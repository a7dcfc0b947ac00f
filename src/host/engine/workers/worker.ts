import { parentPort } from 'node:worker_threads';
import { warmUpMlKem, zeroise } from '../../../core/crypto/index.ts';
import type { FromWorker, ToWorker } from './pool.ts';
import { compute, plainError, type Work, type WorkOf } from './work.ts';

/** What runs in each thread of the pool: one work after the other, in the order in which they come. */
parentPort?.on('message', ({ id, work }: ToWorker) => {
  parentPort?.postMessage(answerOf(id, work));
});
warmUpMlKem();

function answerOf(id: number, work: Work): FromWorker {
  try {
    const result = compute(work as WorkOf<Work['kind']>);
    if ('sharedSecret' in result) wipeSoon(result.sharedSecret);
    return { id, result };
  } catch (error) {
    return { id, error: plainError(error) };
  }
}

/** `postMessage` has copied it when it returns. */
const wipeSoon = (secret: Uint8Array): void => queueMicrotask(() => zeroise(secret));
