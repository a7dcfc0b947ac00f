import { ApiMisuse } from '../../bytes/errors.ts';
import type { Reader } from '../../bytes/reader.ts';
import type { Writer } from '../../bytes/writer.ts';
import { PayloadType, TsType } from '../iana.ts';
import { definePayload, once, optional, type PayloadDefinition, type SampleSource } from '../payload.ts';
import { formatSelector } from '../text/selector.ts';
import type { AddressRangeSelector, TrafficSelector } from './types.ts';

/** Traffic Selector – Initiator payload. */
export const tsi = defineTs('TSi', PayloadType.TSi);
/** Traffic Selector – Responder payload. */
export const tsr = defineTs('TSr', PayloadType.TSr);

export const isAddressRange = (ts: TrafficSelector): ts is AddressRangeSelector => !('raw' in ts);

function defineTs(notation: 'TSi' | 'TSr', type: number): PayloadDefinition<'TSi' | 'TSr'> {
  return definePayload<'TSi' | 'TSr'>({
    type,
    notation,
    section: 'RFC 7296 §3.13',
    occurs: [
      ...once('CREATE_CHILD_SA request, new CHILD_SA', 'CREATE_CHILD_SA request, rekey CHILD_SA', 'CREATE_CHILD_SA response, CHILD_SA'),
      ...optional('IKE_AUTH request', 'IKE_AUTH response', 'IKE_AUTH response, after EAP'),
    ],
    parse(r) {
      const count = r.u8('Number of TSs');
      r.skip(3, 'RESERVED');
      if (count === 0) throw r.malformed('a Traffic Selector payload holds at least one selector', 'Number of TSs', 'RFC 7296 §3.13');
      const selectors: TrafficSelector[] = [];
      for (let i = 0; i < count; i++) selectors.push(parseSelector(r));
      r.end('the traffic selectors');
      return { kind: notation, selectors };
    },
    write(w, { selectors }) {
      if (selectors.length < 1 || selectors.length > MOST_SELECTORS)
        throw new ApiMisuse(`a ${notation} payload holds 1 to ${MOST_SELECTORS} selectors, not ${selectors.length}`);
      w.u8(selectors.length);
      // RFC 7296 §3.13: RESERVED
      w.zero(3);
      for (const selector of selectors) writeSelector(w, selector);
    },
    describe: ({ selectors }) => selectors.map(formatSelector).join(', '),
    sample: (gen) => ({ kind: notation, selectors: gen.many(1, 8, () => sampleSelector(gen)) }),
  });
}

/** RFC 7296 §3.13.1. */
function parseSelector(r: Reader): TrafficSelector {
  const type = r.u8('TS Type');
  const protocol = r.u8('IP Protocol ID');
  const length = r.u16('Selector Length');
  if (length < 4) throw r.malformed(`Selector Length is ${length}, its own header has 4 octets`, 'Selector Length', 'RFC 7296 §3.13.1');
  const body = r.sub(length - 4, 'traffic selector');
  if (type !== TsType.TS_IPV4_ADDR_RANGE && type !== TsType.TS_IPV6_ADDR_RANGE) return { type, protocol, raw: body.rest() };
  const octets = addressLength(type);
  const startPort = body.u16('Start Port');
  const endPort = body.u16('End Port');
  const start = body.bytes(octets, 'Starting Address');
  const end = body.bytes(octets, 'Ending Address');
  body.end('a traffic selector');
  return { type, protocol, startPort, endPort, start, end };
}

function writeSelector(w: Writer, ts: TrafficSelector): void {
  if (!isAddressRange(ts)) {
    w.u8(ts.type).u8(ts.protocol);
    w.u16(4 + ts.raw.length).bytes(ts.raw);
    return;
  }
  const octets = addressLength(ts.type);
  if (ts.start.length !== octets || ts.end.length !== octets)
    throw new ApiMisuse(`the addresses of a traffic selector of type ${ts.type} have ${octets} octets`);
  w.u8(ts.type).u8(ts.protocol);
  w.u16(8 + 2 * octets).u16(ts.startPort);
  w.u16(ts.endPort).bytes(ts.start).bytes(ts.end);
}

const addressLength = (type: number): number => (type === TsType.TS_IPV4_ADDR_RANGE ? 4 : 16);

function sampleSelector(gen: SampleSource): TrafficSelector {
  if (gen.oneIn(6)) return { type: gen.pick([0, 1, 6, 9, TsType.TS_SECLABEL, 200]), protocol: gen.u8(), raw: gen.bytes(0, 60) };
  const type = gen.pick([TsType.TS_IPV4_ADDR_RANGE, TsType.TS_IPV6_ADDR_RANGE]);
  const octets = addressLength(type);
  return { type, protocol: gen.u8(), startPort: gen.u16(), endPort: gen.u16(), start: gen.bytes(octets), end: gen.bytes(octets) };
}

/** RFC 7296 §3.13: Number of TSs has one octet. */
export const MOST_SELECTORS = 255;
