import pc from 'picocolors';
import type { CliContext, Paint } from '../context.ts';

/** Colours, or none: only a terminal gets them, `NO_COLOR` and `--no-color` take them away. */
export function paintFor(context: Pick<CliContext, 'env'>, terminal: { readonly isTty: boolean }, wanted: boolean): Paint {
  const { NO_COLOR: never, FORCE_COLOR: always, TERM: kind } = context.env;
  const forced = always !== undefined && always !== '' && always !== '0';
  return pc.createColors(wanted && (never === undefined || never === '') && (forced || (terminal.isTty && kind !== 'dumb')));
}

/** Characters that a terminal shows: escape sequences take no room, wide characters take two. */
export function width(text: string): number {
  let total = 0;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what this looks for
  for (const character of text.replaceAll(/\u001b\[[0-9;]*m/g, '')) {
    const code = character.codePointAt(0)!;
    if (isCombining(code)) continue;
    total += isWide(code) ? 2 : 1;
  }
  return total;
}

export const padEnd = (text: string, columns: number): string => text + ' '.repeat(Math.max(0, columns - width(text)));
export const padStart = (text: string, columns: number): string => ' '.repeat(Math.max(0, columns - width(text))) + text;

/** Cuts plain text to so many columns; the last one becomes `…`. */
export function truncate(text: string, columns: number): string {
  if (width(text) <= columns) return text;
  let kept = '';
  for (const character of text) {
    if (width(kept + character) > Math.max(0, columns - 1)) break;
    kept += character;
  }
  return `${kept}…`;
}

/** Sentences in lines of at most `room` columns, which all but the first have `indent` in front of. Longer words stay whole. */
export function wrap(text: string, room: number, indent: string): string {
  const lines: string[] = [];
  for (const paragraph of text.split('\n')) {
    let line = '';
    for (const word of paragraph.split(' ')) {
      if (line !== '' && width(line) + 1 + width(word) > room) {
        lines.push(line);
        line = word;
      } else line = line === '' ? word : `${line} ${word}`;
    }
    lines.push(line);
  }
  return lines.join(`\n${indent}`);
}

/** Parts in a row with three blanks between them, broken only between parts. */
export function flow(parts: readonly string[], columns: number, indent: string): string {
  let text = '';
  let line = 0;
  for (const part of parts.filter((candidate) => candidate !== '')) {
    if (text === '') [text, line] = [part, width(part)];
    else if (line + 3 + width(part) <= columns) [text, line] = [`${text}   ${part}`, line + 3 + width(part)];
    else [text, line] = [`${text}\n${indent}${part}`, width(indent) + width(part)];
  }
  return text;
}

/** Rows with their columns aligned; a column may be aligned to the right. Trailing blanks are left out. */
export function table(
  rows: readonly (readonly string[])[],
  options: { readonly right?: readonly number[]; readonly gap?: string } = {},
): string[] {
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, width(cell));
  return rows.map((row) =>
    row
      .map((cell, i) => (options.right?.includes(i) ? padStart(cell, widths[i]!) : padEnd(cell, widths[i]!)))
      .join(options.gap ?? '   ')
      .trimEnd(),
  );
}

/** Leaves out the columns that are empty in every row. */
export function withoutEmpty(rows: readonly (readonly string[])[]): string[][] {
  const used = new Set(rows.flatMap((row) => row.flatMap((cell, i) => (cell === '' ? [] : [i]))));
  return rows.map((row) => row.filter((_, i) => used.has(i)));
}

export const plural = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;

const isCombining = (code: number): boolean => (code >= 0x300 && code <= 0x36f) || code === 0x200d || (code >= 0xfe00 && code <= 0xfe0f);
const isWide = (code: number): boolean =>
  (code >= 0x1100 && code <= 0x115f) ||
  (code >= 0x2e80 && code <= 0xa4cf) ||
  (code >= 0xac00 && code <= 0xd7a3) ||
  (code >= 0xf900 && code <= 0xfaff) ||
  (code >= 0xff00 && code <= 0xff60) ||
  (code >= 0x1f300 && code <= 0x1faff) ||
  (code >= 0x20000 && code <= 0x3fffd);
