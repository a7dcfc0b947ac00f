import { ApiMisuse, tryParseIp } from '../../core/bytes/index.ts';

/** A port, and where it leads. */
export interface ForwardSpec {
  /** `local`: the port is on this machine (`-L`). `remote`: it is ours in the tunnel (`-R`). */
  readonly side: 'local' | 'remote';
  readonly protocol: 'tcp' | 'udp';
  /** Literal that a local port is bound to; loopback unless named. */
  readonly ip: string;
  readonly port: number;
  readonly to: { readonly host: string; readonly port: number };
}

/** `8080:files.internal:80`, `[::1]:8080:[fd00::5]:80`, `5353:10.0.0.53:53/udp`. @throws ApiMisuse `BAD_FORWARD` */
export function parseForward(text: string, side: ForwardSpec['side']): ForwardSpec {
  const [, address, protocol = 'tcp'] = /^(.*?)(?:\/(tcp|udp))?$/is.exec(text) ?? [];
  const parts = split(address ?? '');
  const [to, host, port, ip] = [parts?.pop(), parts?.pop(), parts?.pop(), parts?.pop()];
  const numbers = { port: portOf(port), to: portOf(to) };
  if (
    parts?.length !== 0 ||
    host === undefined ||
    host === '' ||
    numbers.port === undefined ||
    numbers.to === undefined ||
    numbers.to === 0
  )
    throw wrong(text, side);
  if (ip !== undefined && (side === 'remote' || tryParseIp(ip) === undefined)) throw wrong(text, side);
  return {
    side,
    protocol: protocol.toLowerCase() as ForwardSpec['protocol'],
    ip: ip ?? '127.0.0.1',
    port: numbers.port,
    to: { host, port: numbers.to },
  };
}

/** At colons, save those in brackets. */
function split(text: string): string[] | undefined {
  const parts: string[] = [];
  for (let rest = text; ; ) {
    const match = /^(?:\[([0-9a-fA-F:.]*)\]|([^:[\]\s]*))(:|$)/.exec(rest);
    if (match === null || parts.length === 4) return undefined;
    parts.push(match[1] ?? match[2]!);
    if (match[3] === '') return parts;
    rest = rest.slice(match[0].length);
  }
}

function portOf(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,5}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= 65_535 ? port : undefined;
}

const wrong = (text: string, side: ForwardSpec['side']): ApiMisuse =>
  new ApiMisuse(`${text.slice(0, 100)} does not say what leads where`, {
    code: 'BAD_FORWARD',
    hint:
      side === 'local'
        ? 'Write [ADDRESS:]PORT:HOST:PORT, with /udp behind it for UDP; for instance 8080:files.internal:80.'
        : 'Write PORT:HOST:PORT, with /udp behind it for UDP; for instance 8080:127.0.0.1:80.',
  });
