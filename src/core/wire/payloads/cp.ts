import { ApiMisuse } from '../../bytes/errors.ts';
import { ConfigAttributeType, ConfigType, nameOf, PayloadType } from '../iana.ts';
import { definePayload, optional } from '../payload.ts';
import { describeAttribute } from '../text/configuration.ts';
import type { ConfigurationAttribute } from './types.ts';

/** Configuration payload. */
export default definePayload<'CP'>({
  type: PayloadType.CP,
  notation: 'CP',
  section: 'RFC 7296 §3.15',
  occurs: optional(
    'IKE_AUTH request',
    'IKE_AUTH response',
    'IKE_AUTH response, after EAP',
    'INFORMATIONAL request',
    'INFORMATIONAL response',
    // RFC 7296 appendix C.3 and C.4 know it with a new CHILD_SA.
    'CREATE_CHILD_SA request, new CHILD_SA',
    'CREATE_CHILD_SA response, CHILD_SA',
    // exception: RFC 7296 appendix C has none here, but MikroTik asks for its address again when it rekeys a CHILD_SA.
    'CREATE_CHILD_SA request, rekey CHILD_SA',
  ),
  parse(r) {
    const cfgType = r.u8('CFG Type');
    r.skip(3, 'RESERVED');
    const attributes: ConfigurationAttribute[] = [];
    while (r.remaining > 0) {
      const type = r.u16('Attribute Type') & ~RESERVED_BIT;
      attributes.push({ type, value: r.bytes(r.u16('Length'), 'Value') });
    }
    return { kind: 'CP', cfgType, attributes };
  },
  write(w, { cfgType, attributes }) {
    w.u8(cfgType);
    // RFC 7296 §3.15: RESERVED
    w.zero(3);
    for (const { type, value } of attributes) {
      if (type >= RESERVED_BIT || value.length > 0xffff) throw new ApiMisuse(`configuration attribute ${type} does not fit its fields`);
      w.u16(type).u16(value.length).bytes(value);
    }
  },
  describe: ({ cfgType, attributes }) => ({ text: nameOf(ConfigType, cfgType), lines: attributes.map(describeAttribute) }),
  sample: (gen) => ({
    kind: 'CP',
    cfgType: gen.oneIn(5) ? gen.u8() : gen.pick(Object.values(ConfigType)),
    attributes: gen.many(0, 10, () => ({
      type: gen.oneIn(4) ? gen.int(0, 0x7fff) : gen.pick(Object.values(ConfigAttributeType)),
      value: gen.bytes(gen.pick([0, 4, 8, 16, 17, gen.int(0, 80)])),
    })),
  }),
});

const RESERVED_BIT = 0x8000;
