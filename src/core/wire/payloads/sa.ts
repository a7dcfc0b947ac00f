import { ApiMisuse } from '../../bytes/errors.ts';
import type { Reader } from '../../bytes/reader.ts';
import type { Writer } from '../../bytes/writer.ts';
import { EncryptionId, PayloadType, ProtocolId, TransformAttributeType, TransformType, transformIds } from '../iana.ts';
import { definePayload, once, optional, type SampleSource } from '../payload.ts';
import { describeProposal } from '../text/proposal.ts';
import type { Proposal, Transform, TransformAttribute } from './types.ts';

/** Security Association payload. */
export default definePayload<'SA'>({
  type: PayloadType.SA,
  notation: 'SA',
  section: 'RFC 7296 §3.3',
  occurs: [
    ...once('IKE_SA_INIT request', 'IKE_SA_INIT response'),
    ...once('CREATE_CHILD_SA request, new CHILD_SA', 'CREATE_CHILD_SA request, rekey CHILD_SA', 'CREATE_CHILD_SA request, rekey IKE SA'),
    ...once('CREATE_CHILD_SA response, CHILD_SA', 'CREATE_CHILD_SA response, IKE SA'),
    ...optional('IKE_AUTH request', 'IKE_AUTH response', 'IKE_AUTH response, after EAP'),
  ],
  parse(r) {
    const proposals: Proposal[] = [];
    for (let more = true; more; ) {
      const last = r.u8('Last Substruc');
      proposals.push(parseProposal(r));
      more = moreFollow(r, last, PROPOSAL_FOLLOWS, 'proposal', 'RFC 7296 §3.3.1');
    }
    return { kind: 'SA', proposals };
  },
  write(w, { proposals }) {
    if (proposals.length === 0) throw new ApiMisuse('an SA payload holds at least one proposal');
    proposals.forEach((proposal, i) => {
      writeProposal(w, proposal, i === proposals.length - 1);
    });
  },
  describe: ({ proposals }) => ({ text: '', lines: proposals.map(describeProposal) }),
  sample: (gen) => ({ kind: 'SA', proposals: gen.many(1, 5, () => sampleProposal(gen)) }),
});

/** RFC 7296 §3.3.1. */
function parseProposal(r: Reader): Proposal {
  r.skip(1, 'RESERVED'); // of a proposal: ignored
  const body = r.sub(substructureLength(r, 8, 'Proposal Length'), 'proposal');
  const number = body.u8('Proposal Num');
  const protocol = body.u8('Protocol ID');
  const spiSize = body.u8('SPI Size');
  const count = body.u8('Num Transforms');
  const spi = body.bytes(spiSize, 'SPI');
  const transforms: Transform[] = [];
  for (let i = 0; i < count; i++) {
    const last = body.u8('Last Substruc');
    transforms.push(parseTransform(body));
    const more = moreFollow(body, last, TRANSFORM_FOLLOWS, 'transform', 'RFC 7296 §3.3.2');
    if (more !== i + 1 < count) throw body.malformed('Num Transforms is not the number of transforms', 'Num Transforms', 'RFC 7296 §3.3.1');
  }
  body.end('the transforms of a proposal');
  return { number, protocol, spi, transforms };
}

/** RFC 7296 §3.3.2. */
function parseTransform(r: Reader): Transform {
  r.skip(1, 'RESERVED');
  const body = r.sub(substructureLength(r, 8, 'Transform Length'), 'transform');
  const type = body.u8('Transform Type');
  body.skip(1, 'RESERVED');
  const id = body.u16('Transform ID');
  let keyLength: number | undefined;
  const attributes: TransformAttribute[] = [];
  while (body.remaining > 0) {
    const attribute = parseAttribute(body);
    // A second Key Length, or one in the TLV form, has no meaning: it is kept as an unknown attribute, so that nobody selects the transform.
    if (attribute.type === TransformAttributeType.KEY_LENGTH && typeof attribute.value === 'number' && keyLength === undefined)
      keyLength = attribute.value;
    else attributes.push(attribute);
  }
  // most have neither or a Key Length alone
  if (attributes.length > 0) return { type, id, ...(keyLength === undefined ? {} : { keyLength }), attributes };
  return keyLength === undefined ? { type, id } : { type, id, keyLength };
}

/** RFC 7296 §3.3.5. */
function parseAttribute(r: Reader): TransformAttribute {
  const format = r.u16('Attribute Type');
  const type = format & ~FORMAT_TV;
  if ((format & FORMAT_TV) !== 0) return { type, value: r.u16('Attribute Value') };
  return { type, value: r.bytes(r.u16('Attribute Length'), 'Attribute Value') };
}

/** Octets of a substructure that are left behind its Length field, which counts the four before. */
function substructureLength(r: Reader, minimum: number, field: string): number {
  const length = r.u16(field);
  if (length < minimum) throw r.malformed(`${field} is ${length}, at least ${minimum} are needed`, field, 'RFC 7296 §3.3');
  return length - 4;
}

/** Last Substruc repeats what the lengths say already; a message in which they disagree is not guessed at. */
function moreFollow(r: Reader, last: number, follows: number, what: string, section: string): boolean {
  if (last !== 0 && last !== follows)
    throw r.malformed(`Last Substruc of a ${what} is ${last}, not 0 or ${follows}`, 'Last Substruc', section);
  if ((last !== 0) !== r.remaining > 0) throw r.malformed(`Last Substruc of a ${what} contradicts the lengths`, 'Last Substruc', section);
  return last !== 0;
}

function writeProposal(w: Writer, proposal: Proposal, last: boolean): void {
  if (proposal.transforms.length > 255) throw new ApiMisuse(`a proposal holds at most 255 transforms, not ${proposal.transforms.length}`);
  if (proposal.spi.length > 255) throw new ApiMisuse(`an SPI has at most 255 octets, not ${proposal.spi.length}`);
  const at = w.length;
  w.u8(last ? 0 : PROPOSAL_FOLLOWS).zero(3);
  w.u8(proposal.number).u8(proposal.protocol).u8(proposal.spi.length).u8(proposal.transforms.length);
  w.bytes(proposal.spi);
  proposal.transforms.forEach((transform, i) => {
    writeTransform(w, transform, i === proposal.transforms.length - 1);
  });
  w.patchU16(at + 2, w.length - at);
}

function writeTransform(w: Writer, transform: Transform, last: boolean): void {
  const at = w.length;
  w.u8(last ? 0 : TRANSFORM_FOLLOWS).zero(3);
  w.u8(transform.type).zero(1).u16(transform.id);
  if (transform.keyLength !== undefined) w.u16(FORMAT_TV | TransformAttributeType.KEY_LENGTH).u16(transform.keyLength);
  for (const { type, value } of transform.attributes ?? []) {
    if (typeof value === 'number') w.u16(FORMAT_TV | type).u16(value);
    else
      w.u16(type & ~FORMAT_TV)
        .u16(value.length)
        .bytes(value);
  }
  w.patchU16(at + 2, w.length - at);
}

function sampleProposal(gen: SampleSource): Proposal {
  return {
    number: gen.u8(),
    protocol: gen.oneIn(8) ? gen.u8() : gen.pick([ProtocolId.IKE, ProtocolId.AH, ProtocolId.ESP]),
    spi: gen.bytes(gen.pick([0, 4, 8, gen.int(0, 255)])),
    transforms: gen.many(0, 12, () => sampleTransform(gen)),
  };
}

function sampleTransform(gen: SampleSource): Transform {
  if (gen.oneIn(6)) {
    const keyLength = gen.oneIn(2) ? { keyLength: gen.u16() } : {};
    return { type: gen.u8(), id: gen.u16(), ...keyLength, attributes: gen.many(1, 3, () => sampleAttribute(gen)) };
  }
  const type = gen.int(TransformType.ENCR, TransformType.ADDKE7);
  const id = gen.pick(Object.values(transformIds(type) ?? EncryptionId));
  return { type, id, ...(type === TransformType.ENCR && gen.oneIn(2) ? { keyLength: gen.pick([128, 192, 256]) } : {}) };
}

const sampleAttribute = (gen: SampleSource): TransformAttribute => ({
  type: gen.int(TransformAttributeType.KEY_LENGTH + 1, 0x7fff),
  value: gen.oneIn(2) ? gen.u16() : gen.bytes(0, 40),
});

const FORMAT_TV = 0x8000;
const PROPOSAL_FOLLOWS = 2;
const TRANSFORM_FOLLOWS = 3;
