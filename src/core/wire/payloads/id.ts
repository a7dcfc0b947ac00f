import { IdType, nameOf, PayloadType } from '../iana.ts';
import { definePayload, type Occurrence, once, optional, type PayloadDefinition, type SampleSource } from '../payload.ts';
import { formatIdentification } from '../text/identification.ts';

/** Identification – Initiator payload. */
export const idi = defineId('IDi', PayloadType.IDi, once('IKE_AUTH request'));

/** Identification – Responder payload. In a request it says which of the responder's identities is wanted (RFC 7296 §1.2). */
export const idr = defineId('IDr', PayloadType.IDr, [
  ...once('IKE_AUTH response'),
  ...optional('IKE_AUTH request', 'IKE_AUTH response, EAP round', 'IKE_AUTH response, after EAP'),
]);

function defineId<K extends 'IDi' | 'IDr'>(notation: K, type: number, occurs: readonly Occurrence[]): PayloadDefinition<'IDi' | 'IDr'> {
  return definePayload<'IDi' | 'IDr'>({
    type,
    notation,
    section: 'RFC 7296 §3.5',
    occurs,
    parse(r) {
      const idType = r.u8('ID Type');
      // ignored, but AUTH covers them as they came (RFC 7296 §2.15)
      const reserved = r.bytes(3, 'RESERVED');
      const unusual = reserved.some((octet) => octet !== 0);
      return {
        kind: notation,
        idType,
        data: r.rest(),
        ...(unusual ? { reserved } : {}),
      };
    },
    write: (w, { idType, data }) => void w.u8(idType).zero(3).bytes(data),
    describe: (id) => `${formatIdentification(id)}  (${nameOf(IdType, id.idType)})`,
    sample: (gen) => ({ kind: notation, ...sampleId(gen) }),
  });
}

function sampleId(gen: SampleSource): { idType: number; data: Uint8Array } {
  if (gen.oneIn(4)) return { idType: gen.u8(), data: gen.bytes(0, 64) };
  const idType = gen.pick(Object.values(IdType));
  if (idType === IdType.ID_IPV4_ADDR) return { idType, data: gen.bytes(4) };
  if (idType === IdType.ID_IPV6_ADDR) return { idType, data: gen.bytes(16) };
  if (idType === IdType.ID_NULL) return { idType, data: gen.bytes(0) };
  return { idType, data: gen.bytes(1, 200) };
}
