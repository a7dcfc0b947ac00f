import type { Stats } from 'node:fs';
import type { Attributes } from './attributes.ts';
import { FileType } from './protocol.ts';

/** `-rw-r--r--    1 1000     1000         4096 Nov 22 10:00 name`: as `ls -l` has it, since clients show it, and some read it (§7). */
export function longname(name: string, facts: Stats, now: Date): string {
  const columns = [
    modeText(facts.mode),
    String(facts.nlink).padStart(4),
    String(facts.uid).padEnd(8),
    String(facts.gid).padEnd(8),
    String(facts.size).padStart(12),
    dateText(facts.mtime, now),
    name,
  ];
  return columns.join(' ');
}

/** `-rw-r--r--    4.0 KiB  Nov 22 10:00  name`: what a client shows of what servers say in attributes, since what they say in words differs. */
export function longLine(
  name: string,
  { permissions = 0, size = 0, mtime }: Attributes,
  now: Date,
  octets: (count: number) => string,
): string {
  return `${modeText(permissions)}  ${octets(size).padStart(9)}  ${mtime === undefined ? ' '.repeat(12) : dateText(new Date(mtime * 1000), now)}  ${name}`;
}

/** `drwxr-xr-x`. */
function modeText(mode: number): string {
  const type = TYPES.get(mode & FileType.MASK) ?? '?';
  const bits = [...'rwxrwxrwx'].map((letter, i) => ((mode & (0o400 >> i)) === 0 ? '-' : letter));
  return type + bits.join('');
}

/** The time of day within half a year, the year beyond. */
function dateText(when: Date, now: Date): string {
  const day = `${MONTHS[when.getUTCMonth()]} ${String(when.getUTCDate()).padStart(2)}`;
  const recent = Math.abs(now.getTime() - when.getTime()) < HALF_A_YEAR;
  return `${day} ${recent ? when.toISOString().slice(11, 16) : String(when.getUTCFullYear()).padStart(5)}`;
}

const TYPES: ReadonlyMap<number, string> = new Map([
  [FileType.FOLDER, 'd'],
  [FileType.LINK, 'l'],
  [FileType.REGULAR, '-'],
]);
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const;
const HALF_A_YEAR = 182 * 24 * 3600_000;
