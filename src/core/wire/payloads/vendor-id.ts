import { MESSAGE_FORMS } from '../forms.ts';
import { PayloadType } from '../iana.ts';
import { definePayload, many } from '../payload.ts';
import { describeVendorId } from '../text/vendor-ids.ts';

/** Vendor ID payload. May stand in every message, any number of times. */
export default definePayload<'V'>({
  type: PayloadType.V,
  notation: 'V',
  section: 'RFC 7296 §3.12',
  occurs: many(...MESSAGE_FORMS),
  parse: (r) => ({ kind: 'V', data: r.rest() }),
  write: (w, { data }) => void w.bytes(data),
  describe: ({ data }) => describeVendorId(data),
  sample: (gen) => ({ kind: 'V', data: gen.bytes(0, 64) }),
});
