import { equalBytes } from '../../core/bytes/bytes.ts';
import { TunnelwrightError } from '../../core/bytes/errors.ts';
import { formatIp, parseIp, tryParseIp } from '../../core/bytes/ip-address.ts';
import { getU32, IpProtocol, IpView } from '../../core/packet/index.ts';
import { type CaptureCipher, createCaptureCipher } from './capture-cipher.ts';
import { describeInner, hex32 } from './inner-packet.ts';
import { octets } from './octets.ts';
import type { EspKeys } from './wireshark.ts';

export interface EspFacts {
  /** Hex. */
  readonly spi: string;
  readonly sequence: number;
  /** From the SPI to the end. */
  readonly octets: number;
  /** `opened`: decrypted, ICV verified. `unverified`: decrypted, but no key to verify with. `sealed`: no keys. `refused`: the ICV is wrong. */
  readonly protection: 'opened' | 'unverified' | 'sealed' | 'refused';
  /** The packet inside, where it was opened. */
  readonly nextHeader?: number;
  readonly inner?: string;
}

export interface DecodedEsp {
  readonly summary: string;
  readonly lines: readonly string[];
  readonly esp: EspFacts;
}

/** Reads ESP packets in the order of a capture, and opens them where it has keys. */
export class EspDecoder {
  readonly #sas: readonly Sa[];

  constructor(keys: readonly EspKeys[]) {
    this.#sas = keys.map((row) => ({ keys: row, cipher: undefined, esn: undefined }));
  }

  /** @param data from the SPI on; undefined when that is less than an ESP header */
  decode(data: Uint8Array, source: string, destination: string, depth = 0): DecodedEsp | undefined {
    if (data.length < HEADER) return undefined;
    const spi = getU32(data, 0);
    const facts = { spi: hex32(data, 0), sequence: getU32(data, 4), octets: data.length };
    const title = `ESP ${facts.spi} seq ${facts.sequence}`;
    const sas = this.#candidates(spi, source, destination);
    if (sas.length === 0) return { summary: `${title}, ${octets(data.length)}`, lines: [], esp: { ...facts, protection: 'sealed' } };
    const notes: string[] = [];
    for (const sa of sas) {
      const packet = open(sa, data, notes);
      if (packet === undefined) continue;
      const { inner, nested } = this.#describe(packet, depth);
      const protection = packet.verified ? 'opened' : 'unverified';
      const remark = packet.verified ? '' : '  (ICV not verified)';
      return {
        summary: `${title}  { ${inner} }${remark}`,
        lines: nested,
        esp: { ...facts, protection, nextHeader: packet.nextHeader, inner },
      };
    }
    if (notes.length === 0) notes.push('! the integrity check fails under the keys given for this SPI');
    return { summary: `${title}, ${octets(data.length)}  WRONG ICV`, lines: notes, esp: { ...facts, protection: 'refused' } };
  }

  /** The SAs of an SPI. Those made for other addresses come last, since MOBIKE moves an SA, and only where an ICV tells right from wrong. */
  #candidates(spi: number, source: string, destination: string): Sa[] {
    const sas = this.#sas.filter(({ keys }) => keys.spi === spi);
    const here = sas.filter(({ keys }) => covers(keys.source, source) && covers(keys.destination, destination));
    return [...here, ...sas.filter((sa) => !here.includes(sa) && sa.keys.integrity.kind !== 'unchecked')];
  }

  /** ESP inside ESP is opened too, so far as the nesting is one that people build. */
  #describe({ nextHeader, data }: Opened, depth: number): { inner: string; nested: string[] } {
    const inner = describeInner(nextHeader, data);
    const view = new IpView();
    if (depth >= MAX_DEPTH || (nextHeader !== IpProtocol.IPV4 && nextHeader !== IpProtocol.IPV6) || !view.parse(data))
      return { inner, nested: [] };
    if (view.protocol !== IpProtocol.ESP || view.fragment) return { inner, nested: [] };
    const address = (at: number): Uint8Array => data.subarray(at, at + view.addressLength);
    const within = this.#inside(data.subarray(view.payload, view.end), address(view.sourceAt), address(view.destinationAt), depth);
    return { inner, nested: within };
  }

  #inside(data: Uint8Array, source: Uint8Array, destination: Uint8Array, depth: number): string[] {
    const decoded = this.decode(data, formatIp(source), formatIp(destination), depth + 1);
    return decoded === undefined ? [] : [decoded.summary, ...decoded.lines];
  }
}

interface Sa {
  readonly keys: EspKeys;
  cipher: CaptureCipher | undefined;
  /** Whether the sequence numbers are extended, once a packet has told. */
  esn: boolean | undefined;
}

interface Opened {
  readonly nextHeader: number;
  readonly data: Uint8Array;
  readonly verified: boolean;
}

/** RFC 4303 §2. A capture does not tell about extended sequence numbers: the first packet whose ICV holds either way decides. */
function open(sa: Sa, data: Uint8Array, notes: string[]): Opened | undefined {
  try {
    sa.cipher ??= createCaptureCipher(sa.keys);
  } catch (error) {
    if (!(error instanceof TunnelwrightError)) throw error;
    notes.push(`! the keys do not fit: ${error.message}`);
    return undefined;
  }
  for (const esn of sa.esn === undefined ? [false, true] : [sa.esn]) {
    const packet = data.slice();
    const end = sa.cipher.open(packet, 0, HEADER, packet.length, esn ? 0 : undefined);
    if (end < 0) continue;
    const start = HEADER + sa.cipher.ivLength;
    const padding = packet[end - 2] ?? 0;
    if (end - start < 2 + padding) {
      notes.push('! decrypted, and Pad Length exceeds the packet');
      return undefined;
    }
    sa.esn = esn;
    return { nextHeader: packet[end - 1]!, data: packet.subarray(start, end - 2 - padding), verified: sa.cipher.verified };
  }
  return undefined;
}

/** `*` covers every address, as in Wireshark. */
function covers(pattern: string, address: string): boolean {
  if (pattern === '*' || pattern === address) return true;
  const wanted = tryParseIp(pattern);
  return wanted !== undefined && equalBytes(wanted, parseIp(address));
}

const HEADER = 8;
/** Ours. */
const MAX_DEPTH = 4;
