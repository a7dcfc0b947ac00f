import { toHex } from '../../bytes/bytes.ts';
import { nameOf, ProtocolId, TransformAttributeType, TransformType, transformIds } from '../iana.ts';
import type { Proposal, Transform } from '../payloads/types.ts';
import { shortHex } from './octets.ts';

/**
 * The transforms of a proposal on one line, one group per transform type: `AES_GCM_16-256 / PRF_HMAC_SHA2_384 / CURVE25519 / ADDKE1 ML_KEM_768`.
 * Alternatives within a type are parted by commas.
 */
export function formatProposal(proposal: Proposal): string {
  const groups = new Map<number, string[]>();
  for (const transform of proposal.transforms) {
    const group = groups.get(transform.type);
    if (group === undefined) groups.set(transform.type, [formatTransform(transform)]);
    else group.push(formatTransform(transform));
  }
  const order = [...groups.keys()].sort((a, b) => rank(a) - rank(b));
  const parts = order.map((type) => {
    const alternatives = groups.get(type)!.join(', ');
    return type >= TransformType.ADDKE1 && type <= TransformType.ADDKE7 ? `${nameOf(TransformType, type)} ${alternatives}` : alternatives;
  });
  return parts.length === 0 ? 'no transforms' : parts.join(' / ');
}

/** `#1 ESP c8a3d6f1  AES_GCM_16-256 / NO_ESN`. */
export function describeProposal(proposal: Proposal): string {
  const spi = proposal.spi.length === 0 ? '' : ` ${toHex(proposal.spi.subarray(0, 32))}`;
  return `#${proposal.number} ${nameOf(ProtocolId, proposal.protocol)}${spi}  ${formatProposal(proposal)}`;
}

/** `AES_CBC-256`; a transform type or id without a name stays a number: `ENCR 4711`, `type 99 id 1`. */
export function formatTransform(transform: Transform): string {
  const extras = (transform.attributes ?? []).map(({ type, value }) => {
    const name = nameOf(TransformAttributeType, type);
    return ` [${name}=${typeof value === 'number' ? value : shortHex(value)}]`;
  });
  const keyLength = transform.keyLength === undefined ? '' : `-${transform.keyLength}`;
  return `${nameOfTransform(transform.type, transform.id)}${keyLength}${extras.join('')}`;
}

function nameOfTransform(type: number, id: number): string {
  const registry = transformIds(type);
  if (registry === undefined) return `type ${nameOf(TransformType, type)} id ${id}`;
  const name = nameOf(registry, id);
  if (name === String(id)) return `${nameOf(TransformType, type)} ${id}`;
  if (type === TransformType.INTEG && id === 0) return 'INTEG_NONE';
  return name.replace(/^(ENCR|AUTH)_/, '');
}

/** ENCR, INTEG, PRF, KE, ADDKE…, ESN: the order in which people name a suite. */
function rank(type: number): number {
  const place = [TransformType.ENCR, TransformType.INTEG, TransformType.PRF, TransformType.KE].indexOf(type as 1 | 2 | 3 | 4);
  if (place >= 0) return place;
  if (type === TransformType.ESN) return 100;
  return type;
}
