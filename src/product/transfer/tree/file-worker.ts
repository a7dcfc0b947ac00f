import { parentPort } from 'node:worker_threads';
import { type Asked, buffersOf, FileWork } from './file-work.ts';

/** What runs in the thread of `FileThread`. */
const work = new FileWork();
parentPort?.on('message', (asked: Asked) => {
  const answered = work.answer(asked);
  const result = 'result' in answered ? answered.result : undefined;
  parentPort?.postMessage(answered, typeof result === 'object' && result !== null ? buffersOf(Object.values(result)) : []);
});
