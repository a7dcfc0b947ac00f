import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Duplex, duplexPair } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fromUtf8, Reader } from '../../../src/core/bytes/index.ts';
import { Jail } from '../../../src/product/sftp/jail.ts';
import { PacketBuilder, PacketCutter } from '../../../src/product/sftp/packets.ts';
import { Extension, LARGEST_PACKET, OpenFlag, PacketType, StatusCode, VERSION } from '../../../src/product/sftp/protocol.ts';
import { Bounds } from '../../../src/product/sftp/server-bounds.ts';
import { JailedFiles } from '../../../src/product/sftp/server-files.ts';
import { ServerSession, type SftpFileEvent } from '../../../src/product/sftp/server-session.ts';
import { folder } from './scene.ts';

/** Requests octet by octet, as no client of ours would write them. */
let near: Duplex;
let served: string;
let ended: Promise<void>;
let answers: AsyncGenerator<Reader>;
let events: SftpFileEvent[];
let jail: Jail;
let id = 0;

beforeEach(async () => {
  served = join(folder(), 'served');
  mkdirSync(served);
  writeFileSync(join(served, 'file'), 'content');
  let far: Duplex;
  [near, far] = duplexPair();
  events = [];
  jail = await Jail.open(served);
  const files = new JailedFiles(jail, false, new Bounds({ largest: 1e9 }));
  const onFile = (event: SftpFileEvent): void => void events.push(event);
  const options = { files, handles: 4, wallClock: () => 0, onFile, signal: new AbortController().signal };
  ended = new ServerSession(far, options).run();
  answers = packetsOf(near);
});

afterEach(async () => {
  near.resume().end();
  await ended;
  await jail.close();
});

async function* packetsOf(stream: Duplex): AsyncGenerator<Reader> {
  const cutter = new PacketCutter(LARGEST_PACKET);
  for await (const chunk of stream as AsyncIterable<Uint8Array>) for (const packet of cutter.cut(chunk)) yield new Reader(packet);
}

const init = async (): Promise<void> => {
  near.write(new PacketBuilder(PacketType.INIT, VERSION).finish());
  expect((await answers.next()).value.u8('type')).toBe(PacketType.VERSION);
};
const request = (type: number): PacketBuilder => new PacketBuilder(type, ++id);
/** @returns the status, or what came in its place */
const ask = async (packet: PacketBuilder): Promise<string> => {
  near.write(packet.finish());
  const reader: Reader = (await answers.next()).value;
  const type = reader.u8('type');
  expect(reader.u32('id')).toBe(id);
  if (type !== PacketType.STATUS) return `type ${type}`;
  const code = reader.u32('code');
  return `${Object.keys(StatusCode)[code]} ${fromUtf8(reader.bytes(reader.u32('text'), 'text'))}`;
};
const octets = (...each: number[]): Uint8Array => Uint8Array.from(each);

test.each([
  ['a lone continuation', octets(0x61, 0x80)],
  ['a slash, overlong', octets(0x2e, 0x2e, 0xc0, 0xaf, 0x61)],
  ['a surrogate', octets(0xed, 0xa0, 0x80)],
  ['a NUL', octets(0x66, 0x69, 0x6c, 0x65, 0x00)],
  ['an escape sequence', octets(0x1b, 0x5b, 0x32, 0x4a)],
])('a name with %s is no name', async (_what, name) => {
  await init();
  const path = (type: number): PacketBuilder => request(type).string(name);
  expect(
    await ask(
      path(PacketType.OPEN)
        .u32(OpenFlag.WRITE | OpenFlag.CREAT)
        .attributes({}),
    ),
  ).toMatch(/^FAILURE this path is not accepted/);
  expect(await ask(path(PacketType.MKDIR).attributes({}))).toMatch(/^FAILURE this path is not accepted/);
  expect(await ask(path(PacketType.STAT))).toMatch(/^FAILURE this path is not accepted/);
  expect(await ask(request(PacketType.RENAME).string('file').string(name))).toMatch(/^FAILURE this path is not accepted/);
  expect(readdirSync(served)).toEqual(['file']);
});

test.each([
  ['none', octets()],
  ['one that never was', octets(0, 0, 0, 9)],
  ['one of another length', octets(0, 0, 0, 0, 0)],
])('a handle that is %s', async (_what, handle) => {
  await init();
  for (const type of [PacketType.CLOSE, PacketType.FSTAT, PacketType.READDIR])
    expect(await ask(request(type).string(handle))).toBe('FAILURE there is no such handle');
  expect(await ask(request(PacketType.READ).string(handle).u64(0).u32(1))).toBe('FAILURE there is no such handle');
  expect(await ask(request(PacketType.WRITE).string(handle).u64(0).string('x'))).toBe('FAILURE there is no such handle');
});

test('a handle is good for what it was opened for, and once closed for nothing', async () => {
  await init();
  const handle = octets(0, 0, 0, 0);
  expect(await ask(request(PacketType.OPEN).string('file').u32(OpenFlag.READ).attributes({}))).toBe(`type ${PacketType.HANDLE}`);
  expect(await ask(request(PacketType.WRITE).string(handle).u64(0).string('x'))).toMatch(/^PERMISSION_DENIED .*not open for writing/);
  expect(await ask(request(PacketType.FSETSTAT).string(handle).attributes({ size: 0 }))).toMatch(/^PERMISSION_DENIED/);
  expect(await ask(request(PacketType.READDIR).string(handle))).toMatch(/^FAILURE this handle is one of a file/);
  expect(await ask(request(PacketType.READ).string(handle).u64(Number.MAX_SAFE_INTEGER).u32(0xffff_ffff))).toMatch(/^(EOF|FAILURE)/);
  expect(await ask(request(PacketType.CLOSE).string(handle))).toBe('OK ');
  expect(await ask(request(PacketType.CLOSE).string(handle))).toMatch(/no such handle/);
});

test('what nobody knows is not supported, and work without end is not begun', async () => {
  await init();
  expect(await ask(request(99))).toMatch(/^OP_UNSUPPORTED/);
  expect(await ask(request(PacketType.EXTENDED).string('hardlink@openssh.com').string('file').string('other'))).toMatch(/^OP_UNSUPPORTED/);
  expect(
    await ask(
      request(PacketType.OPEN)
        .string('file')
        .u32(OpenFlag.READ | OpenFlag.WRITE)
        .attributes({}),
    ),
  ).toBe(`type ${PacketType.HANDLE}`);
  const handle = octets(0, 0, 0, 0);
  expect(await ask(request(PacketType.FSETSTAT).string(handle).attributes({ size: 1e9 }))).toBe('OK ');
  const digests = (block: number): PacketBuilder =>
    request(PacketType.EXTENDED).string(Extension.CHECK_FILE_HANDLE).string(handle).string('sha256').u64(0).u64(0).u32(block);
  expect(await ask(digests(1))).toMatch(/^FAILURE too many blocks/);
  expect(
    await ask(request(PacketType.EXTENDED).string(Extension.CHECK_FILE_HANDLE).string(handle).string('md5,crc32').u64(0).u64(0).u32(0)),
  ).toMatch(/^FAILURE of digests, sha256/);
});

test.each([
  ['does not begin with INIT', () => request(PacketType.STAT).string('file').finish()],
  ['says it has four gigabytes', () => octets(0xff, 0xff, 0xff, 0xff)],
  ['says it has nothing', () => octets(0, 0, 0, 0)],
  ['ends before its id', () => octets(0, 0, 0, 2, PacketType.INIT, 0)],
])('a packet that %s ends the session', async (_what, packet) => {
  near.write(packet());
  near.resume();
  await ended;
  expect(events).toMatchObject([{ kind: 'refused', what: 'the session' }]);
});

test('a string that reaches beyond its packet ends the session, and closes what is open', async () => {
  await init();
  expect(await ask(request(PacketType.OPEN).string('file').u32(OpenFlag.WRITE).attributes({}))).toBe(`type ${PacketType.HANDLE}`);
  expect(
    await ask(
      request(PacketType.WRITE)
        .string(octets(0, 0, 0, 0))
        .u64(0)
        .string('new'),
    ),
  ).toBe('OK ');
  near.write(request(PacketType.STAT).u32(1000).finish());
  near.resume();
  await ended;
  expect(events.map(({ kind }) => kind)).toEqual(['refused', 'file']);
});
