import { KeyExchangeId, nameOf, PayloadType } from '../iana.ts';
import { definePayload, once, optional } from '../payload.ts';

/** Key Exchange payload. */
export default definePayload<'KE'>({
  type: PayloadType.KE,
  notation: 'KE',
  section: 'RFC 7296 §3.4',
  occurs: [
    ...once('IKE_SA_INIT request', 'IKE_SA_INIT response'),
    ...once('CREATE_CHILD_SA request, rekey IKE SA', 'CREATE_CHILD_SA response, IKE SA'),
    ...optional('CREATE_CHILD_SA request, new CHILD_SA', 'CREATE_CHILD_SA request, rekey CHILD_SA', 'CREATE_CHILD_SA response, CHILD_SA'),
    // RFC 9370 §2.2.2, §2.2.4
    ...optional('IKE_INTERMEDIATE request', 'IKE_INTERMEDIATE response'),
    ...once('IKE_FOLLOWUP_KE request', 'IKE_FOLLOWUP_KE response'),
  ],
  parse(r) {
    const method = r.u16('Key Exchange Method');
    r.skip(2, 'RESERVED');
    return { kind: 'KE', method, data: r.rest() };
  },
  write: (w, { method, data }) => void w.u16(method).zero(2).bytes(data),
  describe: ({ method, data }) => `${nameOf(KeyExchangeId, method)}, ${data.length} octets`,
  sample: (gen) => ({ kind: 'KE', method: gen.oneIn(4) ? gen.u16() : gen.pick(Object.values(KeyExchangeId)), data: gen.bytes(0, 1600) }),
});
