import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { utf8 } from '../../../core/bytes/index.ts';
import { loadNative, type Native, type NativeBuffer } from './ffi.ts';

/**
 * Room for short-lived objects, in MiB. Where hundreds of IKE SAs are made at a time, what is under way outlives each collection of the usual 16 MiB
 * and is copied: with more room there are fewer. V8 heeds these flags when a process starts, and makes no room of that kind later.
 */
export const OBJECT_ROOM: readonly string[] = ['--min-semi-space-size=32', '--max-semi-space-size=32'];

/**
 * Makes this program begin again with that room, as the same process with the same arguments: for a moment when it has nothing open yet. Comes back where
 * it has begun again already, and where it cannot or should not: without native calls; where an operator chose a room; where whoever started it talks to
 * it over a channel, which Node finds only once.
 */
export async function takeObjectRoom(): Promise<void> {
  const { execArgv, env } = process;
  if (OBJECT_ROOM.every((flag) => execArgv.includes(flag))) return leaveThreadsTheirs();
  const chosen = [...execArgv, env.NODE_OPTIONS ?? ''].some((flag) => flag.includes('semi-space-size'));
  if (chosen || process.channel !== undefined) return;
  const native = await loadNative();
  if (native === undefined) return;
  const program = native.functions<ProgramFunctions>(PROTOTYPES);
  // a terminal's descriptors are closed by that: libuv opens it anew for itself
  for (const fd of STANDARD_STREAMS) program.fcntl(fd, F_SETFD, 0);
  const words = textsAt(native, [process.argv0, ...execArgv, ...OBJECT_ROOM, ...process.argv.slice(1)]);
  // where that fails we go on with less room
  program.execv(process.execPath, words.address);
}

/** Each thread says for itself how much it needs, and a flag would go before that. */
function leaveThreadsTheirs(): void {
  for (const flag of OBJECT_ROOM) setFlagsFromString(flag.replace(/\d+$/, '0'));
}

/** Pointers to texts, zero behind the last one, and the texts. */
function textsAt(native: Native, texts: readonly string[]): NativeBuffer {
  const encoded = texts.map((text) => utf8(`${text}\0`));
  const pointers = (texts.length + 1) * POINTER;
  const place = native.allocate(encoded.reduce((sum, octets) => sum + octets.length, pointers));
  let at = pointers;
  encoded.forEach((octets, i) => {
    place.octets.set(octets, at);
    place.writeWord(i * POINTER, place.address + at);
    at += octets.length;
  });
  return place;
}

interface ProgramFunctions {
  execv(path: string, words: number): number;
  fcntl(fd: number, command: number, argument: number): number;
}

const PROTOTYPES: { readonly [Name in keyof ProgramFunctions]: string } = {
  execv: 'int execv(const char *path, uintptr_t words)',
  fcntl: 'int fcntl(int fd, int command, int argument)',
};

const POINTER = 8;
const STANDARD_STREAMS = [0, 1, 2];
// asm-generic/fcntl.h
const F_SETFD = 2;
