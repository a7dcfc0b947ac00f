import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { CertificateFailure, tryParseIp } from '../../core/bytes/index.ts';
import type { Way } from '../../host/platform/way.ts';
import { errnoOf, TransferError } from './errors.ts';
import { type GetOptions, type GetResult, get, nameInPath } from './get.ts';
import { PeerHttp } from './peer-http.ts';

export interface GetUrlOptions extends Omit<GetOptions, 'connect' | 'host' | 'from' | 'stamp'> {
  readonly way: Pick<Way, 'connect'>;
  /** `http:` or `https:`; its name is resolved at the far end of the way. */
  readonly url: string;
  /** Certificates, PEM, that are trusted in the place of those that Node trusts. */
  readonly ca?: string | undefined;
}

/**
 * Gets what an URL names from any HTTP server behind a tunnel, as `get` does: in parallel ranges where the server has them, resumed where it has
 * strong validators too. Redirects are followed, but not from TLS to none.
 * @throws TransferError; CertificateFailure `TLS_CERTIFICATE`; what the way says of a server that it cannot reach
 */
export async function getUrl({ way, url: text, ca, parallel = PARALLEL, ...options }: GetUrlOptions): Promise<GetResult> {
  const asked = parse(text);
  const open = (url: URL) => connectTo(way, url, ca, options.signal);
  const url = await redirected(asked, open, options);
  const from = { url: `${url.pathname}${url.search}`, name: nameInPath(decoded(asked.pathname)) };
  return await get({ ...options, parallel, from, connect: () => open(url), host: url.host });
}

function parse(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:')
    throw new TransferError(`${text} is no URL of HTTP`, { code: 'TRANSFER_BAD_PATH', hint: 'Write https://HOST/FILE.' });
  if (url.username !== '' || url.password !== '')
    throw new TransferError('a URL with a password in it is not taken: everybody on this machine sees it', {
      code: 'TRANSFER_BAD_PATH',
      hint: 'Leave out what stands before the @.',
    });
  return url;
}

/** Where the redirects end. Connections are made here first, so that what cannot be reached at all is said at once. */
async function redirected(
  url: URL,
  open: (url: URL) => Promise<Duplex>,
  options: Pick<GetUrlOptions, 'idleTimeout' | 'timing' | 'signal'>,
): Promise<URL> {
  const { signal } = options;
  for (let hops = 0; hops <= MOST_REDIRECTS; hops++) {
    const stream = await open(url);
    const peer = new PeerHttp({ connect: () => Promise.resolve(stream), host: url.host, ...options });
    try {
      const response = await peer.request('HEAD', `${url.pathname}${url.search}`, { signal });
      await response.discard();
      const location = response.header('location');
      if (!REDIRECTS.has(response.status) || location === undefined) return url;
      const next = parse(new URL(location, url).href);
      if (url.protocol === 'https:' && next.protocol === 'http:')
        throw new TransferError(`${url.host} redirects to ${next.href}, which nothing protects behind the tunnel`, {
          code: 'TRANSFER_FORBIDDEN',
          side: 'there',
          hint: 'Ask for that URL, if that is what you want.',
        });
      url = next;
    } finally {
      peer.close();
      stream.destroy();
    }
  }
  throw new TransferError(`${url.host} redirects without end`, { code: 'TRANSFER_PROTOCOL', side: 'there' });
}

async function connectTo(way: GetUrlOptions['way'], url: URL, ca: string | undefined, signal: AbortSignal | undefined): Promise<Duplex> {
  const secure = url.protocol === 'https:';
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const stream = await way.connect({ host, port: Number(url.port || (secure ? 443 : 80)), timeout: DIAL_TIMEOUT, signal });
  return secure ? await secured(stream, host, ca) : stream;
}

function secured(socket: Duplex, host: string, ca: string | undefined): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const name = tryParseIp(host) === undefined ? { servername: host } : {};
    const tls = connectTls({
      socket,
      host,
      ...name,
      ...(ca === undefined ? {} : { ca }),
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
    });
    const failed = (cause: Error): void => {
      socket.destroy();
      reject(tls.authorizationError ? untrusted(host, cause) : cause);
    };
    tls.once('error', failed);
    tls.once('secureConnect', () => {
      tls.off('error', failed);
      resolve(tls);
    });
  });
}

const untrusted = (host: string, cause: Error): CertificateFailure =>
  new CertificateFailure(`the certificate of ${host} is not accepted: ${cause.message}`, {
    code: 'TLS_CERTIFICATE',
    cause,
    hint:
      errnoOf(cause) === 'ERR_TLS_CERT_ALTNAME_INVALID'
        ? 'Ask for it under the name in its certificate.'
        : 'If an authority of your own has issued it, name that with --ca FILE.',
  });

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** A way may lose now and then, and each connection is slowed down by its own losses alone. */
const PARALLEL = 4;
const MOST_REDIRECTS = 10;
/** Milliseconds. */
const DIAL_TIMEOUT = 15_000;
