import { PayloadType } from '../iana.ts';
import { definePayload, once } from '../payload.ts';

/** Nonce payload: Ni or Nr, after the direction of the message. */
export default definePayload<'Nonce'>({
  type: PayloadType.Nonce,
  notation: 'Nonce',
  section: 'RFC 7296 §3.9',
  occurs: once(
    'IKE_SA_INIT request',
    'IKE_SA_INIT response',
    'IKE_SESSION_RESUME request',
    'IKE_SESSION_RESUME response',
    'CREATE_CHILD_SA request, new CHILD_SA',
    'CREATE_CHILD_SA request, rekey CHILD_SA',
    'CREATE_CHILD_SA request, rekey IKE SA',
    'CREATE_CHILD_SA response, CHILD_SA',
    'CREATE_CHILD_SA response, IKE SA',
  ),
  parse: (r) => ({ kind: 'Nonce', data: r.rest() }),
  write: (w, { data }) => void w.bytes(data),
  describe: ({ data }) => `${data.length} octets`,
  sample: (gen) => ({ kind: 'Nonce', data: gen.bytes(NONCE_MIN, NONCE_MAX) }),
});

/** RFC 7296 §3.9, octets. `grammar.ts` holds peers to it. */
export const NONCE_MIN = 16;
export const NONCE_MAX = 256;
