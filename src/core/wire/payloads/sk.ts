import { InternalError } from '../../bytes/errors.ts';
import { nameOf, PayloadType } from '../iana.ts';
import { definePayload } from '../payload.ts';

/**
 * Encrypted payload, still sealed. It ends a message and holds the payloads of every exchange but the first; `protected.ts` opens
 * and seals it.
 */
export default definePayload<'SK'>({
  type: PayloadType.SK,
  notation: 'SK',
  section: 'RFC 7296 §3.14',
  occurs: [],
  parse(r, next) {
    const bodyOffset = r.offset;
    r.skip(r.remaining, 'sealed octets');
    return { kind: 'SK', inner: next, bodyOffset };
  },
  write() {
    throw new InternalError('an SK payload is written by sealing it');
  },
  describe: ({ inner }) => `sealed${inner === 0 ? ', empty' : `, begins with ${nameOf(PayloadType, inner)}`}`,
  sample: (gen) => ({ kind: 'SK', inner: gen.pick([0, PayloadType.IDi, PayloadType.N]), bodyOffset: 32 }),
});
