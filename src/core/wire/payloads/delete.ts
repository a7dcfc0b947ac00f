import { toHex } from '../../bytes/bytes.ts';
import { ApiMisuse } from '../../bytes/errors.ts';
import { nameOf, PayloadType, ProtocolId } from '../iana.ts';
import { definePayload, many } from '../payload.ts';

/** Delete payload. */
export default definePayload<'D'>({
  type: PayloadType.D,
  notation: 'D',
  section: 'RFC 7296 §3.11',
  occurs: many('INFORMATIONAL request', 'INFORMATIONAL response'),
  parse(r) {
    const protocol = r.u8('Protocol ID');
    const spiSize = r.u8('SPI Size');
    const count = r.u16('Num of SPIs');
    // The SPIs of an IKE SA stand in the header. Some write 1 into the count all the same; without octets it means nothing.
    if (spiSize === 0 && protocol === ProtocolId.IKE) {
      r.end('a Delete payload without SPIs');
      return { kind: 'D', protocol, spis: [] };
    }
    if (spiSize === 0 && count > 0) throw r.malformed(`a Delete payload counts ${count} SPIs of no octets`, 'SPI Size', 'RFC 7296 §3.11');
    const list = r.sub(spiSize * count, 'SPIs');
    r.end('the SPIs of a Delete payload');
    const spis: Uint8Array[] = [];
    for (let i = 0; i < count; i++) spis.push(list.bytes(spiSize, 'SPI'));
    return { kind: 'D', protocol, spis };
  },
  write(w, { protocol, spis }) {
    const spiSize = spis[0]?.length ?? 0;
    if (spis.some((spi) => spi.length !== spiSize || spiSize === 0 || spiSize > 255) || spis.length > 0xffff) {
      throw new ApiMisuse('the SPIs of a Delete payload must all have the same length, 1 to 255 octets');
    }
    w.u8(protocol).u8(spiSize).u16(spis.length);
    for (const spi of spis) w.bytes(spi);
  },
  describe: ({ protocol, spis }) => [nameOf(ProtocolId, protocol), ...spis.map((spi) => toHex(spi))].join(' '),
  sample(gen) {
    if (gen.oneIn(3)) return { kind: 'D', protocol: ProtocolId.IKE, spis: [] };
    const size = gen.oneIn(4) ? gen.int(1, 255) : 4;
    return {
      kind: 'D',
      protocol: gen.pick([ProtocolId.ESP, ProtocolId.AH, ProtocolId.IKE, 9]),
      spis: gen.many(1, 20, () => gen.bytes(size)),
    };
  },
});
