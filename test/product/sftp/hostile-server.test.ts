import { type Duplex, duplexPair } from 'node:stream';
import { expect, test } from 'vitest';
import { utf8 } from '../../../src/core/bytes/index.ts';
import { PacketBuilder } from '../../../src/product/sftp/packets.ts';
import { PacketType, StatusCode } from '../../../src/product/sftp/protocol.ts';
import { SftpSession } from '../../../src/product/sftp/session.ts';

const VERSION_3 = Uint8Array.of(0, 0, 0, 5, PacketType.VERSION, 0, 0, 0, 3);

/** A session with a server that says, to each request, what the test wants; ids count from 1. */
async function against(answer: (id: number) => Uint8Array, version: Uint8Array = VERSION_3): Promise<SftpSession> {
  const [near, far] = duplexPair();
  let id = 0;
  far.on('data', () => {
    far.write(id === 0 ? version : answer(id));
    id++;
  });
  near.on('error', () => {});
  return SftpSession.open(near as Duplex);
}

const status = (id: number, code: number, text = ''): Uint8Array =>
  new PacketBuilder(PacketType.STATUS, id).u32(code).string(text).string('').finish();

test.each([
  ['another version', Uint8Array.of(0, 0, 0, 5, PacketType.VERSION, 0, 0, 0, 6), /speaks version 6/],
  ['something else', utf8('SSH-2.0-x\r\n'), /packet of 1397966893 octets/],
  ['a length of nothing', Uint8Array.of(0, 0, 0, 0), /packet of 0 octets/],
  ['half an extension', Uint8Array.of(0, 0, 0, 9, PacketType.VERSION, 0, 0, 0, 3, 0, 0, 1, 0), /extension needs 256 octets/],
  ['a STATUS', status(0, 0), /did not begin with its version/],
])('a server that begins with %s is told from SFTP', async (_what, version, why) => {
  await expect(against(() => VERSION_3, version)).rejects.toThrow(why);
});

test.each([
  ['what nobody asked', (id: number) => status(id + 7, StatusCode.OK), /answered what nobody asked/],
  ['another kind of answer', (id: number) => new PacketBuilder(PacketType.DATA, id).string('x').finish(), /answers nothing that was asked/],
  ['that all is well, and nothing more', (id: number) => status(id, StatusCode.OK), /said only that all is well/],
  ['attributes that end early', (id: number) => new PacketBuilder(PacketType.ATTRS, id).u32(1).u32(0).finish(), /size needs/],
  [
    'a size beyond any file',
    (id: number) => new PacketBuilder(PacketType.ATTRS, id).u32(1).u32(0x7fff_ffff).u32(0).finish(),
    /beyond any file/,
  ],
  [
    'extended attributes without end',
    (id: number) => new PacketBuilder(PacketType.ATTRS, id).u32(0x8000_0000).u32(0xffff_ffff).finish(),
    /extended type needs/,
  ],
])('a server that answers %s is not asked again', async (_what, answer, why) => {
  const session = await against(answer);
  await expect(session.stat('/x')).rejects.toThrow(why);
  expect(session.ended).toBe(true);
  await expect(session.stat('/x')).rejects.toThrow();
});

test('a server that sends more than was asked for is stopped', async () => {
  const session = await against((id) => new PacketBuilder(PacketType.DATA, id).string('too much').finish());
  await expect(session.read('/x', Uint8Array.of(1), 0, 4)).rejects.toThrow(/more than was asked for/);
});

test('a folder that is listed without end, and a name that is none', async () => {
  const handle = (id: number): Uint8Array => new PacketBuilder(PacketType.HANDLE, id).string('h').finish();
  const endless = await against((id) => (id === 1 ? handle(id) : new PacketBuilder(PacketType.NAME, id).u32(0).finish()));
  await expect(endless.list('/')).rejects.toThrow(/without end/);
  const odd = await against((id) => {
    if (id === 1) return handle(id);
    if (id > 2) return status(id, StatusCode.EOF);
    return new PacketBuilder(PacketType.NAME, id).u32(1).string(Uint8Array.of(0x61, 0xff)).string('').attributes({}).finish();
  });
  expect(await odd.list('/')).toEqual([{ name: undefined, shown: 'a\ufffd', attributes: {} }]);
});

test('what a server says of a failure is shown, without its control characters', async () => {
  const session = await against((id) => status(id, StatusCode.FAILURE, 'quota\u001b[2J exceeded'));
  await expect(session.mkdir('/x')).rejects.toThrow('/x: quota\\x1b[2J exceeded');
});
