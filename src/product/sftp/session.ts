import type { Duplex } from 'node:stream';
import { fromUtf8, type Reader, toHex } from '../../core/bytes/index.ts';
import { TransferError } from '../transfer/errors.ts';
import { ConnectionLost } from '../transfer/peer-http.ts';
import { type Attributes, readAttributes } from './attributes.ts';
import { statusError } from './errors.ts';
import { DataPacket, PacketBuilder, readString, tryText } from './packets.ts';
import { Extension, PacketType, StatusCode, VERSION } from './protocol.ts';
import { type Answer, type Request, RequestChannel, VERSION_ID } from './request-channel.ts';

/** One name of a folder, as the server tells it. */
export interface DirectoryEntry {
  /** undefined where it is not UTF-8, and so cannot be named here. */
  readonly name: string | undefined;
  /** For people, whatever the octets are. */
  readonly shown: string;
  readonly attributes: Attributes;
}

export type Handle = Uint8Array;

/** The client's end of SFTP version 3 on a channel: one method for each request, many of them under way at a time. */
export class SftpSession {
  readonly #requests: RequestChannel;
  #extensions: ReadonlyMap<string, string> = new Map();
  #largestRead = SAFE_DATA;
  #largestWrite = SAFE_DATA;

  /** @throws TransferError when the other end speaks something else, ConnectionLost */
  static async open(channel: Duplex): Promise<SftpSession> {
    const session = new SftpSession(channel);
    await session.#init();
    return session;
  }

  private constructor(channel: Duplex) {
    this.#requests = new RequestChannel(channel);
  }

  /** Nothing more can be asked here. */
  get ended(): boolean {
    return this.#requests.ended;
  }

  /** Octets that one READ asks for, and one WRITE carries. */
  get sizes(): { readonly read: number; readonly write: number } {
    return { read: this.#largestRead, write: this.#largestWrite };
  }

  has(extension: string): boolean {
    return this.#extensions.has(extension);
  }

  async open(path: string, flags: number, attributes: Attributes = {}): Promise<Handle> {
    return this.#handle(path, this.#requests.request(PacketType.OPEN).string(path).u32(flags).attributes(attributes));
  }

  async close(handle: Handle): Promise<void> {
    await this.#status('close', this.#requests.request(PacketType.CLOSE).string(handle));
  }

  /** @returns fewer octets than asked for where the file ends, or the server likes; none at its end */
  async read(path: string, handle: Handle, offset: number, length: number): Promise<Uint8Array> {
    const { type, reader } = await this.#requests.ask(this.#requests.request(PacketType.READ).string(handle).u64(offset).u32(length));
    if (type === PacketType.DATA) {
      const data = readString(reader, 'data');
      if (data.length > length) throw this.#requests.violation('it sent more than was asked for');
      return data;
    }
    const { code, text } = this.#statusOf(type, reader);
    if (code === StatusCode.EOF) return EMPTY;
    throw statusError(path, code, text);
  }

  /** A WRITE whose data is filled in place. */
  writePacket(handle: Handle, offset: number, room: number): { readonly packet: DataPacket; readonly id: number } {
    const id = this.#requests.nextId();
    return { id, packet: new DataPacket(new PacketBuilder(PacketType.WRITE, id).string(handle).u64(offset).finish(), room) };
  }

  async write(path: string, id: number, octets: Uint8Array): Promise<void> {
    this.#mustBeOk(path, await this.#requests.send(id, octets));
  }

  async stat(path: string): Promise<Attributes> {
    return this.#attributes(path, this.#requests.request(PacketType.STAT).string(path));
  }

  async lstat(path: string): Promise<Attributes> {
    return this.#attributes(path, this.#requests.request(PacketType.LSTAT).string(path));
  }

  async fstat(path: string, handle: Handle): Promise<Attributes> {
    return this.#attributes(path, this.#requests.request(PacketType.FSTAT).string(handle));
  }

  async setstat(path: string, attributes: Attributes): Promise<void> {
    await this.#status(path, this.#requests.request(PacketType.SETSTAT).string(path).attributes(attributes));
  }

  async fsetstat(path: string, handle: Handle, attributes: Attributes): Promise<void> {
    await this.#status(path, this.#requests.request(PacketType.FSETSTAT).string(handle).attributes(attributes));
  }

  /** Everything in a folder but itself and its parent. */
  async list(path: string): Promise<DirectoryEntry[]> {
    const handle = await this.#handle(path, this.#requests.request(PacketType.OPENDIR).string(path));
    const entries: DirectoryEntry[] = [];
    try {
      for (;;) {
        const { type, reader } = await this.#requests.ask(this.#requests.request(PacketType.READDIR).string(handle));
        if (type !== PacketType.NAME) {
          const { code, text } = this.#statusOf(type, reader);
          if (code === StatusCode.EOF) return entries;
          throw statusError(path, code, text);
        }
        const names = this.#requests.parse(() => readNames(reader));
        if (names.length === 0) throw this.#requests.violation('it lists a folder without end');
        entries.push(...names.filter(({ name }) => name !== '.' && name !== '..'));
        if (entries.length > MOST_ENTRIES) {
          throw new TransferError(`${path}: has more than ${MOST_ENTRIES} names`, { code: 'TRANSFER_TOO_LARGE', side: 'there' });
        }
      }
    } finally {
      await this.close(handle).catch(() => {});
    }
  }

  async remove(path: string): Promise<void> {
    await this.#status(path, this.#requests.request(PacketType.REMOVE).string(path));
  }

  async mkdir(path: string, attributes: Attributes = {}): Promise<void> {
    await this.#status(path, this.#requests.request(PacketType.MKDIR).string(path).attributes(attributes));
  }

  async rmdir(path: string): Promise<void> {
    await this.#status(path, this.#requests.request(PacketType.RMDIR).string(path));
  }

  async realpath(path: string): Promise<string> {
    return this.#name(path, this.#requests.request(PacketType.REALPATH).string(path));
  }

  async readlink(path: string): Promise<string> {
    return this.#name(path, this.#requests.request(PacketType.READLINK).string(path));
  }

  /** Target first, as OpenSSH has it, and so everybody else does who wants to be understood (its PROTOCOL §4.1). */
  async symlink(target: string, path: string): Promise<void> {
    await this.#status(path, this.#requests.request(PacketType.SYMLINK).string(target).string(path));
  }

  /** In one step and over what is there, where the server can; else what is there goes first. */
  async rename(from: string, to: string): Promise<void> {
    if (this.has(Extension.POSIX_RENAME)) {
      await this.#status(to, this.#extended(Extension.POSIX_RENAME).string(from).string(to));
      return;
    }
    const plain = (): Promise<void> => this.#status(to, this.#requests.request(PacketType.RENAME).string(from).string(to));
    try {
      await plain();
    } catch (cause) {
      const taken = cause instanceof TransferError && (await this.lstat(to).catch(() => undefined));
      if (!taken) throw cause;
      await this.remove(to);
      await plain();
    }
  }

  /** What is written is on the disk when this returns; false where the server cannot tell. */
  async fsync(path: string, handle: Handle): Promise<boolean> {
    if (!this.has(Extension.FSYNC)) return false;
    await this.#status(path, this.#extended(Extension.FSYNC).string(handle));
    return true;
  }

  /** Octets of the file system that holds `path`; undefined where the server cannot tell. */
  async space(path: string): Promise<{ readonly total: number; readonly available: number } | undefined> {
    if (!this.has(Extension.STATVFS)) return undefined;
    const { type, reader } = await this.#requests.ask(this.#extended(Extension.STATVFS).string(path));
    if (type !== PacketType.EXTENDED_REPLY) throw this.#refusal(path, type, reader);
    return this.#requests.parse(() => {
      reader.u64('f_bsize');
      const [unit, blocks, , available] = ['f_frsize', 'f_blocks', 'f_bfree', 'f_bavail'].map((field) => Number(reader.u64(field)));
      return { total: unit! * blocks!, available: unit! * available! };
    });
  }

  /** SHA-256 of a range, hex; undefined where the server cannot tell. @param length 0 is the rest of the file */
  async sha256(handle: Handle, offset: number, length: number): Promise<string | undefined> {
    if (!this.has(Extension.CHECK_FILE) && !this.has(Extension.CHECK_FILE_HANDLE)) return undefined;
    const request = this.#extended(Extension.CHECK_FILE_HANDLE).string(handle).string('sha256').u64(offset).u64(length).u32(0);
    const { type, reader } = await this.#requests.ask(request);
    if (type !== PacketType.EXTENDED_REPLY) return undefined;
    return this.#requests.parse(() => {
      const first = fromUtf8(readString(reader, 'check-file'));
      const algorithm = first === Extension.CHECK_FILE ? fromUtf8(readString(reader, 'hash-algo-used')) : first;
      const digest = reader.rest();
      return algorithm === 'sha256' && digest.length === SHA256_LENGTH ? toHex(digest) : undefined;
    });
  }

  /** Whatever is under way fails. */
  destroy(): void {
    this.#requests.end(new ConnectionLost('closed here'));
  }

  async #init(): Promise<void> {
    // INIT carries its version where others have their id
    const { type, reader } = await this.#requests.send(VERSION_ID, new PacketBuilder(PacketType.INIT, VERSION).finish());
    if (type !== PacketType.VERSION) throw this.#requests.violation('it did not begin with its version');
    this.#extensions = this.#requests.parse(() => {
      const version = reader.u32('version');
      if (version !== VERSION) throw this.#requests.violation(`it speaks version ${version}, and not ${VERSION}`);
      return readExtensions(reader);
    });
    if (this.has(Extension.LIMITS)) await this.#learnLimits();
  }

  async #learnLimits(): Promise<void> {
    const { type, reader } = await this.#requests.ask(this.#extended(Extension.LIMITS));
    if (type !== PacketType.EXTENDED_REPLY) return;
    this.#requests.parse(() => {
      const [, read, write] = ['max-packet-length', 'max-read-length', 'max-write-length'].map((field) => Number(reader.u64(field)));
      // 0 is no limit (OpenSSH's PROTOCOL §4.8)
      this.#largestRead = Math.max(SAFE_DATA, Math.min(read || PREFERRED_DATA, PREFERRED_DATA));
      this.#largestWrite = Math.max(SAFE_DATA, Math.min(write || PREFERRED_DATA, PREFERRED_DATA));
    });
  }

  #extended(name: string): Request {
    return this.#requests.request(PacketType.EXTENDED).string(name);
  }

  async #status(what: string, request: Request): Promise<void> {
    this.#mustBeOk(what, await this.#requests.ask(request));
  }

  #mustBeOk(what: string, { type, reader }: Answer): void {
    const { code, text } = this.#statusOf(type, reader);
    if (code !== StatusCode.OK) throw statusError(what, code, text);
  }

  async #handle(path: string, request: Request): Promise<Handle> {
    const { type, reader } = await this.#requests.ask(request);
    if (type !== PacketType.HANDLE) throw this.#refusal(path, type, reader);
    // a view would keep the whole packet
    return this.#requests.parse(() => readString(reader, 'handle').slice());
  }

  async #attributes(path: string, request: Request): Promise<Attributes> {
    const { type, reader } = await this.#requests.ask(request);
    if (type !== PacketType.ATTRS) throw this.#refusal(path, type, reader);
    return this.#requests.parse(() => readAttributes(reader));
  }

  async #name(path: string, request: Request): Promise<string> {
    const { type, reader } = await this.#requests.ask(request);
    if (type !== PacketType.NAME) throw this.#refusal(path, type, reader);
    const [entry, ...more] = this.#requests.parse(() => readNames(reader));
    if (entry === undefined || more.length > 0) throw this.#requests.violation('it gave no single name');
    if (entry.name === undefined)
      throw new TransferError(`${entry.shown}: the name is not UTF-8`, { code: 'TRANSFER_BAD_PATH', side: 'there' });
    return entry.name;
  }

  #statusOf(type: number, reader: Reader): { readonly code: number; readonly text: string } {
    if (type !== PacketType.STATUS) throw this.#requests.violation(`packet type ${type} answers nothing that was asked`);
    return this.#requests.parse(() => {
      const code = reader.u32('status');
      // some leave the text out
      return { code, text: reader.remaining > 0 ? fromUtf8(readString(reader, 'error message')) : '' };
    });
  }

  #refusal(path: string, type: number, reader: Reader): Error {
    const { code, text } = this.#statusOf(type, reader);
    return code === StatusCode.OK ? this.#requests.violation('it said only that all is well') : statusError(path, code, text);
  }
}

function readNames(reader: Reader): DirectoryEntry[] {
  const entries: DirectoryEntry[] = [];
  for (let count = reader.u32('count'); count > 0; count--) {
    const octets = readString(reader, 'filename');
    reader.skip(reader.u32('longname'), 'longname');
    entries.push({ name: tryText(octets), shown: fromUtf8(octets), attributes: readAttributes(reader) });
  }
  return entries;
}

function readExtensions(reader: Reader): Map<string, string> {
  const extensions = new Map<string, string>();
  while (reader.remaining > 0) extensions.set(fromUtf8(readString(reader, 'extension')), fromUtf8(readString(reader, 'extension data')));
  return extensions;
}

const EMPTY = new Uint8Array(0);
const SHA256_LENGTH = 32;
/** §3: every server takes packets of 34000 octets. With what is around the data, these fill SSH packets of 32 KiB to the brim. */
const SAFE_DATA = 32 * 1024 - 64;
const PREFERRED_DATA = 4 * 32 * 1024 - 64;
/** Of one folder. */
const MOST_ENTRIES = 1_000_000;
