import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { must } from '../support/process.ts';

export interface Source {
  readonly capture: string;
  /** What Wireshark takes for its configuration: the key tables are looked for there. */
  readonly folder: string;
  /** UDP ports of the gateway; without them Wireshark has to know from its configuration. */
  readonly ports?: { readonly ike: number; readonly nat: number };
}

/** One IKE message as tshark reads it. */
export interface IkeMessage {
  readonly spiI: string;
  readonly spiR: string;
  readonly exchange: string;
  readonly messageId: number;
  readonly response: boolean;
  readonly decrypted: boolean;
  /** Names as tshark gives them, such as `Notify (41) - REKEY_SA`; those inside SK, too. */
  readonly payloads: readonly string[];
  /** What tshark says of it, whole. */
  readonly text: string;
}

/** Every IKE message of a capture, copies left out. */
export async function ikeMessages(source: Source): Promise<IkeMessage[]> {
  const text = await tshark(source, [...option(CLOSED), '-Y', 'isakmp', '-O', 'isakmp']);
  const messages = text.split(/^Internet Security Association and Key Management Protocol$/m).slice(1);
  const seen = new Set<string>();
  return messages.map(readMessage).filter(({ spiI, exchange, messageId, response, text }) => {
    const flags = /Flags: (0x\w+)/.exec(text)?.[1];
    const name = [spiI, exchange, messageId, response, flags].join(' ');
    return !seen.has(name) && seen.add(name);
  });
}

export interface EspPacket {
  readonly spi: string;
  readonly sequence: number;
  readonly toGateway: boolean;
}

/** Headers of every ESP packet, nothing decrypted. */
export async function espPackets(source: Source, natPort: number): Promise<EspPacket[]> {
  const fields = ['-T', 'fields', '-e', 'esp.spi', '-e', 'esp.sequence', '-e', 'udp.dstport'];
  const text = await tshark(source, [...option(CLOSED), '-Y', 'esp', ...fields]);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [spi = '', sequence = '', port = ''] = line.split('\t');
      return { spi, sequence: Number(sequence), toGateway: Number(port) === natPort };
    });
}

/** Streams of TCP that tshark finds inside ESP. */
export async function tcpStreams(source: Source): Promise<number> {
  const text = await tshark(source, [
    ...option(OPENED),
    ...WITHOUT_HTTP,
    '-Y',
    'tcp.flags.syn == 1 && tcp.flags.ack == 0',
    '-T',
    'fields',
    '-e',
    'tcp.stream',
  ]);
  return new Set(text.split('\n').filter((line) => line !== '')).size;
}

/** How many TCP segments inside ESP it shows to who starts it with the folder, and says nothing of ports or keys. */
export async function openedAsConfigured(source: Source): Promise<number> {
  const text = await tshark(source, [...WITHOUT_HTTP, '-Y', 'esp && tcp', '-T', 'fields', '-e', 'tcp.stream']);
  return text.split('\n').filter((line) => line !== '').length;
}

/**
 * What the side that connected sent in the first TCP stream inside ESP: tshark decrypts, and puts the segments in order. What was lost on
 * the way and never came again would stand in it as words, and no digest would be right.
 */
export async function sentInside(source: Source): Promise<Buffer> {
  const args = [...common(source), ...option(OPENED), ...WITHOUT_HTTP, '-q', '-z', 'follow,tcp,raw,0'];
  const child = spawn('tshark', args, { env: environment(source), stdio: ['ignore', 'pipe', 'pipe'] });
  const killer = setTimeout(() => child.kill('SIGKILL'), PATIENCE);
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const status = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? -1));
  });
  const parts: Buffer[] = [];
  // what the other side sent is behind a tab
  for await (const line of createInterface({ input: child.stdout })) if (/^[0-9a-f]+$/.test(line)) parts.push(Buffer.from(line, 'hex'));
  clearTimeout(killer);
  if ((await status) !== 0) throw new Error(`tshark ended with ${await status}\n${errors}`);
  return Buffer.concat(parts);
}

export interface HttpRequest {
  readonly method: string;
  readonly target: string;
  /** Names in lower case. */
  readonly fields: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

/** Requests one after the other on one connection (RFC 9112), each with its length in Content-Length. */
export function httpRequests(stream: Buffer): HttpRequest[] {
  const requests: HttpRequest[] = [];
  for (let at = 0; at < stream.length; ) {
    const end = stream.indexOf('\r\n\r\n', at);
    if (end < 0) throw new Error(`no HTTP request at octet ${at}: ${stream.subarray(at, at + 80).toString('latin1')}`);
    const [line = '', ...lines] = stream.subarray(at, end).toString('latin1').split('\r\n');
    const [method = '', target = '', version] = line.split(' ');
    if (version !== 'HTTP/1.1') throw new Error(`no HTTP request at octet ${at}: ${line.slice(0, 80)}`);
    const fields = new Map(
      lines.map((field) => [field.slice(0, field.indexOf(':')).toLowerCase(), field.slice(field.indexOf(':') + 1).trim()]),
    );
    const length = Number(fields.get('content-length') ?? 0);
    const body = stream.subarray(end + 4, end + 4 + length);
    if (body.length !== length) throw new Error(`${method} ${target}: ${body.length} of ${length} octets`);
    requests.push({ method, target, fields, body });
    at = end + 4 + length;
  }
  return requests;
}

function readMessage(text: string): IkeMessage {
  const field = (pattern: RegExp): string => pattern.exec(text)?.[1] ?? '';
  return {
    spiI: field(/^ {4}Initiator SPI: (\w+)$/m),
    spiR: field(/^ {4}Responder SPI: (\w+)$/m),
    exchange: field(/^ {4}Exchange type: (\w+) \(\d+\)$/m),
    messageId: Number(field(/^ {4}Message ID: (0x\w+)$/m)),
    response: /= Response: Response$/m.test(text),
    decrypted: /^ +Decrypted Data \(/m.test(text),
    // substructures of an SA payload call themselves payloads, too
    payloads: [...text.matchAll(/^ +Payload: (.*)$/gm)].map(([, name]) => name!).filter((name) => !/^(Proposal|Transform) /.test(name)),
    text,
  };
}

const tshark = (source: Source, args: readonly string[]): Promise<string> =>
  must('tshark', [...common(source), ...args], { env: environment(source), timeout: PATIENCE });

const common = ({ capture, ports }: Source): string[] => [
  '-r',
  capture,
  ...(ports === undefined ? [] : ['-d', `udp.port==${ports.ike},isakmp`, '-d', `udp.port==${ports.nat},udpencap`]),
];

const option = (value: string): string[] => ['-o', value];
const environment = ({ folder }: Source): Record<string, string> => ({
  ...(process.env as Record<string, string>),
  WIRESHARK_CONFIG_DIR: folder,
});

const OPENED = 'esp.enable_encryption_decode:TRUE';
const CLOSED = 'esp.enable_encryption_decode:FALSE';
/** HTTP is read by ourselves: tshark would put its message together anew with every segment, for a minute and more. */
const WITHOUT_HTTP = ['--disable-protocol', 'http'];
/** Milliseconds for one run of tshark over a whole capture. */
const PATIENCE = 400_000;
