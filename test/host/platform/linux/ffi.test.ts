import { expect, test } from 'vitest';
import { DataPlaneError, InternalError } from '../../../../src/core/bytes/index.ts';
import {
  addressOf,
  ERRNO,
  errnoName,
  type Koffi,
  loadNative,
  nativeLack,
  openNative,
  systemError,
} from '../../../../src/host/platform/linux/ffi.ts';
import { describeWithNative } from '../../../support/native.ts';

const absent = (): Promise<Koffi> => Promise.reject(new Error("Cannot find package 'koffi'\nRequire stack: …"));

test.each([
  ['darwin', 'arm64', /for Linux; this is darwin/],
  ['linux', 'ia32', /x64, arm64.*this processor is ia32/],
  ['linux', 'x64', /koffi cannot be loaded \(Cannot find package 'koffi'\)\. Install/],
])('where there are no native calls (%s, %s), a sentence says why', async (platform, arch, why) => {
  expect(await openNative(absent, platform, arch)).toMatch(why);
});

test('either there are native calls, or it is said why there are none', async () => {
  expect((await loadNative()) === undefined).toBe((await nativeLack()) !== undefined);
  expect(await loadNative()).toBe(await loadNative());
});

test('what the system refused names call, error and the next action', () => {
  const error = systemError('opening /dev/net/tun by open', ERRNO.EPERM);
  expect(error).toBeInstanceOf(DataPlaneError);
  expect(error).toMatchObject({ code: 'NOT_PERMITTED', errno: 'EPERM', privilege: 'CAP_NET_ADMIN', hint: expect.stringContaining('root') });
  expect(error.message).toBe('opening /dev/net/tun by open: this process lacks a privilege (CAP_NET_ADMIN) (EPERM)');
  const known = { EPERM: { code: 'OTHER', why: 'it is raining', hint: 'Wait.' } };
  expect(systemError('x', ERRNO.EPERM, known)).toMatchObject({ code: 'OTHER', hint: 'Wait.', message: 'x: it is raining (EPERM)' });
  expect(systemError('x', ERRNO.EPIPE)).toMatchObject({ code: 'SYSTEM_CALL_FAILED', message: 'x: broken pipe (EPIPE)' });
  expect(systemError('x', 4711).message).toBe('x: the system refused (errno 4711)');
  expect(errnoName(ERRNO.EAGAIN)).toBe('EAGAIN');
});

describeWithNative('native calls', (native) => {
  const { memmove } = native.functions<{ memmove(to: number, from: number, length: number): number }>({
    memmove: 'uintptr_t memmove(uintptr_t to, uintptr_t from, size_t length)',
  });

  test('a view is at the address of its buffer and its offset', () => {
    const buffer = native.allocate(101);
    expect(buffer.octets).toHaveLength(101);
    expect(addressOf(buffer.octets)).toBe(buffer.address);
    expect(addressOf(buffer.octets.subarray(33, 40))).toBe(buffer.address + 33);
    buffer.octets.set([1, 2, 3], 10);
    memmove(buffer.address + 50, addressOf(buffer.octets.subarray(10)), 3);
    expect([...buffer.octets.subarray(49, 54)]).toEqual([0, 1, 2, 3, 0]);
  });

  test.each([1, 8, 64, 65, 4096, 1 << 20])('any buffer of %i octets has an address, and keeps it when garbage is collected', (length) => {
    const view = new Uint8Array(length);
    const before = addressOf(view);
    for (let i = 0; i < 50; i++) new Uint8Array(1 << 18).fill(i);
    const here = native.allocate(length);
    view[length - 1] = 77;
    memmove(here.address, addressOf(view), length);
    expect(addressOf(view)).toBe(before);
    expect(here.octets[length - 1]).toBe(77);
  });

  test('buffers can be parts of one memory', () => {
    const whole = native.allocate(64);
    const part = whole.part(16, 20);
    expect([part.address, part.offset, part.octets.length, part.memory]).toEqual([whole.address + 16, 16, 20, whole.memory]);
    part.part(8, 4).octets.fill(7);
    part.writeWord(0, 0x0102_0304_0506);
    expect([...whole.octets.subarray(14, 30)]).toEqual([0, 0, 6, 5, 4, 3, 2, 1, 0, 0, 7, 7, 7, 7, 0, 0]);
    expect([part.view.getUint8(0), part.u16[4], part.whole[16]]).toEqual([6, 0x0707, 6]);
  });

  test('words, sizes and texts are written as this machine reads them', () => {
    const buffer = native.allocate(64);
    buffer.writeWord(8, 0x7fff_1234_5678);
    expect(new DataView(buffer.octets.buffer).getBigUint64(8, true)).toBe(0x7fff_1234_5678n);
    expect(buffer.writeText(20, 'tun0')).toBe(buffer.address + 20);
    expect([...buffer.octets.subarray(19, 26)]).toEqual([0, 0x74, 0x75, 0x6e, 0x30, 0, 0]);
  });

  test('a call that fails returns -1 and leaves its error', () => {
    expect(native.libc.close(-1)).toBe(-1);
    expect(errnoName(native.errno())).toBe('EBADF');
    expect(native.libc.open('/nonexistent/file', 0, 0)).toBe(-1);
    expect(errnoName(native.errno())).toBe('ENOENT');
  });

  test('a function that this process has not is a mistake of ours', () => {
    expect(() => native.functions({ nothing: 'int tunnelwright_has_no_such_function()' })).toThrow(InternalError);
  });

  test('a call may block outside of this thread', async () => {
    const { usleep } = native.functions<{ usleep(microseconds: number): number }>({ usleep: 'int usleep(uint32_t microseconds)' });
    let turns = 0;
    const ticking = setInterval(() => turns++, 1);
    expect(await native.callAside(usleep, 30_000)).toBe(0);
    clearInterval(ticking);
    expect(turns).toBeGreaterThan(0);
  });
});
