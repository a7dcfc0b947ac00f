import { EapCode, EapType, PayloadType } from '../iana.ts';
import { definePayload, once } from '../payload.ts';
import { describeEap } from '../text/eap.ts';

/** Extensible Authentication Protocol payload. The packet inside is judged by who runs EAP. */
export default definePayload<'EAP'>({
  type: PayloadType.EAP,
  notation: 'EAP',
  section: 'RFC 7296 §3.16',
  occurs: once('IKE_AUTH request, EAP round', 'IKE_AUTH response, EAP round'),
  parse: (r) => ({ kind: 'EAP', data: r.rest() }),
  write: (w, { data }) => void w.bytes(data),
  describe: ({ data }) => describeEap(data),
  sample(gen) {
    if (gen.oneIn(4)) return { kind: 'EAP', data: gen.bytes(0, 80) };
    const body = gen.bytes(0, 60);
    const length = 5 + body.length;
    const code = gen.pick([EapCode.REQUEST, EapCode.RESPONSE]);
    return { kind: 'EAP', data: Uint8Array.of(code, gen.u8(), length >>> 8, length, gen.pick(Object.values(EapType)), ...body) };
  },
});
