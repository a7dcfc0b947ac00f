import { expect } from 'vitest';
import { CONGESTION_CONTROLS, type CongestionName, type TcpConfig } from '../../../../src/core/netstack/index.ts';
import { Drill } from './drill.ts';

/**
 * A script in the manner of packetdrill, a line for each step:
 *
 *     set version 6                       before anything else: version, mtu, peerPort, or a key of TcpConfig
 *     connect | listen [BACKLOG]          opens; `established [KEY VALUE]…` opens and finishes the handshake: mss, window, options
 *     < S. 0:0(0) ack 1 win 65535         the peer sends
 *     > . 1:1(0) ack 1                    we have sent, next in order
 *     > +200 . 1:1001(1000) ack 1         we send in 200 ms, not before
 *     +40                                 time passes
 *     write 3000 | read 3000 | read | shutdown | close | abort | accept | nodelay | keepalive
 *     silence [MS]                        nothing waits, and nothing is sent for so long
 *     sent [COUNT]                        whatever was sent is passed over
 *     state ESTABLISHED | error ECONNRESET | info cwnd 4000 | count tcpTimeouts 1
 *
 * `#` begins a comment; what is written of `write` counts as taken unless told otherwise. Segments are those of `Drill`.
 */
export function runScript(text: string): void {
  const lines = text
    .split('\n')
    .map((line, i) => ({ line: line.replace(/\s*#.*$/, '').trim(), number: i + 1 }))
    .filter(({ line }) => line !== '');
  const settings: Record<string, string> = {};
  while (lines[0]?.line.startsWith('set ')) {
    const [, key, value] = lines.shift()!.line.split(/\s+/);
    settings[key!] = value!;
  }
  const drill = makeDrill(settings);
  for (const { line, number } of lines) {
    try {
      step(drill, line);
    } catch (error) {
      throw new Error(`line ${number}: ${line}\n${(error as Error).message}`, { cause: error });
    }
  }
}

function makeDrill({ version, mtu, peerPort, peerIss, ...tcp }: Record<string, string>): Drill {
  return new Drill({
    ...(version === undefined ? {} : { version: Number(version) as 4 | 6 }),
    ...(mtu === undefined ? {} : { mtu: Number(mtu) }),
    ...(peerPort === undefined ? {} : { peerPort: Number(peerPort) }),
    ...(peerIss === undefined ? {} : { peerIss: Number(peerIss) }),
    tcp: Object.fromEntries(Object.entries(tcp).map(([key, value]) => [key, setting(key, value)])) as Partial<TcpConfig>,
  });
}

function setting(key: string, value: string): unknown {
  if (key === 'congestion') return CONGESTION_CONTROLS[value as CongestionName];
  return value === 'on' || value === 'off' ? value === 'on' : Number(value);
}

function step(drill: Drill, line: string): void {
  const [verb, ...words] = line.split(/\s+/);
  const rest = line.slice(verb!.length).trim();
  if (verb!.startsWith('+')) drill.elapse(Number(verb!.slice(1)));
  else {
    const run = STEPS[verb!];
    if (run === undefined) throw new Error('no such step');
    run(drill, words, rest);
  }
}

type Step = (drill: Drill, words: readonly string[], rest: string) => void;

const STEPS: Readonly<Record<string, Step>> = {
  connect: (drill) => void drill.connect(),
  listen: (drill, [backlog]) => void drill.listen(backlog === undefined ? undefined : Number(backlog)),
  established: (drill, words) => {
    const given = Object.fromEntries(words.flatMap((word, i) => (i % 2 === 0 ? [[word, words[i + 1]]] : [])));
    drill.established({
      ...(given.mss === undefined ? {} : { mss: Number(given.mss) }),
      ...(given.window === undefined ? {} : { window: Number(given.window) }),
      ...(given.options === undefined ? {} : { options: given.options.replaceAll('_', ' ') }),
    });
  },
  '<': (drill, _, rest) => void drill.inject(rest),
  '>': (drill, [first], rest) => {
    if (first!.startsWith('+')) drill.expectAfter(Number(first!.slice(1)), rest.slice(first!.length).trim());
    else drill.expect(rest);
  },
  clock: (drill, [value]) => {
    drill.peerClock = Number(value);
  },
  write: (drill, [octets, taken]) => expect(drill.write(Number(octets))).toBe(Number(taken ?? octets)),
  read: (drill, [octets]) => {
    const read = drill.read();
    if (octets !== undefined) expect(read).toBe(Number(octets));
  },
  shutdown: (drill) => drill.act((connection) => connection.shutdown()),
  close: (drill) => drill.act((connection) => connection.close()),
  abort: (drill) => drill.act((connection) => connection.abort()),
  nodelay: (drill) => drill.act((connection) => connection.setNoDelay(true)),
  keepalive: (drill) => drill.act((connection) => connection.setKeepAlive(true)),
  accept: (drill) => {
    const connection = drill.listener?.accept();
    if (connection === undefined) throw new Error('there is nothing to accept');
    drill.connection = connection;
  },
  silence: (drill, [milliseconds]) => void drill.silence(Number(milliseconds ?? 0)),
  sent: (drill, [count]) => {
    const sent = drill.sent();
    if (count !== undefined) expect(sent).toHaveLength(Number(count));
  },
  state: (drill, [state]) => expect(drill.connection.state).toBe(state),
  error: (drill, [code]) => expect(drill.connection.error).toBe(code === 'none' ? undefined : code),
  readable: (drill, [octets]) => expect(drill.connection.readable).toBe(Number(octets)),
  ended: (drill) => expect(drill.connection.ended).toBe(true),
  info: (drill, [key, value]) => expect(drill.connection.info).toMatchObject({ [key!]: Number(value) }),
  count: (drill, [key, value]) => expect(drill.stack.counters).toMatchObject({ [key!]: Number(value) }),
};
