import { AuthMethod, nameOf, PayloadType } from '../iana.ts';
import { definePayload, once, optional } from '../payload.ts';
import { describeAuth } from '../text/authentication.ts';

/** Authentication payload. */
export default definePayload<'AUTH'>({
  type: PayloadType.AUTH,
  notation: 'AUTH',
  section: 'RFC 7296 §3.8',
  occurs: [
    ...once('IKE_AUTH request, after EAP', 'IKE_AUTH response, after EAP', 'IKE_AUTH response'),
    // RFC 7296 §2.16: an initiator that leaves it out asks for EAP; RFC 5998: a responder that does so proves itself in EAP.
    ...optional('IKE_AUTH request', 'IKE_AUTH response, EAP round'),
  ],
  parse(r) {
    const method = r.u8('Auth Method');
    r.skip(3, 'RESERVED');
    return { kind: 'AUTH', method, data: r.rest() };
  },
  write(w, { method, data }) {
    w.u8(method);
    // RFC 7296 §3.8: RESERVED
    w.zero(3);
    w.bytes(data);
  },
  describe: ({ method, data }) => `${nameOf(AuthMethod, method)}${describeAuth(method, data)}`,
  sample: (gen) => ({ kind: 'AUTH', method: gen.oneIn(4) ? gen.u8() : gen.pick(Object.values(AuthMethod)), data: gen.bytes(0, 520) }),
});
