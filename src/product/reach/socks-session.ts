import type { Duplex } from 'node:stream';
import { concat, EMPTY, MalformedMessage, TunnelwrightError } from '../../core/bytes/index.ts';
import { join } from '../../host/platform/join.ts';
import type { Way } from '../../host/platform/way.ts';
import type { ProxyUser } from './proxy-user.ts';
import {
  Command,
  Method,
  type Parsed,
  parseGreeting,
  parsePassword,
  parseRequest,
  Reply,
  type SocksTarget,
  writeMethod,
  writePasswordStatus,
  writeReply,
} from './socks-messages.ts';
import { type Association, associate } from './socks-udp.ts';

export interface SocksOptions {
  readonly way: Way;
  readonly user?: ProxyUser | undefined;
  /** Where UDP of a client is taken: the literal that its TCP connection came to. */
  readonly localIp: string;
  /** Whose datagrams are taken: the address that its TCP connection came from. */
  readonly clientIp: string;
  /** Somebody is told why a connection failed. */
  readonly onFailure?: ((target: string, error: unknown) => void) | undefined;
}

/** One client of a SOCKS5 server (RFC 1928), from its greeting to the end of what it asked for. Never rejects. */
export async function serveSocks(socket: Duplex, options: SocksOptions): Promise<void> {
  const input = new Input(socket);
  const deadline = setTimeout(() => socket.destroy(), SPEAK_WITHIN);
  try {
    if (!(await authenticated(socket, input, options.user))) return void socket.end();
    const { command, target } = await input.next(parseRequest);
    clearTimeout(deadline);
    if (target === undefined) return refuse(socket, Reply.ADDRESS_TYPE_NOT_SUPPORTED);
    if (command === Command.CONNECT) await connect(socket, input, target, options);
    else if (command === Command.UDP_ASSOCIATE) await relay(socket, options);
    else refuse(socket, Reply.COMMAND_NOT_SUPPORTED);
  } catch (error) {
    if (!(error instanceof TunnelwrightError)) throw error;
    // what is no SOCKS gets no answer that SOCKS has
    socket.destroy();
  } finally {
    clearTimeout(deadline);
  }
}

/** RFC 1928 §3, RFC 1929. */
async function authenticated(socket: Duplex, input: Input, user: ProxyUser | undefined): Promise<boolean> {
  const offered = await input.next(parseGreeting);
  const method = user === undefined ? Method.NONE : Method.PASSWORD;
  if (!offered.includes(method)) {
    socket.write(writeMethod(Method.UNACCEPTABLE));
    return false;
  }
  socket.write(writeMethod(method));
  if (user === undefined) return true;
  const claimed = await input.next(parsePassword);
  const good = user.matches(claimed.user, claimed.password);
  socket.write(writePasswordStatus(good));
  return good;
}

async function connect(socket: Duplex, input: Input, target: SocksTarget, { way, onFailure }: SocksOptions): Promise<void> {
  const gone = new AbortController();
  const onClose = (): void => gone.abort(new MalformedMessage('the client went away'));
  socket.once('close', onClose);
  let far: Duplex;
  try {
    far = await way.connect({ ...target, signal: gone.signal });
  } catch (error) {
    if (gone.signal.aborted) return;
    onFailure?.(`${target.host} port ${target.port}`, error);
    return refuse(socket, replyOf(error));
  } finally {
    socket.off('close', onClose);
  }
  if (socket.destroyed) return void far.destroy();
  socket.write(writeReply(Reply.SUCCEEDED, boundOf(far)));
  await join(socket, far, input.rest);
}

/** The association lives as long as its TCP connection (RFC 1928 §7). */
async function relay(socket: Duplex, { way, localIp, clientIp, onFailure }: SocksOptions): Promise<void> {
  let association: Association;
  try {
    association = await associate({ way, localIp, clientIp });
  } catch (error) {
    onFailure?.('UDP', error);
    return refuse(socket, replyOf(error));
  }
  if (socket.destroyed) return association.close();
  socket.write(writeReply(Reply.SUCCEEDED, { host: association.local.ip, port: association.local.port }));
  if (socket.readableEnded) socket.end();
  socket.resume();
  await new Promise<void>((resolve) => {
    socket.once('end', () => socket.end());
    socket.once('close', resolve);
    association.onEnd = () => socket.destroy();
  });
  association.close();
}

function refuse(socket: Duplex, reply: number): void {
  socket.end(writeReply(reply));
  socket.resume();
}

/** RFC 1928 §6. */
function replyOf(error: unknown): number {
  return (error instanceof TunnelwrightError ? REPLIES[error.code] : undefined) ?? Reply.GENERAL_FAILURE;
}

const REPLIES: Readonly<Record<string, number | undefined>> = {
  ECONNREFUSED: Reply.CONNECTION_REFUSED,
  EHOSTUNREACH: Reply.HOST_UNREACHABLE,
  ETIMEDOUT: Reply.HOST_UNREACHABLE,
  ENOTFOUND: Reply.HOST_UNREACHABLE,
  NO_DNS: Reply.HOST_UNREACHABLE,
  ENETUNREACH: Reply.NETWORK_UNREACHABLE,
  ENETDOWN: Reply.NETWORK_UNREACHABLE,
  EADDRNOTAVAIL: Reply.NETWORK_UNREACHABLE,
  EACCES: Reply.NOT_ALLOWED,
  FORBIDDEN: Reply.NOT_ALLOWED,
  ETTL: Reply.TTL_EXPIRED,
};

/** Our end of the connection, where the stream knows it. */
function boundOf(far: Duplex): SocksTarget | undefined {
  const { localAddress, localPort } = far as { localAddress?: unknown; localPort?: unknown };
  return typeof localAddress === 'string' && typeof localPort === 'number' ? { host: localAddress, port: localPort } : undefined;
}

/** What a client has said and nobody has read, up to the length of the longest message. */
class Input {
  readonly #socket: Duplex;
  #octets: Uint8Array = EMPTY;

  constructor(socket: Duplex) {
    this.#socket = socket;
  }

  /** The next message. @throws MalformedMessage when it is none, or the client ended before its end */
  async next<T>(parse: (octets: Uint8Array) => Parsed<T>): Promise<T> {
    for (;;) {
      const parsed = this.#octets.length === 0 ? undefined : parse(this.#octets);
      if (parsed !== undefined) {
        this.#octets = this.#octets.subarray(parsed.length);
        return parsed.value;
      }
      if (this.#octets.length > LONGEST_MESSAGE) throw new MalformedMessage('a message without end');
      const more = await readSome(this.#socket);
      if (more === undefined) throw new MalformedMessage('the client ended in the middle');
      this.#octets = concat(this.#octets, more);
    }
  }

  /** What came behind the last message. */
  get rest(): Uint8Array {
    return this.#octets;
  }
}

function readSome(socket: Duplex): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    const chunk = socket.read() as Uint8Array | null;
    if (chunk !== null) return resolve(chunk);
    if (socket.readableEnded || socket.destroyed) return resolve(undefined);
    const finish = (): void => {
      socket.off('readable', finish).off('end', finish).off('close', finish);
      resolve((socket.read() as Uint8Array | null) ?? (socket.readableEnded || socket.destroyed ? undefined : EMPTY));
    };
    socket.on('readable', finish).on('end', finish).on('close', finish);
  });
}

/** A greeting with 255 methods, or a name and a password of 255 octets. */
const LONGEST_MESSAGE = 515;
/** Milliseconds for a client to say what it wants. */
const SPEAK_WITHIN = 30_000;
