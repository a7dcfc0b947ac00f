import type { Duplex } from 'node:stream';
import type { AuthContext, Connection, PublicKeyAuthContext } from 'ssh2';
import { SYSTEM_TIMING, type Timing } from '../transfer/timing.ts';
import { type AuthorizedKey, findKey, type Passwords } from './authorized-keys.ts';
import { Jail } from './jail.ts';
import { Bounds } from './server-bounds.ts';
import { JailedFiles } from './server-files.ts';
import { ServerSession, type SftpFileEvent } from './server-session.ts';
import { loadSsh2, strongAlgorithms } from './ssh2.ts';

export interface SftpServerOptions {
  /** What clients take for the whole file system. */
  readonly folder: string;
  /** A private key in OpenSSH's format or PEM. */
  readonly hostKey: string;
  readonly readOnly?: boolean;
  /** Absent, with `passwords` absent too: who a peer is, the tunnel has proven already. */
  readonly authorizedKeys?: readonly AuthorizedKey[] | undefined;
  readonly passwords?: Passwords | undefined;
  /** Octets of the largest file; absent: any. */
  readonly largest?: number | undefined;
  /** Octets of the disk that stay free; absent: none. */
  readonly keepFree?: number | undefined;
  /** Octets that are free where a folder is; undefined where nobody can tell. */
  readonly freeOf?: (folder: string) => number | undefined;
  /** Connections at a time. */
  readonly connections?: number;
  /** Of one peer. */
  readonly connectionsPerPeer?: number;
  /** Files and folders that one session has open. */
  readonly handles?: number;
  readonly onEvent?: (event: SftpServerEvent) => void;
  readonly timing?: Timing;
  readonly wallClock?: () => number;
}

export type SftpServerEvent = { readonly peer: string } & ({ readonly kind: 'opened' | 'closed'; readonly user: string } | SftpFileEvent);

/** SFTP for the peers of the tunnel, jailed to a folder. It opens no port by itself: it speaks only on the streams that it is handed. */
export class SftpServer {
  readonly #options: SftpServerOptions;
  readonly #timing: Timing;
  readonly #jail: Jail;
  readonly #files: JailedFiles;
  readonly #ssh2: typeof import('ssh2');
  readonly #streams = new Map<Duplex, string>();

  /** @throws TransferError when the folder is missing or not ours, DataPlaneError `SSH2_MISSING` */
  static async open(options: SftpServerOptions): Promise<SftpServer> {
    const ssh2 = await loadSsh2();
    return new SftpServer(options, await Jail.open(options.folder), ssh2);
  }

  private constructor(options: SftpServerOptions, jail: Jail, ssh2: typeof import('ssh2')) {
    this.#options = options;
    this.#timing = options.timing ?? SYSTEM_TIMING;
    this.#jail = jail;
    this.#files = new JailedFiles(jail, options.readOnly ?? false, new Bounds(options));
    this.#ssh2 = ssh2;
  }

  /** Speaks SSH on one connection. @param peer who is at the other end, as the tunnel's authentication says. */
  accept(stream: Duplex, peer: string): void {
    const { connections = 64, connectionsPerPeer = 16 } = this.#options;
    const ofPeer = [...this.#streams.values()].filter((each) => each === peer).length;
    stream.on('error', () => stream.destroy());
    if (this.#streams.size >= connections || ofPeer >= connectionsPerPeer) {
      stream.destroy();
      return;
    }
    this.#streams.set(stream, peer);
    stream.once('close', () => this.#streams.delete(stream));
    stream.once('end', () => stream.end());
    // one for each connection, since ssh2 does not say which stream a connection came on; it never listens
    const { Server } = this.#ssh2;
    const ssh = new Server({ hostKeys: [this.#options.hostKey], algorithms: strongAlgorithms(), ident: 'Tunnelwright' });
    ssh.once('connection', (connection) => this.#greet(connection, stream, peer));
    // a stream behaves like a socket as far as ssh2 is concerned
    ssh.injectSocket(stream as Parameters<typeof ssh.injectSocket>[0]);
    // who does not read what is answered is not listened to either
    stream.on('data', () => {
      if (stream.writableLength <= MOST_UNREAD) return;
      stream.pause();
      stream.once('drain', () => stream.resume());
    });
  }

  /** Ends every connection. */
  async close(): Promise<void> {
    const streams = [...this.#streams.keys()];
    const closed = streams.map((stream) => new Promise<void>((resolve) => void stream.once('close', resolve)));
    for (const stream of streams) stream.destroy();
    await Promise.all(closed);
    await this.#jail.close();
  }

  #greet(connection: Connection, stream: Duplex, peer: string): void {
    const gone = new AbortController();
    let user = '';
    let opened = false;
    const cancel = this.#timing.after(LOGIN_TIME, () => stream.destroy());
    stream.once('close', () => {
      cancel();
      gone.abort();
      if (opened) this.#options.onEvent?.({ kind: 'closed', peer, user });
    });
    // what a client does wrong is its own business, and ends it
    connection.on('error', () => stream.destroy());
    const desk = new LoginDesk(this.#options, this.#ssh2.utils.parseKey, this.#timing, () => stream.destroy());
    connection.on('authentication', (context) => {
      user = context.username;
      desk.answer(context);
    });
    connection.once('ready', () => {
      cancel();
      opened = true;
      this.#options.onEvent?.({ kind: 'opened', peer, user });
      this.#serve(connection, peer, gone.signal);
    });
  }

  #serve(connection: Connection, peer: string, signal: AbortSignal): void {
    let sessions = 0;
    connection.on('session', (accept, reject) => {
      if (sessions >= MOST_SESSIONS) {
        reject();
        return;
      }
      sessions++;
      const session = accept();
      session.once('close', () => sessions--);
      session.on('subsystem', (acceptIt, rejectIt, { name }) => {
        if (name !== 'sftp') {
          rejectIt?.();
          return;
        }
        const { handles = 64, wallClock = Date.now, onEvent } = this.#options;
        const onFile = (event: SftpFileEvent): void => onEvent?.({ ...event, peer });
        const channel = acceptIt();
        void new ServerSession(channel, { files: this.#files, handles, wallClock, onFile, signal }).run().then(() => {
          // scp takes a channel that ends without one for a failure
          channel.exit(0);
          channel.end();
        });
      });
    });
  }
}

/** Lets in whom the tunnel has proven, or who shows a key or a password where that is asked for as well. */
class LoginDesk {
  readonly #options: SftpServerOptions;
  readonly #parseKey: typeof import('ssh2').utils.parseKey;
  readonly #timing: Timing;
  readonly #giveUp: () => void;
  #failures = 0;
  /** Which methods there are, and whether a key would do. */
  #questions = 0;

  constructor(options: SftpServerOptions, parseKey: typeof import('ssh2').utils.parseKey, timing: Timing, giveUp: () => void) {
    this.#options = options;
    this.#parseKey = parseKey;
    this.#timing = timing;
    this.#giveUp = giveUp;
  }

  /** Answers a request for authentication (RFC 4252 §5). */
  answer(context: AuthContext): void {
    const { authorizedKeys, passwords } = this.#options;
    const byTunnel = authorizedKeys === undefined && passwords === undefined;
    // a key without a signature only asks whether that key would do
    const byKey = context.method === 'publickey' && this.#holdsKey(context);
    const byPassword = context.method === 'password' && passwords?.fits(context.username, context.password) === true;
    if (byTunnel || byKey || byPassword) context.accept();
    else this.#refuse(context);
  }

  #holdsKey(context: PublicKeyAuthContext): boolean {
    const known = findKey(this.#options.authorizedKeys ?? [], context.key.data);
    // RFC 8332: an RSA key that signs with SHA-1 proves nothing any more
    if (known === undefined || (known.type === 'ssh-rsa' && context.hashAlgo === undefined)) return false;
    if (context.signature === undefined || context.blob === undefined) return true;
    const key = this.#parseKey(known.text);
    return !(key instanceof Error) && key.verify(context.blob, context.signature, context.hashAlgo) === true;
  }

  #refuse(context: AuthContext): void {
    const methods = [
      ...(this.#options.authorizedKeys === undefined ? [] : (['publickey'] as const)),
      ...(this.#options.passwords === undefined ? [] : (['password'] as const)),
    ];
    const onlyAsks = context.method === 'none' || (context.method === 'publickey' && context.signature === undefined);
    if (onlyAsks ? ++this.#questions > MOST_QUESTIONS : ++this.#failures >= MOST_FAILURES) this.#giveUp();
    else if (onlyAsks) context.reject(methods);
    else this.#timing.after(FAILURE_DELAY, () => context.reject(methods));
  }
}

/** Octets of answers that wait for a peer to read. */
const MOST_UNREAD = 4 * 1024 * 1024;
/** Milliseconds, as OpenSSH's LoginGraceTime. */
const LOGIN_TIME = 120_000;
const FAILURE_DELAY = 1000;
const MOST_FAILURES = 6;
/** Agents hold many keys, and offer each. */
const MOST_QUESTIONS = 32;
/** Channels of one connection. */
const MOST_SESSIONS = 8;
