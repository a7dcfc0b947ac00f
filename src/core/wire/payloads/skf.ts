import { InternalError } from '../../bytes/errors.ts';
import { PayloadType } from '../iana.ts';
import { definePayload } from '../payload.ts';

/** Encrypted and Authenticated Fragment payload, still sealed. It ends a message; `protected.ts` opens and seals it. */
export default definePayload<'SKF'>({
  type: PayloadType.SKF,
  notation: 'SKF',
  section: 'RFC 7383 §2.5',
  occurs: [],
  parse(r, next) {
    const fragment = r.u16('Fragment Number');
    const total = r.u16('Total Fragments');
    // RFC 7383 §2.5: both count from 1, and no fragment lies beyond the last.
    if (fragment === 0 || fragment > total)
      throw r.malformed(`fragment ${fragment} of ${total} does not exist`, 'Fragment Number', 'RFC 7383 §2.5');
    const bodyOffset = r.offset;
    r.skip(r.remaining, 'sealed octets');
    return { kind: 'SKF', inner: next, fragment, total, bodyOffset };
  },
  write() {
    throw new InternalError('an SKF payload is written by sealing it');
  },
  describe: ({ fragment, total }) => `sealed fragment ${fragment} of ${total}`,
  sample(gen) {
    const total = gen.int(1, 40);
    return { kind: 'SKF', inner: 0, fragment: gen.int(1, total), total, bodyOffset: 36 };
  },
});
