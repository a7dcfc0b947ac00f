import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { tryParseIp } from '../../core/bytes/index.ts';
import type { Way } from '../../host/platform/way.ts';

type Created = (error: Error | null, stream: Duplex) => void;

/** For `node:http`: connections through a way; those that are idle are used again. */
export class WayAgent extends HttpAgent {
  readonly #way: Way;

  constructor(way: Way) {
    super(POOL);
    this.#way = way;
  }

  override createConnection(options: object, created?: Created): undefined {
    settle(this.#way.connect(targetOf(options, 80)), created);
  }
}

/** For `node:https`: TLS through a way. The certificate is checked against the name that was asked for, as ever. */
export class SecureWayAgent extends HttpsAgent {
  readonly #way: Way;

  constructor(way: Way, options: Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'rejectUnauthorized'> = {}) {
    super({ ...POOL, ...options });
    this.#way = way;
  }

  override createConnection(options: object, created?: Created): undefined {
    settle(
      this.#way.connect(targetOf(options, 443)).then((stream) => secured(stream, options)),
      created,
    );
  }
}

/**
 * For undici, and so for `fetch`: `new Agent({connect: wayConnector(way)})` is a dispatcher that goes through the tunnel.
 */
export function wayConnector(way: Way): (options: object, created: Created) => void {
  return (options, created) => {
    const { protocol } = options as { readonly protocol?: string };
    const secure = protocol === 'https:';
    const stream = way.connect(targetOf(options, secure ? 443 : 80));
    settle(secure ? stream.then((plain) => secured(plain, options)) : stream, created);
  };
}

function secured(stream: Duplex, options: object): Promise<TLSSocket> {
  const { servername, ...rest } = options as ConnectionOptions & { readonly path?: string; readonly socketPath?: string };
  const { host } = targetOf(options, 443);
  // `path` would make it a unix socket
  const { path: _path, socketPath: _socketPath, ...plain } = rest;
  return new Promise((resolve, reject) => {
    const tls = connectTls({ ...plain, host, servername: servername || (tryParseIp(host) === undefined ? host : ''), socket: stream });
    tls.once('error', reject);
    tls.once('secureConnect', () => {
      tls.off('error', reject);
      resolve(tls);
    });
  });
}

function targetOf(options: object, standard: number): { readonly host: string; readonly port: number } {
  const { host, hostname, port } = options as { readonly host?: string; readonly hostname?: string; readonly port?: number | string };
  // of undici `host` holds the port, too
  return { host: (hostname ?? host ?? '').replace(/^\[(.*)\]$/, '$1'), port: Number(port || standard) };
}

function settle(stream: Promise<Duplex>, created: Created | undefined): undefined {
  stream.then(
    (open) => created?.(null, open),
    (error: Error) => created?.(error, undefined as never),
  );
}

const POOL = { keepAlive: true, maxFreeSockets: 64, timeout: 60_000 };
