import { once } from 'node:events';
import { Duplex, PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { HeldStream } from '../../../src/cli/demo/held-stream.ts';

/** The far end of a stream: what was written is read from `sent`, what is written to `answers` comes back. */
function far() {
  const [sent, answers] = [new PassThrough(), new PassThrough()];
  return { sent, answers, inner: Duplex.from({ writable: sent, readable: answers }) };
}

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

test('what lies before the point passes at once, the rest when it is let go, every octet in order', async () => {
  const { sent, inner } = far();
  let asked = 0;
  let letGo: () => void = () => undefined;
  const until = () => {
    asked++;
    return new Promise<void>((resolve) => {
      letGo = resolve;
    });
  };
  const held = new HeldStream(inner, 7, until);
  const seen: Buffer[] = [];
  sent.on('data', (chunk: Buffer) => seen.push(chunk));
  held.write('12345');
  await settled();
  expect(asked).toBe(0);
  held.write('67890');
  held.end('abc');
  await settled();
  expect(Buffer.concat(seen).toString()).toBe('1234567');
  expect(asked).toBe(1);
  letGo();
  await once(sent, 'end');
  expect(Buffer.concat(seen).toString()).toBe('1234567890abc');
  expect(asked).toBe(1);
});

test('a point at the very end holds nobody', async () => {
  const { sent, inner } = far();
  const held = new HeldStream(inner, 5, () => Promise.reject(new Error('was asked')));
  held.end('12345');
  expect(String((await once(sent.setEncoding('utf8'), 'data'))[0])).toBe('12345');
});

test('answers come through while the writer waits', async () => {
  const { answers, inner } = far();
  const held = new HeldStream(inner, 0, () => new Promise(() => undefined));
  held.write('x');
  answers.write('go on');
  expect(String((await once(held, 'data'))[0])).toBe('go on');
  held.destroy();
});

test('what was waited for failed: the stream breaks with that', async () => {
  const { inner } = far();
  const held = new HeldStream(inner, 0, () => Promise.reject(new Error('no new keys')));
  held.write('x');
  expect(await once(held, 'error')).toEqual([new Error('no new keys')]);
  expect(inner.destroyed).toBe(true);
});

test('the inner stream breaks: so does this one', async () => {
  const { inner } = far();
  const held = new HeldStream(inner, 0, async () => undefined);
  inner.destroy(new Error('reset'));
  expect(await once(held, 'error')).toEqual([new Error('reset')]);
});
