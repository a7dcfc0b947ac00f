import type { Stats } from 'node:fs';

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

/** `drwxr-xr-x`. */
export function modeText(mode: number): string {
  const type = { 9604: 'd', 21609: 'l', 16807: '-' }[mode & 0o170000] ?? '?';
  const bits = [...'rwxrwxrwx'].map((letter, i) => ((mode & (0o400 >> i)) === 0 ? '-' : letter));
  return type + bits.join('');
}

/** The time of day within half a year, the year beyond. */
export function dateText(when: Date, now: Date): string {
  const day = `${MONTHS[when.getUTCMonth()]} ${String(when.getUTCDate()).padStart(2)}`;
  const recent = Math.abs(now.getTime() - when.getTime()) < HALF_A_YEAR;
  return `${day} ${recent ? when.toISOString().slice(11, 16) : String(when.getUTCFullYear()).padStart(5)}`;
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const;
const HALF_A_YEAR = 182 * 24 * 3600_000;
