import { resolve } from 'node:path';
import { type Address, formatAddress, fromUtf8, tryParseIp } from '../core/bytes/index.ts';
import { readSecretFile } from '../host/platform/files.ts';
import type { Way } from '../host/platform/way.ts';
import { openForward, openProxy, ProxyUser, parseForward } from '../product/reach/index.ts';
import type { CliContext } from './context.ts';
import { CliError } from './errors.ts';
import type { Output } from './output.ts';
import type { Presence } from './presence.ts';
import { failureOf } from './render/errors.ts';

/** What programs of this machine use, besides the tunnel itself. */
export interface ReachFlags {
  /** `[ADDRESS:]PORT`. */
  readonly socks?: string;
  readonly proxyAuth?: string;
  /** -L. */
  readonly local?: readonly string[];
  /** -R. */
  readonly remote?: readonly string[];
}

export interface Reach {
  /** For people: `socks5://127.0.0.1:1080`, `127.0.0.1:8080 → files.internal:80`. */
  readonly lines: readonly string[];
  close(): Promise<void>;
}

/**
 * Opens what the flags say, or nothing at all.
 * @param wayOf asked only where something is wanted of it
 * @param presence of the instance whose way it is, if that is another process
 * @throws CliError, DataPlaneError, ConfigError
 */
export async function openReach(
  wayOf: () => Way,
  flags: ReachFlags,
  context: CliContext,
  out: Output,
  presence?: Presence,
): Promise<Reach> {
  const closing: (() => Promise<void>)[] = [];
  const lines: string[] = [];
  const onFailure = (target: string, error: unknown): void => {
    const { code, message } = failureOf(error);
    // of each connection it would be the same, and it has been said
    if (presence?.there === false && code === 'NOT_RUNNING') return;
    out.note(`  ${target}: ${message}`);
  };
  const close = async (): Promise<void> => void (await Promise.all(closing.splice(0).map((each) => each())));
  if (!wantsReach(flags)) return { lines, close };
  const way = wayOf();
  try {
    if (flags.socks !== undefined) {
      const at = listenAt(flags.socks);
      const user = flags.proxyAuth === undefined ? undefined : await userFrom(resolve(context.cwd, flags.proxyAuth));
      if (user === undefined && !isLoopback(at.ip)) {
        out.warn(
          `everybody who reaches ${formatAddress(at)} can use the tunnel`,
          'Give --proxy-auth FILE (user:password), or listen on 127.0.0.1.',
        );
      }
      const proxy = await openProxy({ way, at, user, onFailure });
      closing.push(proxy.close);
      lines.push(`socks5://${formatAddress(proxy.address)}`, `http://${formatAddress(proxy.address)}`);
    }
    const specs = [
      ...(flags.local ?? []).map((text) => parseForward(text, 'local')),
      ...(flags.remote ?? []).map((text) => parseForward(text, 'remote')),
    ];
    for (const spec of specs) {
      const forward = await openForward({ way, spec, onFailure, onPresence: (there) => presence?.note(spec, there) });
      closing.push(forward.close);
      const to = `${spec.to.host.includes(':') ? `[${spec.to.host}]` : spec.to.host}:${spec.to.port}`;
      const where = spec.side === 'local' ? formatAddress(forward.address) : `tunnel port ${forward.address.port}`;
      lines.push(`${where} → ${to}${spec.protocol === 'udp' ? ' (udp)' : ''}`);
    }
    return { lines, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** These are sockets in this process. */
export const wantsReach = ({ socks, local, remote }: ReachFlags): boolean => [socks, local, remote].some((flag) => flag !== undefined);

/** `1080` and `:1080` are on loopback: a port for everybody has to be asked for by its address. @throws CliError */
export function listenAt(text: string): Address {
  const match = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([0-9.]*)):)?(\d{1,5})$/.exec(text);
  const ip = match?.[1] ?? (match?.[2] || '127.0.0.1');
  const port = Number(match?.[3]);
  if (match === null || port > 65_535 || tryParseIp(ip) === undefined)
    throw new CliError(`${text} is no address to listen on`, {
      code: 'USAGE',
      hint: 'Write [ADDRESS:]PORT, for instance 1080 or 127.0.0.1:1080.',
    });
  return { ip, port };
}

async function userFrom(file: string): Promise<ProxyUser> {
  const line = fromUtf8(await readSecretFile(file)).split(/\r?\n/, 1)[0]!;
  const colon = line.indexOf(':');
  if (colon <= 0 || colon === line.length - 1)
    throw new CliError(`${file} does not hold a name and a password`, { code: 'USAGE', hint: 'Write one line: USER:PASSWORD.' });
  return new ProxyUser(line.slice(0, colon), line.slice(colon + 1));
}

const isLoopback = (ip: string): boolean => ip.startsWith('127.') || ip === '::1';
