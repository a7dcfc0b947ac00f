import { parse } from 'yaml';

/**
 * What RFC 7296 demands, requirement by requirement. docs/requirements/*.yaml names for each key word of the text (RFC 2119) what it is
 * about, in our words, and either the line that obeys it and the test that fails without that line, or why it is not so.
 */
export interface Requirement {
  /** Section, without §. */
  readonly section: string;
  /** Which key word of the section it is, from 1 on, in reading order. */
  readonly nth: number;
  readonly level: Level;
  readonly says: string;
  readonly code?: Place | undefined;
  readonly test?: Place | undefined;
  /** Why there is no line or no test, in a sentence. */
  readonly exception?: string | undefined;
}

/** A line of a file, by a piece of it that stands nowhere else in the file; of a test file, a piece of the test's name. */
export interface Place {
  readonly path: string;
  readonly line: string;
}

export type Level = 'MUST' | 'MUST NOT' | 'SHOULD' | 'SHOULD NOT';

/** A key word as it stands in the text. */
export interface KeyWord {
  readonly section: string;
  readonly nth: number;
  readonly level: Level;
  /** The line it stands on, and its number in the file, from 1 on. */
  readonly line: number;
  readonly text: string;
}

/** Every MUST and SHOULD of an RFC's text, between its first section and its references. SHALL and REQUIRED count as MUST. */
export function keyWordsOf(rfc: string): KeyWord[] {
  const words: KeyWord[] = [];
  const counted = new Map<string, number>();
  let section = '';
  const lines = rfc.split('\n').map((line) => (PAGE_FURNITURE.test(line) ? '' : line));
  lines.forEach((line, i) => {
    const heading = HEADING.exec(line)?.[1];
    // the table of contents comes first: its lines end in a page number
    if (heading !== undefined && !/\.\s*\d+$/.test(line)) section = heading.replace(/\.$/, '');
    if (!IN_SCOPE.test(section)) return;
    // "MUST" at the end of a line, "NOT" at the beginning of the next
    const next = lines.slice(i + 1).find((each) => each.trim() !== '') ?? '';
    for (const match of line.matchAll(KEY_WORD)) {
      const atEnd = line.slice(match.index + match[0].length).trim() === '';
      const negated = match[2] !== undefined || (atEnd && /^\s*NOT\b/.test(next));
      const nth = (counted.get(section) ?? 0) + 1;
      counted.set(section, nth);
      const positive = match[1] === 'SHOULD' ? 'SHOULD' : 'MUST';
      words.push({ section, nth, level: negated ? (`${positive} NOT` as Level) : positive, line: i + 1, text: line.trim() });
    }
  });
  return words;
}

/** Reads one file of docs/requirements. @throws Error for anything that is not of its form: the file is ours */
export function parseRequirements(yaml: string, name: string): Requirement[] {
  const list = (parse(yaml) ?? []) as readonly Readonly<Record<string, unknown>>[];
  return list.map((entry, i) => {
    const fail = (what: string): never => {
      throw new Error(`${name}: entry ${i + 1} (${String(entry.at)}): ${what}`);
    };
    const [, section, nth] = /^§([\d.]+) (\d+)$/.exec(String(entry.at)) ?? fail('`at` is written §2.1 3');
    const level = LEVELS.find((one) => one === entry.level) ?? fail('`level` is MUST, MUST NOT, SHOULD or SHOULD NOT');
    const place = (key: 'code' | 'test'): Place | undefined => {
      if (entry[key] === undefined) return undefined;
      const [path, line] = String(entry[key]).split(' :: ');
      return path && line ? { path, line } : fail(`\`${key}\` is written path :: text`);
    };
    const { says, exception } = entry;
    if (typeof says !== 'string' || !/^[A-Z0-9].*\.$/s.test(says)) fail('`says` is a sentence');
    if (exception !== undefined && (typeof exception !== 'string' || !/^[A-Z0-9].*\.$/s.test(exception))) fail('`exception` is a sentence');
    const read = { section: section!, nth: Number(nth), level: level!, says: says as string, code: place('code'), test: place('test') };
    if (exception === undefined && (read.code === undefined || read.test === undefined)) fail('a line and a test, or an exception');
    return { ...read, exception: exception as string | undefined };
  });
}

/** The lines of a text that hold a piece, from 0 on. */
export const linesWith = (text: string, piece: string): number[] =>
  text.split('\n').flatMap((line, i) => (line.includes(piece) ? [i] : []));

const HEADING = /^ {0,3}(\d+(?:\.\d+)*\.?) {1,3}\S/;
/** What is spoken, and who conforms; §1.6 explains the key words themselves, §1.7 tells what was different before. */
const IN_SCOPE = /^(?!1\.[67]$)[1-5](\.|$)/;
const KEY_WORD = /\b(MUST|SHALL|REQUIRED|SHOULD)( NOT)?\b/g;
const PAGE_FURNITURE = /^(Kaufman, et al\.|RFC 7296 )/;
const LEVELS: readonly Level[] = ['MUST', 'MUST NOT', 'SHOULD', 'SHOULD NOT'];
