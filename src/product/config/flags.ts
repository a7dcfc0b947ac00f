import { ConfigError } from '../../core/bytes/errors.ts';
import { firstAddresses } from './compile.ts';
import type { LoadedConfig, LoadOptions } from './load.ts';
import { acceptSource } from './load.ts';
import { type Path, type Place, type Source, showPath } from './source.ts';

/** What the command line can say about a connection, in the words of its flags. */
export interface ConnectionFlags {
  readonly pskFile?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly ca?: readonly string[] | undefined;
  readonly id?: string | undefined;
  readonly remoteId?: string | undefined;
  readonly ike?: string | undefined;
  readonly esp?: string | undefined;
  /** Traffic that goes through the tunnel: prefixes of the other end. */
  readonly only?: string | undefined;
  readonly legacy?: boolean | undefined;
  readonly encap?: boolean | undefined;
  readonly tcp?: boolean | undefined;
  readonly plane?: string | undefined;
  readonly mtu?: string | undefined;
}

/** What the command line can say about a client. */
export interface ClientFlags extends ConnectionFlags {
  readonly name?: string | undefined;
  readonly share?: string | undefined;
  readonly inbox?: string | undefined;
  readonly limit?: string | undefined;
  readonly largest?: string | undefined;
  readonly keepFree?: string | undefined;
}

/** What the command line can say about a gateway. */
export interface ServeFlags extends Omit<ClientFlags, 'only'> {
  readonly address?: readonly string[] | undefined;
  readonly port?: string | undefined;
  readonly natPort?: string | undefined;
  readonly tcpPort?: string | undefined;
  readonly pool?: readonly string[] | undefined;
  /** Networks that lie behind the gateway. */
  readonly net?: string | undefined;
  readonly dns?: string | undefined;
  /** A folder for SFTP. */
  readonly sftp?: string | undefined;
}

export interface FlagOptions extends LoadOptions {
  /** Who we say we are with a pre-shared key, when nobody says; the name of the machine. */
  readonly defaultId: string;
}

/** `ike://alice@vpn.example.com:5500`, `vpn.example.com`, `192.0.2.1`, `[2001:db8::1]:500`. */
export interface Target {
  readonly host: string;
  readonly port: string | undefined;
  readonly id: string | undefined;
}

/** @throws ConfigError `TARGET` for what is neither a URL nor a host */
export function parseTarget(text: string): Target {
  const match =
    /^(?:ike:\/\/)?(?:([^@/?#]+)@)?(\[[0-9a-fA-F:.]+\]|[^:/?#@[\]]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)(?::(\d{1,5}))?\/?$/.exec(
      text.trim(),
    );
  if (match === null)
    throw new ConfigError(`${text} is not a target`, {
      code: 'TARGET',
      hint: 'Name a connection of the configuration, a host, or ike://USER@HOST.',
    });
  return { host: match[2]!.replace(/^\[|\]$/g, ''), port: match[3], id: match[1] === undefined ? undefined : decodeURIComponent(match[1]) };
}

/** A connection made of flags alone, as `up HOST --psk-file F` has it: a client that asks for an address. */
export function clientFromFlags(name: string, target: Target, flags: ClientFlags, options: FlagOptions): LoadedConfig {
  const overlay = new Overlay(undefined);
  const at = ['connections', name];
  overlay.set([...at, 'remote_addrs'], target.host, 'TARGET');
  overlay.set([...at, 'vips'], ['0.0.0.0', '::'], 'TARGET');
  if (target.port !== undefined) {
    // one port for everything, encapsulated from the first message (RFC 7296 §2.23): nobody can guess a second one
    overlay.set([...at, 'remote_port'], target.port, 'TARGET');
    overlay.set([...at, 'remote_nat_port'], target.port, 'TARGET');
  }
  if (target.id !== undefined) overlay.set([...at, 'local', 0, 'id'], target.id, 'TARGET');
  else if (flags.cert === undefined) overlay.set([...at, 'local', 0, 'id'], options.defaultId, '--id');
  overlay.set([...at, 'children', 'net', 'remote_ts'], EVERYTHING, '--only');
  authenticate(overlay, at, flags);
  // Whoever answers with a certificate must be who we asked for.
  if (flags.remoteId === undefined && flags.ca !== undefined) overlay.set([...at, 'remote', 0, 'id'], target.host, 'TARGET');
  applyConnection(overlay, at, ['net'], flags);
  applyGlobal(overlay, flags);
  applyServe(overlay, flags);
  return acceptSource(overlay.source(), options);
}

/** A gateway made of flags alone: one connection for whoever has the secret or a certificate of the authority. */
export function gatewayFromFlags(flags: ServeFlags, options: FlagOptions & { readonly defaultPools: readonly string[] }): LoadedConfig {
  const overlay = new Overlay(undefined);
  const at = ['connections', 'clients'];
  overlay.set(['pools', 'clients', 'addrs'], flags.pool ?? options.defaultPools, '--pool');
  overlay.set([...at, 'pools'], ['clients'], '--pool');
  overlay.set([...at, 'children', 'net', 'local_ts'], flags.net ?? EVERYTHING, '--net');
  if (flags.net !== undefined) overlay.set(['behind', 'net', 'networks'], flags.net, '--net');
  if (flags.cert === undefined) overlay.set([...at, 'local', 0, 'id'], options.defaultId, '--id');
  if (flags.dns !== undefined) overlay.set(['pools', 'clients', 'dns'], flags.dns, '--dns');
  authenticate(overlay, at, flags);
  applyConnection(overlay, at, ['net'], flags);
  applyGlobal(overlay, flags);
  applyServe(overlay, flags);
  const config = acceptSource(overlay.source(), options);
  if (flags.net === undefined) return config;
  // besides the networks, what the gateway itself serves: files, echo requests
  const own = firstAddresses(config.settings).map((address) => address.split('/')[0]!);
  overlay.set([...at, 'children', 'net', 'local_ts'], [flags.net, ...own].join(', '), '--net');
  return acceptSource(overlay.source(), options);
}

/** A configuration in which flags take the place of what it says. `connection` is undefined for a gateway: then only global flags are taken. */
export function withFlags(config: LoadedConfig, connection: string | undefined, flags: ClientFlags & ServeFlags): LoadedConfig {
  const overlay = new Overlay(config.source);
  if (connection !== undefined) {
    const at = ['connections', connection];
    const children = Object.keys(config.settings.connections?.[connection]?.children ?? {});
    if (flags.pskFile !== undefined || flags.cert !== undefined || flags.ca !== undefined) authenticate(overlay, at, flags);
    applyConnection(overlay, at, children, flags);
  }
  applyGlobal(overlay, flags);
  applyServe(overlay, flags);
  return acceptSource(overlay.source(), { file: config.source.file, directory: config.directory });
}

function authenticate(overlay: Overlay, at: Path, flags: ConnectionFlags): void {
  const { pskFile, cert, key, ca } = flags;
  if (pskFile === undefined && cert === undefined) {
    throw new ConfigError('how to authenticate is not said', {
      code: 'CREDENTIALS_MISSING',
      hint: 'Add --psk-file FILE, or --cert FILE --key FILE --ca FILE.',
    });
  }
  if (cert !== undefined && ca === undefined && pskFile === undefined) {
    throw new ConfigError('with --cert the other end has a certificate too, and no authority is trusted for it', {
      code: 'CREDENTIALS_MISSING',
      hint: 'Add --ca FILE.',
    });
  }
  if (key !== undefined && cert === undefined)
    throw new ConfigError('--key needs --cert', { code: 'CREDENTIALS_MISSING', hint: 'Add --cert FILE.' });
  const round = (side: string, ...more: Path) => [...at, side, 0, ...more];
  if (cert === undefined) overlay.set(round('local', 'auth'), 'psk', '--psk-file');
  else {
    overlay.set(round('local', 'auth'), 'pubkey', '--cert');
    overlay.set(round('local', 'certs'), [cert], '--cert');
    if (key !== undefined) overlay.set(round('local', 'key'), key, '--key');
  }
  if (ca === undefined) overlay.set(round('remote', 'auth'), 'psk', '--psk-file');
  else {
    overlay.set(round('remote', 'auth'), 'pubkey', '--ca');
    overlay.set(round('remote', 'cacerts'), ca, '--ca');
  }
  if (pskFile !== undefined) overlay.set(['secrets', 'flags'], { kind: 'psk', secret_file: pskFile }, '--psk-file');
}

function applyConnection(overlay: Overlay, at: Path, children: readonly string[], flags: ConnectionFlags): void {
  const put = (path: Path, value: unknown, flag: string) => {
    if (value !== undefined) overlay.set([...at, ...path], value, flag);
  };
  put(['local', 0, 'id'], flags.id, '--id');
  put(['remote', 0, 'id'], flags.remoteId, '--remote-id');
  put(['proposals'], flags.ike, '--ike');
  put(['legacy'], flags.legacy, '--legacy');
  put(['encap'], flags.encap, '--encap');
  put(['transport'], flags.tcp === true ? 'tcp' : undefined, '--tcp');
  for (const child of children) {
    put(['children', child, 'esp_proposals'], flags.esp, '--esp');
    put(['children', child, 'remote_ts'], flags.only, '--only');
  }
}

function applyGlobal(overlay: Overlay, flags: ConnectionFlags): void {
  if (flags.plane !== undefined) overlay.set(['plane'], flags.plane, '--plane');
  if (flags.mtu !== undefined) overlay.set(['mtu'], flags.mtu, '--mtu');
}

function applyServe(overlay: Overlay, flags: ServeFlags): void {
  const put = (path: Path, value: unknown, flag: string) => {
    if (value !== undefined) overlay.set(path, value, flag);
  };
  put(['name'], flags.name, '--name');
  put(['listen', 'addresses'], flags.address, '--address');
  put(['listen', 'port'], flags.port, '--port');
  // a port of one's own choice serves for everything, unless another one is named for NAT traversal
  put(['listen', 'nat_port'], flags.natPort ?? flags.port, flags.natPort === undefined ? '--port' : '--nat-port');
  put(['listen', 'tcp_port'], flags.tcpPort, '--tcp-port');
  put(['transfer', 'share'], flags.share, '--share');
  put(['transfer', 'inbox'], flags.inbox, '--inbox');
  put(['transfer', 'limit'], flags.limit, '--limit');
  put(['transfer', 'largest'], flags.largest, '--largest');
  put(['transfer', 'keep_free'], flags.keepFree, '--keep-free');
  put(['sftp', 'folder'], flags.sftp, '--sftp');
}

/** A configuration under which flags are laid: values that know which flag they came from. */
class Overlay {
  readonly #base: Source | undefined;
  readonly #value: Record<string, unknown>;
  readonly #flags = new Map<string, string>();

  constructor(base: Source | undefined) {
    this.#base = base;
    this.#value = structuredClone(base?.value ?? {}) as Record<string, unknown>;
  }

  set(path: Path, value: unknown, flag: string): void {
    let node: Record<string | number, unknown> = this.#value;
    path.slice(0, -1).forEach((part, i) => {
      const wantsList = typeof path[i + 1] === 'number';
      const there = node[part];
      // A single section may stand where a list of them is meant.
      if (there === undefined || there === null) node[part] = wantsList ? [] : {};
      else if (wantsList && !Array.isArray(there)) node[part] = [there];
      node = node[part] as Record<string | number, unknown>;
    });
    node[path.at(-1)!] = value;
    this.#flags.set(showPath(path), flag);
  }

  source(): Source {
    return { file: this.#base?.file, value: this.#value, locate: (path, prefer) => this.#locate(path, prefer) };
  }

  #locate(path: Path, prefer: 'key' | 'value' | undefined): Place {
    for (let length = path.length; length > 0; length--) {
      const flag = this.#flags.get(showPath(path.slice(0, length)));
      if (flag !== undefined) return { path: flag, file: undefined, line: undefined, column: undefined };
    }
    return this.#base?.locate(path, prefer) ?? { path: showPath(path), file: undefined, line: undefined, column: undefined };
  }
}

const EVERYTHING = '0.0.0.0/0, ::/0';
