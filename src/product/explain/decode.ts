import { TunnelwrightError } from '../../core/bytes/errors.ts';
import { formatAddress } from '../../core/bytes/ip-address.ts';
import { type CapturedPacket, getU16, IpProtocol, ipPacketOf, readCapture } from '../../core/packet/index.ts';
import { EspDecoder, type EspFacts } from './esp-decoder.ts';
import { IkeDecoder, type IkeFacts } from './ike-decoder.ts';
import { describeTransport } from './inner-packet.ts';
import { type IpDatagram, IpDatagrams } from './ip-datagrams.ts';
import { octets } from './octets.ts';
import type { EspKeys, IkeKeys } from './wireshark.ts';

export interface DecodeOptions {
  /** From `parseIkeTable`. */
  readonly ikeKeys?: readonly IkeKeys[];
  /** From `parseEspTable`. */
  readonly espKeys?: readonly EspKeys[];
  /** UDP ports besides 4500 on which IKE and ESP share a socket (RFC 3948). */
  readonly natPorts?: readonly number[];
  /** UDP ports besides 500 that carry IKE alone. */
  readonly ikePorts?: readonly number[];
}

/** One packet of a capture, as plain data: `JSON.stringify` gives all of it. */
export interface DecodedPacket {
  /** From 1, as Wireshark counts. */
  readonly number: number;
  /** Milliseconds since 1970 UTC. */
  readonly at: number;
  /** Address, and port where there is one; empty where no IP header was found. */
  readonly source: string;
  readonly destination: string;
  readonly kind: 'ike' | 'ikev1' | 'esp' | 'ah' | 'keepalive' | 'fragment' | 'malformed' | 'other';
  /** One line. */
  readonly summary: string;
  /** What `summary` leaves out: the payloads of an IKE message, remarks (which begin with `!`), packets inside packets. */
  readonly lines: readonly string[];
  readonly ike?: IkeFacts;
  readonly esp?: EspFacts;
  /** Remark that the capture keeps with the packet. */
  readonly comment?: string;
}

export interface DecodedCapture {
  readonly packets: readonly DecodedPacket[];
  /** Where and why reading stopped, when the file is damaged; what comes before is whole. */
  readonly damage?: string;
}

/**
 * Reads a capture file (pcap or pcapng) and says what it shows of IKE and IPsec. Bytes that are nothing of the kind become one line
 * that says so; only a file that is no capture at all is refused, with `MalformedMessage` (`NOT_A_CAPTURE`).
 */
export function decodeCapture(data: Uint8Array, options: DecodeOptions = {}): DecodedCapture {
  const packets: DecodedPacket[] = [];
  const decoder = new CaptureDecoder(options);
  try {
    for (const packet of readCapture(data)) packets.push(decoder.take(packet));
  } catch (error) {
    if (!(error instanceof TunnelwrightError) || error.code === 'NOT_A_CAPTURE') throw error;
    return { packets, damage: error.message };
  }
  return { packets };
}

/** The same, packet by packet: for captures that are still growing, or too big to be held decoded. */
export class CaptureDecoder {
  readonly #ip = new IpDatagrams();
  readonly #ike: IkeDecoder;
  readonly #esp: EspDecoder;
  readonly #natPorts: readonly number[];
  readonly #ikePorts: readonly number[];
  #count = 0;

  constructor(options: DecodeOptions = {}) {
    this.#ike = new IkeDecoder(options.ikeKeys ?? []);
    this.#esp = new EspDecoder(options.espKeys ?? []);
    this.#natPorts = [NAT_PORT, ...(options.natPorts ?? [])];
    this.#ikePorts = [IKE_PORT, ...(options.ikePorts ?? [])];
  }

  take(captured: CapturedPacket): DecodedPacket {
    this.#count++;
    const comment = captured.comment === undefined ? {} : { comment: captured.comment };
    return { number: this.#count, at: captured.at, ...NOWHERE, ...this.#decode(captured), ...comment };
  }

  #decode({ linkType, data, length }: CapturedPacket): Content {
    const packet = ipPacketOf(linkType, data);
    if (packet === undefined) return { kind: 'other', summary: `no IP packet (link type ${linkType}, ${octets(data.length)})`, lines: [] };
    const outcome = this.#ip.take(packet);
    if (outcome.kind === 'whole') return this.#decodeDatagram(outcome.datagram);
    if (outcome.kind === 'fragment')
      return { kind: 'fragment', summary: outcome.text, lines: [], source: outcome.source, destination: outcome.destination };
    const cut = data.length < length ? `; the capture kept ${data.length} of ${length} octets` : '';
    return { kind: 'malformed', summary: `${outcome.text}${cut}`, lines: [] };
  }

  #decodeDatagram({ source, destination, protocol, payload }: IpDatagram): Content {
    if (protocol === IpProtocol.UDP) return this.#decodeUdp(source, destination, payload);
    if (protocol === IpProtocol.ESP) return this.#decodeEsp(source, destination, payload, source, destination);
    const kind = protocol === IpProtocol.AH ? 'ah' : 'other';
    return { kind, source, destination, summary: describeTransport(protocol, payload, '', '').trim(), lines: [] };
  }

  #decodeUdp(source: string, destination: string, payload: Uint8Array): Content {
    const length = payload.length >= UDP_HEADER ? getU16(payload, 4) : 0;
    if (length < UDP_HEADER || length > payload.length)
      return { kind: 'malformed', source, destination, summary: 'a UDP header that does not fit the packet', lines: [] };
    const ports = [getU16(payload, 0), getU16(payload, 2)] as const;
    const ends = { source: formatAddress({ ip: source, port: ports[0] }), destination: formatAddress({ ip: destination, port: ports[1] }) };
    const data = payload.subarray(UDP_HEADER, length);
    if (ports.some((port) => this.#natPorts.includes(port))) return { ...ends, ...this.#decodeNat(source, destination, data, ends) };
    if (ports.some((port) => this.#ikePorts.includes(port))) return { ...ends, ...this.#ike.decode(data) };
    return { ...ends, kind: 'other', summary: `UDP, ${octets(data.length)}`, lines: [] };
  }

  /** RFC 3948 §2: a keepalive, IKE behind a non-ESP marker, or ESP. */
  #decodeNat(source: string, destination: string, data: Uint8Array, ends: Ends): Content {
    if (data.length === 1 && data[0] === 0xff) return { kind: 'keepalive', summary: 'NAT keepalive', lines: [] };
    if (data.length >= 4 && data[0] === 0 && data[1] === 0 && data[2] === 0 && data[3] === 0)
      return this.#ike.decode(data.subarray(NON_ESP_MARKER));
    return this.#decodeEsp(source, destination, data, ends.source, ends.destination);
  }

  #decodeEsp(source: string, destination: string, data: Uint8Array, from: string, to: string): Content {
    const ends = { source: from, destination: to };
    const decoded = this.#esp.decode(data, source, destination);
    if (decoded === undefined) return { ...ends, kind: 'malformed', summary: `${octets(data.length)}: neither ESP nor IKE`, lines: [] };
    return { ...ends, kind: 'esp', ...decoded };
  }
}

interface Ends {
  readonly source: string;
  readonly destination: string;
}

type Content = Partial<Ends> & Pick<DecodedPacket, 'kind' | 'summary' | 'lines'> & { readonly ike?: IkeFacts; readonly esp?: EspFacts };

const NOWHERE = { source: '', destination: '' };
const IKE_PORT = 500;
const NAT_PORT = 4500;
const UDP_HEADER = 8;
const NON_ESP_MARKER = 4;
