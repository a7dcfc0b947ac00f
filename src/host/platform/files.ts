import { constants } from 'node:fs';
import { chmod, mkdir, open, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ConfigError } from '../../core/bytes/index.ts';

/**
 * Reads a file that holds a secret, and refuses one that others can read or change: it may be known already.
 * The permissions are those of the opened file, so that it cannot be exchanged in between.
 * @throws ConfigError `SECRET_FILE_PERMISSIONS`, `SECRET_FILE_TOO_LARGE` or `FILE_UNREADABLE`
 */
export async function readSecretFile(path: string): Promise<Uint8Array> {
  const handle = await open(path, constants.O_RDONLY).catch((cause: NodeJS.ErrnoException) => {
    throw unreadable(path, cause);
  });
  try {
    const facts = await handle.stat();
    if (!facts.isFile()) throw unreadable(path, new Error('not a regular file'));
    checkSecretMode(path, facts.mode, facts.uid, process.getuid?.());
    if (facts.size > LARGEST_SECRET) {
      throw new ConfigError(`${path} has ${facts.size} octets; a secret has at most ${LARGEST_SECRET}`, {
        code: 'SECRET_FILE_TOO_LARGE',
        file: path,
        hint: 'Name the file that holds the key or password itself.',
      });
    }
    const read = await handle.readFile();
    const secret = new Uint8Array(read);
    read.fill(0);
    return secret;
  } finally {
    await handle.close();
  }
}

/** Is this mode one that keeps a secret? @param us our user id; undefined where the system has none (Windows): nothing is checked */
export function checkSecretMode(path: string, mode: number, owner: number, us: number | undefined): void {
  if (us === undefined) return;
  if ((mode & OTHERS_MAY) !== 0) {
    throw new ConfigError(`${path} holds a secret but others may read or change it (mode ${(mode & 0o777).toString(8).padStart(4, '0')})`, {
      code: 'SECRET_FILE_PERMISSIONS',
      file: path,
      hint: `chmod 600 ${path}   and think about replacing the secret: somebody may have read it.`,
    });
  }
  if (owner !== us && owner !== 0 && us !== 0) {
    throw new ConfigError(`${path} holds a secret but belongs to user ${owner}, not to us (${us}) or root`, {
      code: 'SECRET_FILE_PERMISSIONS',
      file: path,
      hint: `chown the file to the user who runs this, or run it as its owner.`,
    });
  }
}

/**
 * Writes a file so that a reader sees the old or the new content, never a part, also after a crash.
 * @param mode permissions of the new file, whatever the umask; 0o600 unless given
 */
export async function writeFileAtomic(path: string, content: Uint8Array | string, mode = 0o600): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${process.pid}.${++temporaries}.tmp`);
  // O_EXCL: never through a link that somebody laid there.
  const handle = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, mode);
  try {
    try {
      await handle.writeFile(content);
      await handle.chmod(mode);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
  await syncFolder(folder);
}

/** A folder for secrets, with parents: 0700. An existing one is left as it is except for its mode. */
export async function ensurePrivateFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  await chmod(path, 0o700);
}

async function syncFolder(path: string): Promise<void> {
  try {
    const handle = await open(path, constants.O_RDONLY);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch {
    // Some systems cannot sync a folder; the file itself is safe.
  }
}

function unreadable(path: string, cause: NodeJS.ErrnoException): ConfigError {
  return new ConfigError(`${path} cannot be read: ${cause.code === 'ENOENT' ? 'there is no such file' : cause.message}`, {
    code: 'FILE_UNREADABLE',
    file: path,
    cause,
    hint: 'Check the path and that the user who runs this may read it.',
  });
}

let temporaries = 0;
/** Read, write or execute for group or others. */
const OTHERS_MAY = 0o077;
const LARGEST_SECRET = 1024 * 1024;
