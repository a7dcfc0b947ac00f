import { CliError } from '../errors.ts';

/** The words of a line as a shell would have them: quotes and backslashes, no variables. @throws CliError for a quote that does not end */
export function wordsOf(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote: string | undefined;
  for (let at = 0; at < line.length; at++) {
    const character = line[at]!;
    if (quote === undefined && /\s/.test(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (quote === undefined && (character === '"' || character === "'")) {
      quote = character;
      word ??= '';
    } else if (character === quote) quote = undefined;
    else if (character === '\\' && quote !== "'" && at + 1 < line.length) word = (word ?? '') + line[++at]!;
    else if (quote === undefined && character === '#' && word === undefined) break;
    else word = (word ?? '') + character;
  }
  if (quote !== undefined) throw new CliError(`the quote ${quote} does not end`, { code: 'USAGE' });
  if (word !== undefined) words.push(word);
  return words;
}

export interface SftpTarget {
  readonly user: string;
  readonly host: string;
  readonly port: number;
}

/** `alice@files.internal`, `alice@[fd00::5]:2022`, `sftp://alice@files.internal:2022`. @throws CliError */
export function parseSftpTarget(text: string, defaultUser: string | undefined): SftpTarget {
  const match = /^(?:sftp:\/\/)?(?:([^@\s/]+)@)?(?:\[([0-9a-fA-F:.%]+)\]|([^@:/\s]+))(?::(\d{1,5}))?\/?$/.exec(text);
  const user = match?.[1] ?? defaultUser;
  const port = Number(match?.[4] ?? SSH_PORT);
  if (match === null || port < 1 || port > 65_535)
    throw new CliError(`${text} is no server`, { code: 'USAGE', hint: 'Write USER@HOST[:PORT], for instance alice@files.internal.' });
  if (user === undefined || user === '')
    throw new CliError(`${text} does not say who wants in`, { code: 'USAGE', hint: `Write USER@${text}.` });
  return { user, host: match[2] ?? match[3]!, port };
}

const SSH_PORT = 22;
