import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { UdpCapture } from '../../../src/product/explain/udp-capture.ts';
import { writeWiresharkProfile } from '../../../src/product/explain/wireshark-profile.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tunnelwright-profile-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const text = (...names: string[]): string => readFileSync(join(folder, ...names), 'utf8');

describe('the folder that Wireshark starts with', () => {
  test('is made, and says which ports are IKE and ESP and that ESP is to be opened', async () => {
    await writeWiresharkProfile(join(folder, 'new', 'one'), { ike: 40500, nat: 44500 });
    expect(text('new', 'one', 'decode_as_entries')).toBe(
      'decode_as_entry: udp.port,40500,(none),ISAKMP\ndecode_as_entry: udp.port,44500,(none),UDPENCAP\n',
    );
    expect(text('new', 'one', 'preferences')).toBe('esp.enable_encryption_decode: TRUE\n');
  });

  test('keeps what was there: ports of an earlier run, preferences of the user', async () => {
    writeFileSync(join(folder, 'preferences'), 'gui.ask_unsaved: FALSE\n');
    await writeWiresharkProfile(folder, { ike: 1, nat: 2 });
    await writeWiresharkProfile(folder, { ike: 3, nat: 4 });
    expect(text('decode_as_entries').match(/udp\.port,\d/g)).toEqual(['udp.port,1', 'udp.port,2', 'udp.port,3', 'udp.port,4']);
    expect(text('preferences')).toBe('gui.ask_unsaved: FALSE\n');
  });

  test('knows each port once, however often and for however many ends it is written; what others wrote stays before it', async () => {
    writeFileSync(join(folder, 'decode_as_entries'), '# mine\ndecode_as_entry: tcp.port,81,(none),HTTP');
    for (let run = 0; run < 2; run++)
      await writeWiresharkProfile(folder, { ike: 40500, nat: 44500 }, { ike: undefined, nat: 15000 }, { ike: 4501, nat: 4501 });
    expect(text('decode_as_entries').split('\n')).toEqual([
      '# mine',
      'decode_as_entry: tcp.port,81,(none),HTTP',
      'decode_as_entry: udp.port,40500,(none),ISAKMP',
      'decode_as_entry: udp.port,44500,(none),UDPENCAP',
      'decode_as_entry: udp.port,15000,(none),UDPENCAP',
      'decode_as_entry: udp.port,4501,(none),UDPENCAP',
      '',
    ]);
  });

  test('cannot be made: the path and the way out', async () => {
    writeFileSync(join(folder, 'file'), '');
    await expect(writeWiresharkProfile(join(folder, 'file'), { ike: 1, nat: 2 })).rejects.toMatchObject({
      code: 'FILE_UNWRITABLE',
      message: expect.stringContaining(join(folder, 'file')),
      hint: 'Name a folder that you may write to.',
    });
  });
});

test('a capture that cannot be written says so when it is closed, however much was recorded', async () => {
  const capture = new UdpCapture(join(folder, 'nowhere', 'x.pcapng'));
  const end = { ip: '127.0.0.1', port: 4500 };
  for (let i = 0; i < 10; i++) {
    capture.record(i, end, end, Uint8Array.of(i));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await expect(capture.close()).rejects.toMatchObject({ code: 'FILE_UNWRITABLE', errno: 'ENOENT' });
  await expect(capture.close()).rejects.toMatchObject({ code: 'FILE_UNWRITABLE' });
});
