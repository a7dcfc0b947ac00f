import { type Payload, vendorName } from '../../wire/index.ts';
import type { IkeSa } from '../ike-sa.ts';
import { findAll } from '../notifies.ts';

/** RFC 7296 §3.12: what the peer announces itself as, where it is known; for people alone, nothing is done differently for it. */
export function noteVendorIds(sa: IkeSa, payloads: readonly Payload[]): void {
  const names = findAll(payloads, 'V')
    .slice(0, MOST_READ)
    .flatMap(({ data }) => vendorName(data) ?? []);
  if (names.length > 0) sa.peer.vendors = [...new Set([...(sa.peer.vendors ?? []), ...names])].slice(0, MOST_KEPT);
}

const MOST_READ = 64;
const MOST_KEPT = 8;
