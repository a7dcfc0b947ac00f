import { formatIp } from '../../core/bytes/ip-address.ts';
import { IpView } from '../../core/packet/index.ts';
import { octets } from './octets.ts';

/** What an IP packet carries, whole: fragments are joined first. */
export interface IpDatagram {
  readonly source: string;
  readonly destination: string;
  /** IP protocol of `payload`. */
  readonly protocol: number;
  readonly payload: Uint8Array;
}

export type IpOutcome =
  | { readonly kind: 'whole'; readonly datagram: IpDatagram }
  /** Of a packet that is not complete yet. */
  | { readonly kind: 'fragment'; readonly source: string; readonly destination: string; readonly text: string }
  | { readonly kind: 'broken'; readonly text: string };

/** Takes IP packets in the order of a capture. What waits for its other fragments is bounded: the oldest gives way. */
export class IpDatagrams {
  readonly #view = new IpView();
  readonly #pending = new Map<string, Piece[]>();

  take(packet: Uint8Array): IpOutcome {
    const view = this.#view;
    if (!view.parse(packet)) return { kind: 'broken', text: FAULTS[view.fault ?? 'version'] };
    const source = formatIp(packet.subarray(view.sourceAt, view.sourceAt + view.addressLength));
    const destination = formatIp(packet.subarray(view.destinationAt, view.destinationAt + view.addressLength));
    const payload = packet.subarray(view.payload, view.end);
    if (!view.fragment) return { kind: 'whole', datagram: { source, destination, protocol: view.protocol, payload } };
    const key = `${source} ${destination} ${view.identification} ${view.version === 4 ? view.protocol : 6}`;
    const whole = this.#join(key, { offset: view.fragmentOffset, more: view.moreFragments, protocol: view.protocol, data: payload });
    if (whole !== undefined) return { kind: 'whole', datagram: { source, destination, ...whole } };
    return { kind: 'fragment', source, destination, text: `IP fragment, ${octets(payload.length)} from ${view.fragmentOffset} on` };
  }

  #join(key: string, piece: Piece): { protocol: number; payload: Uint8Array } | undefined {
    const pieces = this.#pending.get(key) ?? [];
    this.#pending.delete(key);
    // The same piece again is a retransmission of the network's making.
    if (!pieces.some(({ offset }) => offset === piece.offset)) pieces.push(piece);
    pieces.sort((a, b) => a.offset - b.offset);
    const whole = joined(pieces);
    if (whole === undefined && pieces.length <= MAX_PIECES) {
      this.#pending.set(key, pieces);
      for (const oldest of this.#pending.keys()) if (this.#pending.size > MAX_PENDING) this.#pending.delete(oldest);
    }
    return whole;
  }
}

interface Piece {
  readonly offset: number;
  readonly more: boolean;
  readonly protocol: number;
  readonly data: Uint8Array;
}

/** The data of all pieces, when they reach from the first to the last octet without gap or overlap. */
function joined(pieces: readonly Piece[]): { protocol: number; payload: Uint8Array } | undefined {
  let end = 0;
  for (const { offset, data } of pieces) {
    if (offset !== end) return undefined;
    end += data.length;
  }
  const first = pieces[0];
  if (first === undefined || pieces.at(-1)!.more) return undefined;
  const payload = new Uint8Array(end);
  for (const { offset, data } of pieces) payload.set(data, offset);
  return { protocol: first.protocol, payload };
}

const FAULTS: Readonly<Record<NonNullable<IpView['fault']>, string>> = {
  version: 'not an IP packet',
  truncated: 'an IP header cut short',
  'header-length': 'an IP header whose length cannot be',
  'total-length': 'an IP packet of which the capture holds less than its length says',
  'extension-headers': 'IPv6 extension headers that do not fit',
  option: 'an IPv6 option that forbids further processing',
  routing: 'an IPv6 Routing header with segments left',
};

/** Ours. */
const MAX_PENDING = 256;
const MAX_PIECES = 64;
