import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import type { z } from 'zod';
import { type ErrorBody, errorDocument, ROUTES, type Route, type RouteName } from './api.ts';
import type { SasDocument, StatusDocument, VersionDocument } from './documents.ts';
import { ControlError, RemoteError } from './errors.ts';
import type { GetRequest, ListRequest, PingRequest, SaSelection, SendRequest, UpRequest } from './target.ts';

type Response<Name extends RouteName> = z.output<(typeof ROUTES)[Name]['response']>;
type Counts = Response<'down'>;

/** Speaks to one running instance. Every failure is a `ControlError` (nobody there) or a `RemoteError` (it said so). */
export class ControlClient {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  version(signal?: AbortSignal): Promise<VersionDocument> {
    return this.#call('version', undefined, signal);
  }

  status(signal?: AbortSignal): Promise<StatusDocument> {
    return this.#call('status', undefined, signal);
  }

  sas(signal?: AbortSignal): Promise<SasDocument> {
    return this.#call('sas', undefined, signal);
  }

  down(selection: SaSelection, signal?: AbortSignal): Promise<Counts> {
    return this.#call('down', selection, signal);
  }

  terminate(selection: Pick<SaSelection, 'ikeSa' | 'child' | 'force'>, signal?: AbortSignal): Promise<Counts> {
    return this.#call('terminate', selection, signal);
  }

  rekey(
    selection: SaSelection & { readonly children?: boolean | undefined; readonly reauth?: boolean | undefined },
    signal?: AbortSignal,
  ): Promise<Counts> {
    return this.#call('rekey', selection, signal);
  }

  redirect(request: Pick<SaSelection, 'connection' | 'ikeSa' | 'all'> & { readonly to: string }, signal?: AbortSignal): Promise<Counts> {
    return this.#call('redirect', request, signal);
  }

  /** Ends with the line `up`. */
  up(upRequest: UpRequest, signal?: AbortSignal): AsyncGenerator<Response<'up'>> {
    return this.#stream('up', upRequest, '', signal);
  }

  send(sendRequest: SendRequest, signal?: AbortSignal): AsyncGenerator<Response<'send'>> {
    return this.#stream('send', sendRequest, '', signal);
  }

  get(getRequest: GetRequest, signal?: AbortSignal): AsyncGenerator<Response<'get'>> {
    return this.#stream('get', getRequest, '', signal);
  }

  /** What is in a folder that a peer shares. */
  list(listRequest: ListRequest, signal?: AbortSignal): Promise<Response<'list'>> {
    return this.#call('list', listRequest, signal);
  }

  /** One echo request through its tunnels. */
  ping(pingRequest: PingRequest, signal?: AbortSignal): Promise<Response<'ping'>> {
    return this.#call('ping', pingRequest, signal);
  }

  /** The address of a name, from the resolver behind its tunnels. */
  resolve(host: string, signal?: AbortSignal): Promise<Response<'resolve'>> {
    return this.#call('resolve', { host }, signal);
  }

  /** Until the signal ends it, or the instance. */
  events(
    filter: { readonly connection?: string | undefined; readonly messages?: boolean | undefined } = {},
    signal?: AbortSignal,
  ): AsyncGenerator<Response<'events'>> {
    const query = new URLSearchParams();
    if (filter.connection !== undefined) query.set('connection', filter.connection);
    if (filter.messages === true) query.set('messages', '1');
    return this.#stream('events', undefined, query.size === 0 ? '' : `?${query}`, signal);
  }

  async #call<Name extends RouteName>(name: Name, body: unknown, signal: AbortSignal | undefined): Promise<Response<Name>> {
    const response = await this.#open(name, body, '', signal);
    let text = '';
    response.setEncoding('utf8');
    for await (const part of withFailures(response, this.path)) {
      text += part;
      if (text.length > LARGEST_DOCUMENT) throw this.#misunderstood(`an answer of more than ${LARGEST_DOCUMENT} characters`);
    }
    return this.#parse(name, text);
  }

  async *#stream<Name extends RouteName>(
    name: Name,
    body: unknown,
    query: string,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Response<Name>> {
    const response = await this.#open(name, body, query, signal);
    response.setEncoding('utf8');
    try {
      for await (const line of lines(withFailures(response, this.path))) {
        const value = this.#json(line) as { event?: unknown; error?: ErrorBody };
        if (value.event === 'error' && value.error !== undefined) throw new RemoteError(value.error);
        yield this.#parse(name, line);
      }
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw error;
    } finally {
      response.destroy();
    }
  }

  async #open(name: RouteName, body: unknown, query: string, signal: AbortSignal | undefined): Promise<IncomingMessage> {
    const { method, path } = ROUTES[name] as Route;
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const asking: ClientRequest = httpRequest({
        socketPath: this.path,
        method,
        path: `${path}${query}`,
        agent: false,
        ...(payload === undefined ? {} : { headers: { 'content-type': 'application/json' } }),
        ...(signal === undefined ? {} : { signal }),
      });
      asking.once('response', resolve);
      asking.once('error', (error: NodeJS.ErrnoException) => reject(signal?.aborted ? signal.reason : this.unreachable(error)));
      asking.end(payload);
    });
    if (response.statusCode === 200) return response;
    let text = '';
    response.setEncoding('utf8');
    for await (const part of withFailures(response, this.path)) text = (text + part).slice(0, LARGEST_DOCUMENT);
    const refused = errorDocument.safeParse(this.#json(text));
    throw refused.success ? new RemoteError(refused.data.error) : this.#misunderstood(`HTTP status ${response.statusCode}`);
  }

  #parse<Name extends RouteName>(name: Name, text: string): Response<Name> {
    const result = (ROUTES[name] as Route).response.safeParse(this.#json(text));
    if (!result.success)
      throw this.#misunderstood(`an answer to ${ROUTES[name].path} that lacks ${result.error.issues[0]?.path.join('.') || 'its form'}`);
    return result.data as Response<Name>;
  }

  #json(text: string): unknown {
    try {
      return JSON.parse(text);
    } catch {
      throw this.#misunderstood('something that is not JSON');
    }
  }

  /** What it means that the socket could not be opened. */
  unreachable(cause: NodeJS.ErrnoException): ControlError {
    if (cause.code === 'EACCES' || cause.code === 'EPERM') {
      return new ControlError(`the control socket ${this.path} may not be opened by this user`, {
        code: 'CONTROL_FORBIDDEN',
        hint: 'Run this as the user who runs the instance, or with sudo.',
        cause,
      });
    }
    return new ControlError(`nothing is running at ${this.path}`, {
      code: 'NOT_RUNNING',
      hint: 'Start it: tunnelwright serve, or tunnelwright up TARGET.',
      cause,
    });
  }

  #misunderstood(what: string): ControlError {
    return new ControlError(`${this.path} gave ${what}`, {
      code: 'CONTROL_PROTOCOL',
      hint: 'Is the instance of the same version as this program? See: tunnelwright version',
    });
  }
}

async function* withFailures(response: IncomingMessage, path: string): AsyncGenerator<string> {
  try {
    yield* response as AsyncIterable<string>;
  } catch (cause) {
    throw new ControlError(`the instance at ${path} ended in the middle of its answer`, {
      code: 'CONTROL_LOST',
      hint: 'Look at its log, and start it again.',
      cause,
    });
  }
}

async function* lines(parts: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = '';
  for await (const part of parts) {
    rest += part;
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
      const line = rest.slice(0, end);
      rest = rest.slice(end + 1);
      if (line !== '') yield line;
    }
    if (rest.length > LARGEST_DOCUMENT) throw new ControlError('a line without end came', { code: 'CONTROL_PROTOCOL' });
  }
  if (rest !== '') yield rest;
}

/** Ten thousand SAs are some 20 MB. */
const LARGEST_DOCUMENT = 64 * 1024 * 1024;
