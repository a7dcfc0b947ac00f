import type { Duplex } from 'node:stream';
import type { Client } from 'ssh2';
import { AuthenticationFailure, printable } from '../../core/bytes/index.ts';
import { TransferError } from '../transfer/errors.ts';
import { ConnectionLost } from '../transfer/peer-http.ts';
import { checkHostKey, type HostKeyOptions } from './host-key.ts';
import { parseHostKey } from './known-hosts.ts';
import { type Credential, Login } from './login.ts';
import { SftpSession } from './session.ts';
import { loadSsh2, strongAlgorithms } from './ssh2.ts';

export interface ConnectionOptions {
  readonly user: string;
  readonly credentials: readonly Credential[];
  readonly hostKey: HostKeyOptions;
  /** Milliseconds from the first octet until the login stands. People are slow; servers give them two minutes. */
  readonly loginTimeout?: number;
  readonly signal?: AbortSignal | undefined;
}

/** SFTP over SSH over a stream that somebody else made; the server is known and the user let in before this is there. */
export class SftpConnection {
  readonly session: SftpSession;
  readonly #client: Client;
  readonly #stream: Duplex;

  /** @throws AuthenticationFailure, TransferError, ConnectionLost */
  static async open(stream: Duplex, options: ConnectionOptions): Promise<SftpConnection> {
    const { Client } = await loadSsh2();
    const client = new Client();
    const login = new Login(options.user, options.credentials);
    // the stream is half-open: what ends there ends here
    client.on('end', () => stream.destroy());
    const abort = (): void => void stream.destroy();
    options.signal?.addEventListener('abort', abort, { once: true });
    try {
      await authenticate(client, stream, login, options);
      return new SftpConnection(client, stream, await SftpSession.open(await sftpChannel(client)));
    } catch (cause) {
      client.end();
      stream.destroy();
      options.signal?.throwIfAborted();
      throw cause;
    } finally {
      options.signal?.removeEventListener('abort', abort);
    }
  }

  private constructor(client: Client, stream: Duplex, session: SftpSession) {
    this.#client = client;
    this.#stream = stream;
    this.session = session;
    client.on('error', () => stream.destroy());
  }

  close(): void {
    this.session.destroy();
    this.#client.end();
    this.#stream.destroy();
  }
}

async function authenticate(client: Client, stream: Duplex, login: Login, options: ConnectionOptions): Promise<void> {
  const { user, hostKey, loginTimeout = 120_000 } = options;
  const known = await hostKey.knownHosts.keysOf(hostKey.host, hostKey.port);
  let refused: unknown;
  await new Promise<void>((resolve, reject) => {
    const fail = (cause: unknown): void => reject(refused ?? loginError(cause, login, `${user}@${hostKey.host}`));
    client.once('ready', resolve);
    client.on('error', (cause) => {
      // an agent that is gone or does not sign is no way in; the next credential may be
      if (cause.level !== 'agent') fail(cause);
    });
    client.once('close', () => fail(new Error('the server closed the connection')));
    client.connect({
      sock: stream,
      username: user,
      readyTimeout: loginTimeout,
      keepaliveInterval: KEEPALIVE,
      keepaliveCountMax: 3,
      algorithms: strongAlgorithms(known.map(({ type }) => type)),
      hostVerifier: (octets: Uint8Array, verify: (good: boolean) => void) => {
        checkHost(octets, hostKey).then(
          () => verify(true),
          (cause: unknown) => {
            refused = cause;
            verify(false);
          },
        );
      },
      authHandler: (methods, _partial, next) => {
        login.next(methods as typeof methods | null).then(
          // false ends it, which the types of ssh2 leave out
          (method) => next(method as Exclude<typeof method, false>),
          (cause: unknown) => {
            refused = cause;
            next(false as never);
          },
        );
      },
    });
  });
}

async function checkHost(octets: Uint8Array, options: HostKeyOptions): Promise<void> {
  await checkHostKey(parseHostKey(new Uint8Array(octets)), options);
}

function sftpChannel(client: Client): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const lost = (): void => reject(new ConnectionLost('closed before SFTP began'));
    client.once('close', lost);
    client.subsys('sftp', (error, channel) => {
      client.off('close', lost);
      if (error === undefined) resolve(channel);
      else
        reject(
          new TransferError('the server lets the user in, but gives no SFTP', {
            code: 'TRANSFER_FORBIDDEN',
            side: 'there',
            hint: 'OpenSSH does with the line: Subsystem sftp internal-sftp',
            cause: error,
          }),
        );
    });
  });
}

/** What ssh2 says, sorted by who has to act: the user, whoever runs the server, or nobody, since trying again may help. */
function loginError(cause: unknown, login: Login, who: string): Error {
  const { level, message } = cause as { readonly level?: string; readonly message: string };
  if (level === 'client-authentication' && /authentication methods/.test(message)) {
    const tried = login.tried.length === 0 ? 'nothing that it takes could be shown' : `it refused ${login.tried.join(', ')}`;
    return new AuthenticationFailure(
      `${who}: the server does not let us in: ${tried}; it takes ${login.accepted.map(printable).join(', ')}`,
      {
        code: 'SFTP_LOGIN',
        hint: 'Name the right key with --identity, the agent with --agent, or a password with --password-file.',
        cause,
      },
    );
  }
  if (/no matching/i.test(message)) {
    return new TransferError(`the server offers only algorithms that are not safe any more (${printable(message)})`, {
      code: 'TRANSFER_PROTOCOL',
      side: 'there',
      hint: 'SHA-1, CBC and short keys are not spoken here: the server needs a newer SSH.',
      cause,
    });
  }
  return new ConnectionLost(printable(message), cause);
}

/** Milliseconds. */
const KEEPALIVE = 10_000;
