import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { PATIENCE, Scene } from './scene.ts';
import { base64, tus } from './tus.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

const OCTETS = { 'Content-Type': 'application/offset+octet-stream' };
const named = (name: string) => ({ 'Upload-Metadata': `filename ${base64(name)}` });
const checksum = (algorithm: string, text: string) => ({
  'Upload-Checksum': `${algorithm} ${createHash(algorithm).update(text).digest('base64')}`,
});
const left = (scene: Scene): string[] => readdirSync(join(scene.inbox, '.tunnelwright-partial')).filter((name) => name.endsWith('.part'));
const text = (scene: Scene, name: string): string => Buffer.from(scene.stored(name)).toString();

test('HEAD tells the metadata as the client has written it', async () => {
  const { ask, create } = tus(await Scene.open());
  const location = await create('a', 5, ',colour cmVk');
  expect((await ask('HEAD', location)).headers['upload-metadata']).toBe(`filename ${base64('a')},colour cmVk`);
});

describe('creation with upload', () => {
  test('takes what the request brings, all of it or some', async () => {
    const scene = await Scene.open();
    const { ask, patch } = tus(scene);
    const post = (name: string, body: string) =>
      ask('POST', '/inbox/', { ...named(name), ...OCTETS, 'Upload-Length': '5' }, Buffer.from(body));
    expect(await post('whole', 'hello')).toMatchObject({ status: 201, headers: { 'upload-offset': '5', 'upload-state': 'stored' } });
    expect(text(scene, 'whole')).toBe('hello');
    const some = await post('some', 'he');
    expect(some).toMatchObject({ status: 201, headers: { 'upload-offset': '2' } });
    expect((await patch(some.headers.location!, 2, Buffer.from('llo'))).status).toBe(204);
    expect(text(scene, 'some')).toBe('hello');
    expect((await post('too much', 'hello!')).status).toBe(400);
  });

  test('of what was begun before it says how much is there', async () => {
    const { ask, create, patch } = tus(await Scene.open());
    const digest = createHash('sha256').update('hello').digest('hex');
    const metadata = { 'Upload-Metadata': `filename ${base64('a')},sha256 ${base64(digest)}` };
    await patch(await create('a', 5, `,sha256 ${base64(digest)}`), 0, Buffer.from('hel'));
    const again = await ask('POST', '/inbox/', { ...metadata, ...OCTETS, 'Upload-Length': '5' }, Buffer.from('hello'));
    expect(again).toMatchObject({ status: 201, headers: { 'upload-offset': '3', connection: 'close' } });
  });
});

describe('checksum', () => {
  test('octets that do not have it leave nothing; those that have it go on', async () => {
    const scene = await Scene.open();
    const { ask, create, patch } = tus(scene);
    expect((await ask('OPTIONS', '/inbox/')).headers['tus-checksum-algorithm']).toBe('sha1,sha256');
    const location = await create('a', 11);
    expect((await patch(location, 0, Buffer.from('hello '), checksum('sha1', 'hello '))).status).toBe(204);
    expect((await patch(location, 6, Buffer.from('wOrld'), checksum('sha256', 'world'))).status).toBe(460);
    expect((await ask('HEAD', location)).headers['upload-offset']).toBe('6');
    expect((await patch(location, 6, Buffer.from('world'), checksum('sha256', 'world'))).status).toBe(204);
    expect(text(scene, 'a')).toBe('hello world');
  });

  test('octets of which the end never came leave nothing, either', async () => {
    const scene = await Scene.open();
    const { ask, create } = tus(scene);
    const location = await create('a', 100_000);
    const body = Buffer.alloc(100_000);
    const cut = tus(scene, 'alice', { cutAfter: () => 70_000 });
    await cut.patch(location, 0, body, checksum('sha1', body.toString())).catch(() => undefined);
    await vi.waitFor(async () => expect((await ask('HEAD', location)).headers['upload-offset']).toBe('0'), PATIENCE);
  });

  test.each([
    ['of an unknown kind', 'md4 aaaa'],
    ['that is no base64', 'sha1 §'],
    ['with more behind it', 'sha1 aaaa aaaa'],
    ['that is empty', ''],
  ])('one %s is refused', async (_what, field) => {
    const { ask, create, patch } = tus(await Scene.open());
    const location = await create('a', 5);
    const answer = await patch(location, 0, Buffer.from('hello'), { 'Upload-Checksum': field }).catch(() => ({ status: 400 }));
    expect(answer.status).toBe(400);
    expect((await ask('HEAD', location)).headers['upload-offset']).toBe('0');
  });
});

test('expiration: the time is told, and afterwards nothing is left', async () => {
  let ahead = 0;
  const scene = await Scene.open({ uploadLife: 3600_000, wallClock: () => Date.now() + ahead });
  const { ask, create, patch } = tus(scene);
  const location = await create('a', 5);
  const told = [await ask('HEAD', location), await patch(location, 0, Buffer.from('he'))].map(({ headers }) =>
    Date.parse(String(headers['upload-expires'])),
  );
  for (const time of told) expect(Math.abs(time - Date.now() - 3600_000)).toBeLessThan(60_000);
  ahead = 3700_000;
  expect((await ask('HEAD', location)).status).toBe(404);
  expect(left(scene)).toEqual([]);
  const whole = await create('b', 2);
  const stored = await patch(whole, 0, Buffer.from('ok'));
  expect(stored.headers['upload-expires']).toBeUndefined();
});

describe('concatenation', () => {
  async function partials(scene: Scene, ...texts: string[]) {
    const client = tus(scene);
    const locations: string[] = [];
    for (const one of texts) {
      const made = await client.ask('POST', '/inbox/', { 'Upload-Length': String(one.length), 'Upload-Concat': 'partial' });
      expect(made.status).toBe(201);
      locations.push(made.headers.location!);
      expect((await client.patch(made.headers.location!, 0, Buffer.from(one))).status).toBe(204);
    }
    const join = (urls: readonly string[], headers: Record<string, string> = named('whole')) =>
      client.ask('POST', '/inbox/', { ...headers, 'Upload-Concat': `final;${urls.join(' ')}` });
    return { ...client, locations, join };
  }

  test('puts partial uploads together, in the order of the final one', async () => {
    const scene = await Scene.open();
    const { ask, patch, join, locations } = await partials(scene, 'world', 'hello ');
    const [world, hello] = locations as [string, string];
    expect((await ask('HEAD', world)).headers).toMatchObject({ 'upload-concat': 'partial', 'upload-offset': '5', 'upload-length': '5' });
    const made = await join([hello, `http://gw${world}`]);
    expect(made.status).toBe(201);
    const location = made.headers.location!;
    expect((await ask('HEAD', location)).headers).toMatchObject({
      'upload-concat': `final;${hello} ${world}`,
      'upload-length': '11',
      'upload-offset': '11',
      'upload-metadata': `filename ${base64('whole')}`,
    });
    expect(text(scene, 'whole')).toBe('hello world');
    expect((await patch(location, 11, Buffer.from('!'))).status).toBe(403);
    expect((await ask('HEAD', hello)).status).toBe(404);
    expect(left(scene)).toEqual([]);
  });

  test('what is no partial upload of this peer that is whole is refused', async () => {
    const scene = await Scene.open();
    const { ask, create, join, locations } = await partials(scene, 'one');
    const [one] = locations as [string];
    const unfinished = await ask('POST', '/inbox/', { 'Upload-Length': '5', 'Upload-Concat': 'partial' });
    const plain = await create('plain', 5);
    const refused = [[`${one}0`], [one, one], ['http://elsewhere/files/1'], [unfinished.headers.location!], [plain], ['']];
    for (const urls of refused) expect((await join(urls)).status, urls.join(' ')).toBe(400);
    expect((await join([one], { ...named('x'), 'Upload-Length': '3' })).status).toBe(400);
    expect((await join([one], {})).status).toBe(400);
    const bob = await tus(scene, 'bob').ask('POST', '/inbox/', { ...named('x'), 'Upload-Concat': `final;${one}` });
    expect(bob.status).toBe(400);
    expect((await ask('POST', '/inbox/', { ...named('x'), 'Upload-Length': '3', 'Upload-Concat': 'whole' })).status).toBe(400);
    expect((await join([one])).status).toBe(201);
    expect(text(scene, 'whole')).toBe('one');
  });

  test('that broke off in the middle goes on in the next life', async () => {
    const scene = await Scene.open();
    const { join, locations } = await partials(scene, 'one ', 'two ', 'three');
    const handle = await open('/dev/null');
    await handle.close();
    const handles = Object.getPrototypeOf(handle) as FileHandle;
    const write = handles.write as (...args: unknown[]) => Promise<unknown>;
    vi.spyOn(handles, 'write').mockImplementation(function (this: FileHandle, ...args: unknown[]) {
      const isSecond = args[3] === 'one '.length;
      return isSecond ? Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' })) : write.apply(this, args);
    } as never);
    const made = await join(locations);
    expect(made.headers['upload-state']).toMatch(/^failed/);
    vi.restoreAllMocks();
    await scene.server.close(0);
    await scene.restart();
    const { ask } = tus(scene);
    await vi.waitFor(async () => expect((await ask('HEAD', made.headers.location!)).headers['upload-state']).toBe('stored'), PATIENCE);
    expect(text(scene, 'whole')).toBe('one two three');
    expect(left(scene)).toEqual([]);
  });
});
