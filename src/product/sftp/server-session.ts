import type { Duplex } from 'node:stream';
import { fromUtf8, MalformedMessage, Reader, TunnelwrightError, Writer } from '../../core/bytes/index.ts';
import { fileError, type TransferCode, TransferError } from '../transfer/errors.ts';
import { type Attributes, readAttributes, readOffset } from './attributes.ts';
import { longname } from './longname.ts';
import { DataPacket, PacketBuilder, PacketCutter, readString, tryText } from './packets.ts';
import { Extension, LARGEST_PACKET, PacketType, StatusCode, VERSION } from './protocol.ts';
import { Run } from './run.ts';
import { isBound, spoken } from './server-bounds.ts';
import { digestsOf, type JailedFiles, nextNames } from './server-files.ts';
import { Handles, type OpenFile, type OpenListing } from './server-handles.ts';

export interface SessionOptions {
  readonly files: JailedFiles;
  /** Files and folders open at a time. */
  readonly handles: number;
  readonly wallClock: () => number;
  readonly onFile: (event: SftpFileEvent) => void;
  /** The connection below is gone. */
  readonly signal: AbortSignal;
}

export type SftpFileEvent =
  /** A file was closed after octets were read from it or written to it. */
  | { readonly kind: 'file'; readonly path: string; readonly read: number; readonly written: number }
  | { readonly kind: 'changed'; readonly what: 'removed' | 'renamed' | 'made'; readonly path: string; readonly to?: string }
  | { readonly kind: 'refused'; readonly what: string; readonly why: string };

/**
 * The server's end of SFTP version 3 on a channel. Requests are done one after the other, in the order they came, but for runs of READs, and of
 * WRITEs one behind the other in a file: of those a few are with the disk while the next is opened. What is under way stays in the channel's
 * window, and so bounded, and a WRITE is there when the CLOSE behind it is answered.
 */
export class ServerSession {
  readonly #channel: Duplex;
  readonly #options: SessionOptions;
  readonly #handles: Handles;
  readonly #cutter = new PacketCutter(LARGEST_PACKET);
  #begun = false;

  constructor(channel: Duplex, options: SessionOptions) {
    this.#channel = channel;
    this.#options = options;
    this.#handles = new Handles(options.handles);
  }

  /** Until the client ends it, or breaks the protocol. Never throws. */
  async run(): Promise<void> {
    const { signal } = this.#options;
    const told: Promise<void>[] = [];
    const run = new Run();
    try {
      // who opened the channel ends it, and says how
      for await (const chunk of this.#channel.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
        for (const packet of this.#cutter.cut(chunk)) {
          if (signal.aborted) return;
          const beside = run.continues(packet, (handle) => this.#handles.appends(handle));
          while (told.length > (beside ? AT_ONCE - 1 : 0)) await told.shift();
          const last = this.#tell(this.#answer(new Reader(packet)), told.at(-1));
          if (run.begun) told.push(last);
          else await last;
        }
      }
      await told.at(-1);
    } catch (cause) {
      // what cannot be read as SFTP has no answer either
      this.#options.onFile({ kind: 'refused', what: 'the session', why: cause instanceof Error ? cause.message : String(cause) });
    } finally {
      await Promise.allSettled(told);
      for (const left of await this.#handles.closeAll()) this.#tellClosed(left);
    }
  }

  /** Sends an answer once it is there, and those before it have gone. */
  #tell(answer: Promise<Uint8Array>, before: Promise<void> | undefined): Promise<void> {
    const told = Promise.all([answer, before]).then(async ([octets]) => {
      if (!this.#channel.write(octets)) await this.#drained();
    });
    // whoever waits for it next hears of it
    told.catch(() => {});
    return told;
  }

  #drained(): Promise<void> {
    const { signal } = this.#options;
    return new Promise((resolve) => {
      const done = (): void => {
        this.#channel.off('drain', done);
        this.#channel.off('close', done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#channel.on('drain', done);
      this.#channel.on('close', done);
      signal.addEventListener('abort', done);
      if (signal.aborted) done();
    });
  }

  /** @throws MalformedMessage */
  async #answer(reader: Reader): Promise<Uint8Array> {
    const type = reader.u8('type');
    const id = reader.u32('id');
    if (!this.#begun) {
      if (type !== PacketType.INIT) throw new MalformedMessage('SFTP begins with INIT');
      this.#begun = true;
      return versionPacket();
    }
    const request = REQUESTS[type];
    if (request === undefined) return status(id, StatusCode.OP_UNSUPPORTED, 'not supported');
    try {
      return await request({ id, reader, files: this.#options.files, session: this });
    } catch (cause) {
      if (cause instanceof MalformedMessage) throw cause;
      const error = cause instanceof TunnelwrightError ? cause : fileError(cause, 'it');
      if (error.code === 'TRANSFER_FORBIDDEN' || error.code === 'TRANSFER_BAD_PATH' || (isBound(error) && !OF_HANDLES.has(type)))
        this.#options.onFile({ kind: 'refused', what: NAMES[type] ?? `request ${type}`, why: spoken(error) });
      return status(id, STATUS_OF[error.code as TransferCode] ?? StatusCode.FAILURE, spoken(error));
    }
  }

  get handles(): Handles {
    return this.#handles;
  }

  get wallClock(): number {
    return this.#options.wallClock();
  }

  changed(what: 'removed' | 'renamed' | 'made', path: string, to?: string): void {
    this.#options.onFile({ kind: 'changed', what, path, ...(to === undefined ? {} : { to }) });
  }

  /** @throws TransferError where it is not stored: whoever sends without waiting for answers hears of it at the end, too */
  async closed(handle: Uint8Array): Promise<void> {
    const what = await this.#handles.close(handle);
    this.#tellClosed(what);
    if (what.kind === 'file' && what.refused !== undefined) throw what.refused;
  }

  #tellClosed(what: OpenFile | OpenListing): void {
    if (what.kind !== 'file') return;
    const { path, read, written, refused } = what;
    if (refused !== undefined) this.#options.onFile({ kind: 'refused', what: path, why: spoken(refused) });
    else if (read + written > 0) this.#options.onFile({ kind: 'file', path, read, written });
  }
}

interface RequestOf {
  readonly id: number;
  readonly reader: Reader;
  readonly files: JailedFiles;
  readonly session: ServerSession;
}

type Handler = (request: RequestOf) => Promise<Uint8Array>;

const REQUESTS: Readonly<Record<number, Handler>> = {
  [PacketType.OPEN]: async ({ id, reader, files, session }) => {
    const path = readPath(reader);
    const flags = reader.u32('pflags');
    const attributes = readAttributes(reader);
    session.handles.checkRoom();
    return handlePacket(id, session.handles.add(await files.open(path, flags, attributes)));
  },
  [PacketType.CLOSE]: async ({ id, reader, session }) => {
    await session.closed(readString(reader, 'handle'));
    return ok(id);
  },
  [PacketType.READ]: async ({ id, reader, session }) => {
    const file = session.handles.file(readString(reader, 'handle'));
    const offset = readOffset(reader, 'offset');
    const length = Math.min(reader.u32('len'), LARGEST_DATA);
    if (!file.readable) throw new TransferError(`${file.path}: is not open for reading`, { code: 'TRANSFER_FORBIDDEN' });
    const packet = new DataPacket(new PacketBuilder(PacketType.DATA, id, 16).finish(), length);
    const { bytesRead } = await file.file.read(packet.data, 0, length, offset);
    if (bytesRead === 0) return status(id, StatusCode.EOF, 'end of file');
    file.read += bytesRead;
    return packet.finish(bytesRead);
  },
  [PacketType.WRITE]: async ({ id, reader, files, session }) => {
    const file = session.handles.file(readString(reader, 'handle'));
    const offset = readOffset(reader, 'offset');
    const data = readString(reader, 'data');
    if (!file.writable) throw new TransferError(`${file.path}: is not open for writing`, { code: 'TRANSFER_FORBIDDEN' });
    await files.write(file, offset, data);
    return ok(id);
  },
  [PacketType.STAT]: async ({ id, reader, files }) => attributesPacket(id, await files.stat(readPath(reader), true)),
  [PacketType.LSTAT]: async ({ id, reader, files }) => attributesPacket(id, await files.stat(readPath(reader), false)),
  [PacketType.FSTAT]: async ({ id, reader, session }) =>
    attributesPacket(id, await session.handles.file(readString(reader, 'handle')).file.stat()),
  [PacketType.SETSTAT]: async ({ id, reader, files }) => {
    const path = readPath(reader);
    await files.setAttributes(path, readAttributes(reader));
    return ok(id);
  },
  [PacketType.FSETSTAT]: async ({ id, reader, files, session }) => {
    const file = session.handles.file(readString(reader, 'handle'));
    await files.setOpenAttributes(file, readAttributes(reader));
    return ok(id);
  },
  [PacketType.OPENDIR]: async ({ id, reader, files, session }) => {
    const path = readPath(reader);
    session.handles.checkRoom();
    return handlePacket(id, session.handles.add(await files.openFolder(path)));
  },
  [PacketType.READDIR]: async ({ id, reader, session }) => {
    const names = await nextNames(session.handles.folder(readString(reader, 'handle')), NAMES_AT_ONCE);
    if (names.length === 0) return status(id, StatusCode.EOF, 'no more names');
    const packet = new PacketBuilder(PacketType.NAME, id, 16 * 1024).u32(names.length);
    const now = new Date(session.wallClock);
    for (const { name, facts } of names)
      packet
        .string(name)
        .string(longname(name, facts, now))
        .attributes(attributesOf(facts));
    return packet.finish();
  },
  [PacketType.REMOVE]: async ({ id, reader, files, session }) => {
    const path = readPath(reader);
    await files.remove(path);
    session.changed('removed', path);
    return ok(id);
  },
  [PacketType.MKDIR]: async ({ id, reader, files, session }) => {
    const path = readPath(reader);
    await files.makeFolder(path, readAttributes(reader));
    session.changed('made', path);
    return ok(id);
  },
  [PacketType.RMDIR]: async ({ id, reader, files, session }) => {
    const path = readPath(reader);
    await files.removeFolder(path);
    session.changed('removed', path);
    return ok(id);
  },
  [PacketType.REALPATH]: async ({ id, reader, files }) => namePacket(id, await files.realPath(readPath(reader))),
  [PacketType.RENAME]: (request) => rename(request, false),
  [PacketType.READLINK]: async ({ id, reader, files }) => namePacket(id, await files.readLink(readPath(reader))),
  [PacketType.SYMLINK]: () => Promise.reject(new TransferError('links are not made here', { code: 'TRANSFER_FORBIDDEN' })),
  [PacketType.EXTENDED]: async (request) => {
    const extended = EXTENDED[fromUtf8(readString(request.reader, 'extended-request'))];
    return extended === undefined ? status(request.id, StatusCode.OP_UNSUPPORTED, 'not supported') : extended(request);
  },
};

const EXTENDED: Readonly<Record<string, Handler>> = {
  [Extension.POSIX_RENAME]: (request) => rename(request, true),
  [Extension.STATVFS]: async ({ id, reader, files }) => spacePacket(id, await files.space(readPath(reader))),
  [Extension.FSTATVFS]: async ({ id, reader, files, session }) =>
    spacePacket(id, await files.space(session.handles.get(readString(reader, 'handle')).path)),
  [Extension.FSYNC]: async ({ id, reader, session }) => {
    await session.handles.file(readString(reader, 'handle')).file.sync();
    return ok(id);
  },
  [Extension.LIMITS]: async ({ id, session }) =>
    new PacketBuilder(PacketType.EXTENDED_REPLY, id)
      .u64(LARGEST_PACKET)
      .u64(LARGEST_DATA)
      .u64(LARGEST_DATA)
      .u64(session.handles.most)
      .finish(),
  [Extension.CHECK_FILE_HANDLE]: async ({ id, reader, session }) => {
    const { file } = session.handles.file(readString(reader, 'handle'));
    const wanted = fromUtf8(readString(reader, 'hash-algorithm-list')).split(',');
    const [from, length, block] = [readOffset(reader, 'start-offset'), readOffset(reader, 'length'), reader.u32('block-size')];
    const algorithm = wanted.find((name) => DIGESTS.includes(name));
    if (algorithm === undefined) return status(id, StatusCode.FAILURE, `of digests, ${DIGESTS.join(', ')} are known here`);
    const reply = new PacketBuilder(PacketType.EXTENDED_REPLY, id).string(Extension.CHECK_FILE).string(algorithm);
    for (const digest of await digestsOf(file, algorithm, from, length, block)) reply.raw(digest);
    return reply.finish();
  },
};

async function rename({ id, reader, files, session }: RequestOf, over: boolean): Promise<Uint8Array> {
  const [from, to] = [readPath(reader), readPath(reader)];
  await files.rename(from, to, over);
  session.changed('renamed', from, to);
  return ok(id);
}

/** @throws TransferError where it is not UTF-8 */
function readPath(reader: Reader): string {
  const path = tryText(readString(reader, 'path'));
  if (path === undefined) throw new TransferError('this path is not accepted: it is not UTF-8', { code: 'TRANSFER_BAD_PATH' });
  return path;
}

const ok = (id: number): Uint8Array => status(id, StatusCode.OK, '');

const status = (id: number, code: number, text: string): Uint8Array =>
  new PacketBuilder(PacketType.STATUS, id).u32(code).string(text).string('en').finish();

const handlePacket = (id: number, handle: Uint8Array): Uint8Array => new PacketBuilder(PacketType.HANDLE, id).string(handle).finish();

const attributesPacket = (id: number, facts: Parameters<typeof attributesOf>[0]): Uint8Array =>
  new PacketBuilder(PacketType.ATTRS, id).attributes(attributesOf(facts)).finish();

const namePacket = (id: number, path: string): Uint8Array =>
  new PacketBuilder(PacketType.NAME, id).u32(1).string(path).string(path).attributes({}).finish();

function spacePacket(id: number, { bsize, blocks, bfree, bavail, files, ffree }: Awaited<ReturnType<JailedFiles['space']>>): Uint8Array {
  const packet = new PacketBuilder(PacketType.EXTENDED_REPLY, id);
  const [fsid, noSetuid, longestName] = [0, 2, 255];
  for (const value of [bsize, bsize, blocks, bfree, bavail, files, ffree, ffree, fsid, noSetuid, longestName]) packet.u64(value);
  return packet.finish();
}

function attributesOf(facts: { size: number; uid: number; gid: number; mode: number; atimeMs: number; mtimeMs: number }): Attributes {
  const { size, uid, gid, mode, atimeMs, mtimeMs } = facts;
  return { size, uid, gid, permissions: mode, atime: atimeMs / 1000, mtime: mtimeMs / 1000 };
}

/** VERSION, with what this server can beyond it. */
function versionPacket(): Uint8Array {
  const writer = new Writer().u32(0).u8(PacketType.VERSION).u32(VERSION);
  for (const [name, data] of ANNOUNCED) {
    for (const text of [name, data]) {
      const octets = new TextEncoder().encode(text);
      writer.u32(octets.length).bytes(octets);
    }
  }
  return writer.patchU32(0, writer.length - 4).finish();
}

const ANNOUNCED: readonly (readonly [name: string, data: string])[] = [
  [Extension.POSIX_RENAME, '1'],
  [Extension.STATVFS, '2'],
  [Extension.FSTATVFS, '2'],
  [Extension.FSYNC, '1'],
  [Extension.LIMITS, '1'],
  [Extension.CHECK_FILE, '1'],
];

const STATUS_OF: Readonly<Partial<Record<TransferCode, StatusCode>>> = {
  TRANSFER_NOT_FOUND: StatusCode.NO_SUCH_FILE,
  TRANSFER_FORBIDDEN: StatusCode.PERMISSION_DENIED,
};

/** Of these, what was refused is told once, when the handle is closed. */
const OF_HANDLES: ReadonlySet<number> = new Set([PacketType.WRITE, PacketType.FSETSTAT, PacketType.CLOSE]);
const NAMES: Readonly<Record<number, string>> = Object.fromEntries(Object.entries(PacketType).map(([name, type]) => [type, name]));
const DIGESTS: readonly string[] = ['sha256', 'sha384', 'sha512'];
/** Of one READ or WRITE; what is around it has room in the largest packet. */
const LARGEST_DATA = LARGEST_PACKET - 1024;
const NAMES_AT_ONCE = 100;
/** Requests of a run that the disk has at a time. */
const AT_ONCE = 8;
