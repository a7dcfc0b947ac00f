import { PayloadType } from '../iana.ts';
import { definePayload, optional } from '../payload.ts';

/** Puzzle Solution payload: four keys of one size for the PRF that PUZZLE named. */
export default definePayload<'PS'>({
  type: PayloadType.PS,
  notation: 'PS',
  section: 'RFC 8019 §8.2',
  occurs: optional('IKE_SA_INIT request', 'IKE_AUTH request'),
  parse: (r) => ({ kind: 'PS', data: r.rest() }),
  write: (w, { data }) => void w.bytes(data),
  describe: ({ data }) => `${data.length} octets`,
  sample: (gen) => ({ kind: 'PS', data: gen.bytes(4 * gen.int(1, 16)) }),
});
