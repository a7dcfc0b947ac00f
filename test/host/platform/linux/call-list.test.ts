import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { InternalError } from '../../../../src/core/bytes/index.ts';
import { CallList, CallRunner, LISTING } from '../../../../src/host/platform/linux/call-list.ts';
import type { Native } from '../../../../src/host/platform/linux/ffi.ts';
import { describeWithNative } from '../../../support/native.ts';

const ALL = 0xffffffff;
const lacksDisassembler = spawnSync('objdump', ['--version']).status !== 0;
const reason = lacksDisassembler ? ' (needs objdump)' : '';

describe('the listing', () => {
  test.skipIf(lacksDisassembler)(`says what a disassembler reads${reason}`, () => {
    const folder = mkdtempSync(join(tmpdir(), 'tunnelwright-listing-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, 'code');
    writeFileSync(file, Uint8Array.from(LISTING.flatMap(({ octets }) => octets)));
    const words = ['-D', '-b', 'binary', '-m', 'i386:x86-64', '-M', 'intel', '--no-show-raw-insn', file];
    const { stdout } = spawnSync('objdump', words, { encoding: 'utf8' });
    const read = [...stdout.matchAll(/^\s*([0-9a-f]+):\s+(.*?)\s*$/gm)].map(([, at, text]) => [at, text!.replace(/\s+/g, ' ')]);
    let at = 0;
    const said = LISTING.map(({ text, octets }) => {
      const line = [at.toString(16), text];
      at += octets.length;
      return line;
    });
    expect(read).toEqual(said);
  });
});

describeWithNative('native calls that are made from a list', (native) => {
  const runner = CallRunner.find(native);
  const { dlsym } = native.functions<{ dlsym(everywhere: 0, name: string): number }>({
    dlsym: 'uintptr_t dlsym(uintptr_t everywhere, const char *name)',
  });

  test('are there for x64, and for no other processor', () => {
    expect(runner !== undefined).toBe(process.arch === 'x64');
    expect(CallRunner.find(native, 'arm64')).toBeUndefined();
  });

  test('are not asked for where memory may not be made to run, or a function is missing', () => {
    const unmapped: number[] = [];
    const refusing = (how: Record<string, unknown>): Native => ({
      ...native,
      functions: <T extends object>(prototypes: { readonly [Name in keyof T]: string }): T => ({
        ...native.functions<T>(prototypes),
        munmap: (at: number) => unmapped.push(at),
        ...how,
      }),
    });
    // SELinux without execmem
    expect(CallRunner.find(refusing({ mprotect: () => -1 }), 'x64')).toBeUndefined();
    expect(unmapped).toHaveLength(1);
    // MAP_FAILED, as an address
    expect(CallRunner.find(refusing({ mmap: () => 2 ** 64 - 1 }), 'x64')).toBeUndefined();
    const without: Native = {
      ...native,
      functions: () => {
        throw new InternalError('none', { code: 'NO_NATIVE_FUNCTION' });
      },
    };
    expect(CallRunner.find(without, 'x64')).toBeUndefined();
  });

  describe.runIf(runner !== undefined)('as found here', () => {
    const list = new CallList(native, runner!, 4);

    test('each gets its arguments, those on the stack too, and they are made in order', () => {
      const place = native.allocate(96);
      const format = place.writeText(0, '%d %d %d %d %d;');
      const said = '33 44 55 66 4294967';
      for (const [call, at] of [
        [0, 32],
        [1, 52],
      ] as const) {
        list.prepare(call, dlsym(0, 'snprintf'), ALL, said.length + 1);
        [place.address + at, 40, format, 33, 44, 55, 66, 4294967].forEach((argument, i) => void list.argue(call, i, argument));
      }
      // over the beginning of what the second one wrote
      list.prepare(2, dlsym(0, 'memcpy'), 0, 0);
      [place.address + 52, place.address + 32, 2].forEach((argument, i) => void list.argue(2, i, argument));
      place.octets.fill(0x2d, 32);
      expect(list.run(0, 2)).toBe(2);
      expect(Buffer.from(place.octets.subarray(32, 73)).toString('latin1')).toBe(`${said};${said};\0`);
      place.octets[32] = 0x39;
      expect(list.run(2, 3)).toBe(3);
      expect(Buffer.from(place.octets.subarray(52, 73)).toString('latin1')).toBe(`93 ${said.slice(3)};\0`);
    });

    test('a call that returns something else than it should is the last, and its number is told', () => {
      const place = native.allocate(16);
      place.octets.set([1, 2, 3, 9], 0);
      for (let call = 0; call < 4; call++) {
        // 0 where both octets are alike
        list.prepare(call, dlsym(0, 'memcmp'), ALL, 0);
        [place.address + call, place.address + 8 + call, 1].forEach((argument, i) => void list.argue(call, i, argument));
      }
      place.octets.set([1, 2, 3, 9], 8);
      expect(list.run(0, 4)).toBe(4);
      place.octets[10] = 7;
      expect([list.run(0, 4), list.run(0, 2), list.run(3, 4), list.run(2, 2)]).toEqual([2, 2, 4, 2]);
      // of no bit is it asked whether it is right
      list.prepare(2, dlsym(0, 'memcmp'), 0, 0);
      [place.address + 2, place.address + 10, 1].forEach((argument, i) => void list.argue(2, i, argument));
      expect(list.run(0, 4)).toBe(4);
    });

    test('calls that are not on the list are not made', () => {
      for (const [from, behind] of [
        [-1, 0],
        [0, 5],
        [3, 2],
        [Number.NaN, 4],
      ] as const)
        expect(() => list.run(from, behind)).toThrow(expect.objectContaining({ code: 'CALLS_BEYOND' }));
    });
  });
});
