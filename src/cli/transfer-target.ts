import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { formatIp, isIpv6, TunnelwrightError, tryParseIp } from '../core/bytes/index.ts';
import { formatIdentity } from '../core/pki/identity.ts';
import { ConfigAttributeType } from '../core/wire/iana.ts';
import type { TrafficSelector } from '../core/wire/payloads/types.ts';
import type { IkeSaStatus } from '../host/engine/engine.ts';
import type { Instance } from '../host/engine/instance.ts';
import type { Way } from '../host/platform/way.ts';
import type {
  GetRequest,
  Listed,
  ListRequest,
  SendRequest,
  TransferProgress,
  TransferResult,
  Transferred,
  TransferShape,
  TransferTarget,
} from '../product/control/api.ts';
import {
  type Connect,
  get,
  getTree,
  getUrl,
  list,
  Pace,
  SYSTEM_TIMING,
  send,
  sendTree,
  TransferError,
  type TreeResult,
} from '../product/transfer/index.ts';
import { CliError } from './errors.ts';
import { SpiLedger } from './spi-ledger.ts';

/** Moves files with the peers of an instance, through its own sockets inside the tunnels. */
export class InstanceTransfer implements TransferTarget {
  readonly #instance: Instance;
  readonly #inside: Pick<Way, 'connect'>;
  readonly #port: number;
  /** Where peers said that they are found, by IKE SA. */
  readonly #servers = new Map<number, readonly string[]>();

  /**
   * @param inside through the tunnels of the instance
   * @param port of the file service at the other end
   */
  constructor(instance: Instance, inside: Pick<Way, 'connect'>, port: number) {
    this.#instance = instance;
    this.#inside = inside;
    this.#port = port;
    instance.onNotice(({ notice }) => {
      if (notice.kind === 'addresses') this.#servers.set(notice.ikeSa, serversOf(notice.attributes));
      else if (notice.kind === 'ike-rekeyed') this.#servers.set(notice.to, this.#servers.get(notice.from) ?? []);
      else if (notice.kind === 'ike-down') this.#servers.delete(notice.ikeSa);
    });
  }

  send(request: SendRequest, progress: (event: TransferProgress) => void, signal: AbortSignal): Promise<Transferred> {
    return this.#counted('out', request.peer, progress, (told) => this.#send(request, told, signal));
  }

  get(request: GetRequest, progress: (event: TransferProgress) => void, signal: AbortSignal): Promise<Transferred> {
    const peer = 'peer' in request ? request.peer : undefined;
    return this.#counted('in', peer, progress, (told) => this.#get(request, told, signal));
  }

  async list({ peer, path }: ListRequest, signal: AbortSignal): Promise<readonly Listed[]> {
    return list({ ...(await this.#way(peer)), path, signal });
  }

  /** Counts what the SPIs carry meanwhile. @param peer whose; absent, or behind a tunnel: all of them */
  async #counted(
    direction: 'in' | 'out',
    peer: string | undefined,
    progress: (event: TransferProgress) => void,
    work: (progress: (event: TransferProgress) => void) => Promise<readonly TransferResult[]>,
  ): Promise<Transferred> {
    const of = peer === undefined ? undefined : this.#find(peer);
    const sas = () => this.#instance.ikeSas().filter((sa) => of === undefined || idOf(sa) === idOf(of));
    const ledger = new SpiLedger(sas());
    const files = await work((event) => {
      ledger.look(sas());
      progress(event);
    });
    ledger.look(sas());
    const counts = ledger.counts.filter(({ packets }) => packets > 0);
    const spis = counts.map(({ dropped: _, ...count }) => count);
    const carried = spis.filter((count) => count.direction === direction).reduce((sum, { bytes }) => sum + bytes, 0);
    const moved = files.reduce((sum, { bytes, resumedFrom }) => sum + bytes - resumedFrom, 0);
    const compressed = sas().some(({ children }) => children.some((child) => child.packets?.includes(IPCOMP)));
    return { files, spis, outside: compressed ? undefined : Math.max(0, moved - carried) };
  }

  async #send(request: SendRequest, progress: (event: TransferProgress) => void, signal: AbortSignal): Promise<TransferResult[]> {
    const { connect, host } = await this.#way(request.peer);
    const { files, path, parallel } = request;
    const options = { connect, host, onProgress: progress, signal, parallel, pace: paceOf(request) };
    if (files.length > 1 || (await isFolder(files[0]!))) {
      // Several files go into a folder, whether the path says so or not.
      const to = files.length > 1 && path !== '' && !path.endsWith('/') ? `${path}/` : path;
      const sent = await sendTree({ ...options, files, to });
      const name = files.map((file) => basename(file)).join(' ');
      return [treeResult(files.length > 3 ? `${files.length} files and folders` : name, to, sent)];
    }
    const { storedAs, ...sent } = await send({ ...options, file: files[0]!, to: path });
    return [fileResult(basename(files[0]!), { ...sent, path: storedAs })];
  }

  async #get(request: GetRequest, progress: (event: TransferProgress) => void, signal: AbortSignal): Promise<TransferResult[]> {
    const { parallel } = request;
    const common = { onProgress: progress, signal, to: request.destination, parallel, pace: paceOf(request) };
    if ('url' in request) {
      const { url, ca } = request;
      return [fileResult(url, await getUrl({ ...common, way: this.#inside, url, ca }))];
    }
    const options = { ...common, ...(await this.#way(request.peer)) };
    const tree = async (): Promise<TransferResult[]> => {
      const got = await getTree({ ...options, from: request.path });
      return [treeResult(request.path, got.path, got)];
    };
    if (request.path === '' || request.path.endsWith('/')) return await tree();
    try {
      return [fileResult(request.path, await get({ ...options, from: { path: request.path } }))];
    } catch (cause) {
      if (cause instanceof TransferError && cause.code === 'TRANSFER_NOT_A_FILE' && cause.side === 'there') return await tree();
      throw cause;
    }
  }

  /**
   * How to reach the file service of a peer; its address is asked for anew each time, since after a reconnect it may be elsewhere.
   * @throws CliError `NO_FILE_SERVICE` when the peer is there but serves no files: nothing to wait for; why an address or a name behind the
   *   tunnel, which nobody vouches for, was not reached
   */
  async #way(peer: string): Promise<{ readonly connect: Connect; readonly host: string }> {
    const host = this.#address(peer);
    const dial: Connect = () => this.#inside.connect({ host: this.#address(peer), port: this.#port, timeout: DIAL_TIMEOUT });
    let first: ReturnType<Connect> | undefined = dial();
    await first.catch((error: unknown) => {
      first = undefined;
      if (!(error instanceof TunnelwrightError)) return;
      // a peer that is connected may be busy for a while; what only might be behind the tunnel is not waited for
      if (host === peer && error.code !== 'ECONNREFUSED') throw error;
      if (error.code !== 'ECONNREFUSED') return;
      throw new CliError(`${peer} serves no files inside the tunnel (nothing at ${host}, port ${this.#port})`, {
        code: 'NO_FILE_SERVICE',
        hint: 'Start it there with --inbox FOLDER to take files, or --share FOLDER to give them.',
        cause: error,
      });
    });
    const connect: Connect = () => {
      const stream = first ?? dial();
      first = undefined;
      return stream;
    };
    return { host: isIpv6(host) ? `[${host}]` : host, connect };
  }

  #address(peer: string): string {
    const only = this.#find(peer);
    if (only === undefined) {
      if (tryParseIp(peer) !== undefined) return peer;
      // A name behind the tunnel, for its own DNS.
      if (peer.includes('.') && this.#up.length > 0) return peer;
      throw new CliError(`${peer} is not connected`, {
        code: 'NO_SUCH_PEER',
        hint: `Connected: ${this.#up.map((candidate) => idOf(candidate) ?? candidate.connection).join(', ') || 'nobody'}.`,
      });
    }
    const [address] = this.#candidates(only);
    if (address !== undefined) return address;
    throw new CliError(`where ${peer} keeps its files inside the tunnel is not known`, {
      code: 'NO_SUCH_PEER',
      hint: 'Name the inner address of the machine instead: tunnelwright send FILE 10.0.0.5:',
    });
  }

  get #up(): IkeSaStatus[] {
    return this.#instance.ikeSas().filter(({ state }) => state === 'established' || state === 'rekeying');
  }

  #find(peer: string): IkeSaStatus | undefined {
    const up = this.#up;
    const sa =
      up.find(({ connection }) => connection === peer) ??
      up.find((candidate) => idOf(candidate) === peer) ??
      up.find((candidate) => idOf(candidate)?.split('@')[0] === peer);
    return sa ?? (peer === this.#instance.name && up.length === 1 ? up[0] : undefined);
  }

  /** As client: where the gateway said it is, or the one host behind it. As gateway: the address that the client was given. */
  #candidates(sa: IkeSaStatus): string[] {
    const hosts = sa.children.flatMap((child) => child.remoteTs.flatMap(singleHost));
    if (!sa.assignedToUs && sa.assigned.length > 0) return [...sa.assigned, ...hosts];
    return [...(this.#servers.get(sa.id) ?? []), ...hosts];
  }
}

const paceOf = ({ limit }: TransferShape): Pace | undefined => (limit === undefined ? undefined : new Pace(limit, SYSTEM_TIMING));

function serversOf(attributes: readonly { readonly type: number; readonly value: Uint8Array }[]): string[] {
  const of = (type: number, length: number) =>
    attributes.filter((attribute) => attribute.type === type && attribute.value.length === length).map(({ value }) => formatIp(value));
  return [...of(ConfigAttributeType.INTERNAL_IP4_SERVER, 4), ...of(ConfigAttributeType.INTERNAL_IP6_SERVER, 16)];
}

function singleHost(ts: TrafficSelector): string[] {
  if (!('start' in ts) || ts.start.some((octet, i) => octet !== ts.end[i])) return [];
  return [formatIp(ts.start)];
}

const fileResult = (name: string, { path, bytes, sha256, took, resumedFrom, mended }: Omit<TransferResult, 'name'>): TransferResult => ({
  name,
  path,
  bytes,
  sha256,
  took,
  resumedFrom,
  ...(mended === undefined || mended.length === 0 ? {} : { mended }),
});

function treeResult(name: string, path: string, { bytes, files, known, skipped, skippedCount, took }: TreeResult): TransferResult {
  const tree = { files, known: known.files, skipped: [...skipped], skippedCount };
  return { name, path, bytes, sha256: null, took, resumedFrom: known.bytes, tree };
}

/** What cannot be looked at is a file: to open it will say why. */
const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

const idOf = (sa: IkeSaStatus): string | undefined => (sa.remoteId === undefined ? undefined : formatIdentity(sa.remoteId));

const DIAL_TIMEOUT = 15_000;
/** As a child says it of itself. */
const IPCOMP = 'IPComp';
