import { ApiMisuse } from '../../bytes/errors.ts';
import { MESSAGE_FORMS } from '../forms.ts';
import { NotifyType, PayloadType, ProtocolId } from '../iana.ts';
import { definePayload, many } from '../payload.ts';
import { describeNotify } from '../text/notify.ts';

/** Notify payload. May stand in every message, any number of times (RFC 7296 §3.10, §1.5). */
export default definePayload<'N'>({
  type: PayloadType.N,
  notation: 'N',
  section: 'RFC 7296 §3.10',
  occurs: many(...MESSAGE_FORMS),
  parse(r) {
    const protocol = r.u8('Protocol ID');
    const spiSize = r.u8('SPI Size');
    const notify = r.u16('Notify Message Type');
    return { kind: 'N', notify, protocol, spi: r.bytes(spiSize, 'SPI'), data: r.rest() };
  },
  write(w, { notify, protocol, spi, data }) {
    if (spi.length > 255) throw new ApiMisuse(`an SPI has at most 255 octets, not ${spi.length}`);
    w.u8(protocol).u8(spi.length).u16(notify).bytes(spi).bytes(data);
  },
  describe: describeNotify,
  sample: (gen) => ({
    kind: 'N',
    notify: gen.oneIn(4) ? gen.u16() : gen.pick(Object.values(NotifyType)),
    protocol: gen.oneIn(8) ? gen.u8() : gen.pick(Object.values(ProtocolId)),
    spi: gen.bytes(gen.pick([0, 4, 8, gen.int(0, 255)])),
    data: gen.bytes(0, 100),
  }),
});
