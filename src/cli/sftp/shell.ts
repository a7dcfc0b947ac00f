import { readdirSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { printable } from '../../core/bytes/index.ts';
import {
  type Attributes,
  type DirectoryEntry,
  type FileOptions,
  type FileResult,
  getFile,
  getTree,
  globOf,
  isFolder,
  joinRemote,
  longLine,
  putFile,
  putTree,
  type SftpLink,
  type SftpSession,
  type TreeResult,
} from '../../product/sftp/index.ts';
import { CliError } from '../errors.ts';

/** What a command came to: lines for people, and the same as data. */
export interface Said {
  readonly lines: readonly string[];
  readonly data: Readonly<Record<string, unknown>>;
  /** Something stayed behind. */
  readonly incomplete?: boolean;
}

export interface ShellOptions {
  readonly link: SftpLink;
  /** Our current folder. */
  readonly cwd: string;
  readonly now: () => number;
  readonly onProgress: NonNullable<FileOptions['onProgress']>;
  /** `28.6 MiB in 1.2 s, 23.8 MiB/s`. */
  readonly speed: (file: FileResult) => string;
  readonly size: (octets: number) => string;
}

/** What one asks of a server in words: `get`, `put`, `ls` and the rest, with a current folder on each side. */
export class SftpShell {
  readonly #options: ShellOptions;
  #remote: string | undefined;
  #local: string;
  #signal: AbortSignal | undefined;

  constructor(options: ShellOptions) {
    this.#options = options;
    this.#local = options.cwd;
  }

  /** @throws CliError for what is no command, and what the command fails of */
  async run([name = '', ...words]: readonly string[], signal: AbortSignal): Promise<Said> {
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (command === undefined)
      throw new CliError(`${name} is no command of sftp`, { code: 'USAGE', hint: `There are: ${Object.keys(COMMANDS).join(', ')}.` });
    const stray = words.find((word) => word.startsWith('--'));
    if (stray !== undefined)
      throw new CliError(`${stray} is no flag of sftp`, { code: 'USAGE', hint: 'tunnelwright help sftp tells them.' });
    // ssh's sftp needs these to copy folders and keep times: here that is always so
    const args = words.filter((word) => !/^-[rRpPafh]+$/.test(word));
    const [least, most] = command.operands;
    if (args.length < least || args.length > most) throw new CliError(`${name}: how?`, { code: 'USAGE', hint: `Write: ${command.usage}` });
    this.#signal = signal;
    return command.run(this, args);
  }

  get local(): string {
    return this.#local;
  }

  set local(folder: string) {
    this.#local = folder;
  }

  get options(): ShellOptions {
    return this.#options;
  }

  session(): Promise<SftpSession> {
    return this.#options.link.session(this.#signal);
  }

  /** Our current folder on the server. */
  async remote(): Promise<string> {
    this.#remote ??= await (await this.session()).realpath('.');
    return this.#remote;
  }

  async changeRemote(path: string): Promise<string> {
    const session = await this.session();
    const folder = await session.realpath(await this.there(path));
    if (!isFolder(await session.stat(folder))) throw new CliError(`${path} is no folder`, { code: 'USAGE' });
    this.#remote = folder;
    return folder;
  }

  /** A path on the server. */
  async there(path: string): Promise<string> {
    return path.startsWith('/') ? path : joinRemote(await this.remote(), path);
  }

  here(path: string): string {
    return resolve(this.#local, path);
  }

  /** Options for one file or folder. */
  between(remote: string, local: string): FileOptions {
    const { link, onProgress } = this.#options;
    return { link, remote, local, onProgress, signal: this.#signal };
  }

  /** What a pattern means on the server; a path without one is itself. @throws CliError where it means nothing */
  async matching(pattern: string): Promise<string[]> {
    const path = await this.there(pattern);
    const glob = globOf(basename(path));
    if (glob === undefined) return [path];
    const folder = dirname(path);
    const names = (await (await this.session()).list(folder)).flatMap(({ name }) => (name !== undefined && glob.test(name) ? [name] : []));
    if (names.length === 0) throw noMatch(pattern);
    return names.sort().map((name) => joinRemote(folder, name));
  }

  /** The same for paths of ours. */
  matchingHere(pattern: string): string[] {
    const path = this.here(pattern);
    const glob = globOf(basename(path));
    if (glob === undefined) return [path];
    const names = readdirSync(dirname(path)).filter((name) => glob.test(name));
    if (names.length === 0) throw noMatch(pattern);
    return names.sort().map((name) => join(dirname(path), name));
  }
}

interface ShellCommand {
  readonly usage: string;
  readonly help: string;
  /** Least and most operands. */
  readonly operands: readonly [number, number];
  readonly run: (shell: SftpShell, args: readonly string[]) => Promise<Said>;
}

const COMMANDS: Readonly<Record<string, ShellCommand>> = {
  get: { usage: 'get REMOTE... [LOCAL]', help: 'fetch files and folders', operands: [1, 1000], run: get },
  put: { usage: 'put LOCAL... [REMOTE]', help: 'send files and folders', operands: [1, 1000], run: put },
  ls: { usage: 'ls [-l] [PATH]', help: 'what a folder holds', operands: [0, 2], run: list },
  cd: {
    usage: 'cd PATH',
    help: 'change the folder on the server',
    operands: [1, 1],
    run: async (shell, [path]) => said('remote', await shell.changeRemote(path!)),
  },
  pwd: { usage: 'pwd', help: 'the folder on the server', operands: [0, 0], run: async (shell) => said('remote', await shell.remote()) },
  lcd: { usage: 'lcd PATH', help: 'change the folder here', operands: [1, 1], run: changeLocal },
  lpwd: { usage: 'lpwd', help: 'the folder here', operands: [0, 0], run: async (shell) => said('local', shell.local) },
  mkdir: {
    usage: 'mkdir PATH',
    help: 'make a folder',
    operands: [1, 1],
    run: each('made', (session, path) => session.mkdir(path)),
  },
  rmdir: {
    usage: 'rmdir PATH',
    help: 'remove an empty folder',
    operands: [1, 1],
    run: each('removed', (session, path) => session.rmdir(path)),
  },
  rm: { usage: 'rm PATH...', help: 'remove files', operands: [1, 1000], run: each('removed', (session, path) => session.remove(path)) },
  rename: { usage: 'rename OLD NEW', help: 'give another name', operands: [2, 2], run: rename },
  chmod: { usage: 'chmod MODE PATH...', help: 'change permissions, octal', operands: [2, 1000], run: changeMode },
  ln: { usage: 'ln -s TARGET PATH', help: 'make a symbolic link', operands: [3, 3], run: link },
  df: { usage: 'df [PATH]', help: 'room on the server', operands: [0, 1], run: space },
  help: { usage: 'help', help: 'this', operands: [0, 0], run: help },
  bye: { usage: 'bye', help: 'end; so does Ctrl-D', operands: [0, 0], run: async () => ({ lines: [], data: {} }) },
};

async function get(shell: SftpShell, args: readonly string[]): Promise<Said> {
  const [sources, into] = args.length > 1 ? [args.slice(0, -1), args.at(-1)!] : [args, '.'];
  const found = (await Promise.all(sources.map((source) => shell.matching(source)))).flat();
  const to = shell.here(into);
  const toFolder = into.endsWith('/') || statSync(to, { throwIfNoEntry: false })?.isDirectory() === true;
  if (found.length > 1 && !toFolder) throw notFolder(into);
  const session = await shell.session();
  return moves(shell, found, async (remote) => {
    const options = shell.between(remote, toFolder ? join(to, basename(remote)) : to);
    return isFolder(await session.stat(remote)) ? getTree(options) : ofOne(await getFile(options));
  });
}

async function put(shell: SftpShell, args: readonly string[]): Promise<Said> {
  const [sources, into] = args.length > 1 ? [args.slice(0, -1), args.at(-1)!] : [args, '.'];
  const found = sources.flatMap((source) => shell.matchingHere(source));
  const to = await shell.there(into);
  const there: Attributes | undefined = await (await shell.session()).stat(to).catch(() => undefined);
  const toFolder = there !== undefined && isFolder(there);
  if (!toFolder && (found.length > 1 || into.endsWith('/'))) throw notFolder(into);
  return moves(shell, found, async (local) => {
    const options = shell.between(toFolder ? joinRemote(to, basename(local)) : to, local);
    return statSync(local, { throwIfNoEntry: false })?.isDirectory() === true ? putTree(options) : ofOne(await putFile(options));
  });
}

const ofOne = (file: FileResult): TreeResult => ({ files: [file], same: 0, left: [] });

/** Moves one after the other, and tells what became of them. */
async function moves(shell: SftpShell, paths: readonly string[], move: (path: string) => Promise<TreeResult>): Promise<Said> {
  const { speed, size } = shell.options;
  const results: TreeResult[] = [];
  const lines: string[] = [];
  for (const path of paths) {
    const result = await move(path);
    results.push(result);
    const [only, ...more] = result.files;
    if (only !== undefined && more.length === 0 && result.same + result.left.length === 0)
      lines.push(`${path} → ${only.path}  ${speed(only)}${only.verified ? '' : ', its length compared alone'}`);
    else lines.push(`${path}  ${summary(result, size)}`);
    for (const { path: left, why } of result.left) lines.push(`  left: ${why.startsWith(left) ? why : `${left}: ${why}`}`);
  }
  const left = results.flatMap((result) => result.left);
  const same = results.reduce((sum, result) => sum + result.same, 0);
  return { lines, data: { files: results.flatMap(({ files }) => files), same, left }, incomplete: left.length > 0 };
}

function summary({ files, same, left }: TreeResult, size: (octets: number) => string): string {
  const octets = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const parts = [
    `${files.length} files, ${size(octets)}`,
    same === 0 ? '' : `${same} were there already`,
    left.length === 0 ? '' : `${left.length} left`,
  ];
  return parts.filter((part) => part !== '').join('; ');
}

async function list(shell: SftpShell, args: readonly string[]): Promise<Said> {
  const long = args.includes('-l');
  const [path = '.'] = args.filter((word) => word !== '-l');
  const session = await shell.session();
  const found = await shell.matching(path);
  const entries: DirectoryEntry[] = [];
  for (const each of found) {
    const attributes = await session.stat(each);
    if (found.length === 1 && isFolder(attributes)) entries.push(...(await session.list(each)));
    else entries.push({ name: basename(each), shown: basename(each), attributes });
  }
  entries.sort((a, b) => (a.shown < b.shown ? -1 : 1));
  const now = new Date(shell.options.now());
  const name = ({ shown, attributes }: DirectoryEntry): string => `${printable(shown)}${isFolder(attributes) ? '/' : ''}`;
  const lines = entries.map((entry) => (long ? longLine(name(entry), entry.attributes, now, shell.options.size) : name(entry)));
  const data = entries.map(({ shown, attributes: { size, permissions, mtime } }) => ({ name: shown, size, permissions, mtime }));
  return { lines: lines.length === 0 ? ['nothing is in it'] : lines, data: { entries: data } };
}

async function changeLocal(shell: SftpShell, [path]: readonly string[]): Promise<Said> {
  const folder = shell.here(path!);
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw new CliError(`${path} is no folder here`, { code: 'USAGE' });
  shell.local = folder;
  return said('local', folder);
}

async function rename(shell: SftpShell, [from, to]: readonly string[]): Promise<Said> {
  await (await shell.session()).rename(await shell.there(from!), await shell.there(to!));
  return { lines: [], data: { renamed: from, to } };
}

async function changeMode(shell: SftpShell, [mode, ...paths]: readonly string[]): Promise<Said> {
  if (!/^[0-7]{3,4}$/.test(mode!))
    throw new CliError(`${mode} is no mode`, { code: 'USAGE', hint: 'Write octal digits: chmod 640 report.pdf' });
  return each('changed', (session, path) => session.setstat(path, { permissions: Number.parseInt(mode!, 8) }))(shell, paths);
}

async function link(shell: SftpShell, [flag, target, path]: readonly string[]): Promise<Said> {
  if (flag !== '-s') throw new CliError('only symbolic links are made', { code: 'USAGE', hint: 'Write: ln -s TARGET PATH' });
  await (await shell.session()).symlink(target!, await shell.there(path!));
  return { lines: [], data: { linked: path, target } };
}

async function space(shell: SftpShell, [path = '.']: readonly string[]): Promise<Said> {
  const found = await (await shell.session()).space(await shell.there(path));
  if (found === undefined) return { lines: ['the server cannot tell'], data: { total: null, available: null } };
  const { size } = shell.options;
  return { lines: [`${size(found.available)} free of ${size(found.total)}`], data: found };
}

async function help(): Promise<Said> {
  const widest = Math.max(...Object.values(COMMANDS).map(({ usage }) => usage.length));
  const lines = Object.values(COMMANDS).map(({ usage, help }) => `  ${usage.padEnd(widest)}  ${help}`);
  return { lines: [...lines, '  * and ? stand for any text and any character of a name'], data: { commands: Object.keys(COMMANDS) } };
}

/** Does one thing to everything that patterns mean. */
function each(what: string, act: (session: SftpSession, path: string) => Promise<void>) {
  return async (shell: SftpShell, patterns: readonly string[]): Promise<Said> => {
    const paths = (await Promise.all(patterns.map((pattern) => shell.matching(pattern)))).flat();
    const session = await shell.session();
    for (const path of paths) await act(session, path);
    return { lines: [], data: { [what]: paths } };
  };
}

const said = (what: string, path: string): Said => ({ lines: [printable(path)], data: { [what]: path } });
const noMatch = (pattern: string): CliError => new CliError(`${pattern} fits nothing`, { code: 'FILE_NOT_FOUND' });
const notFolder = (path: string): CliError =>
  new CliError(`${path} is no folder`, { code: 'USAGE', hint: 'Name a folder that is there: several files go into one.' });
