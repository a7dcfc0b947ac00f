import { DataPlaneError } from '../../core/bytes/index.ts';
import type { ChildSaSpec } from '../../core/ike/effects.ts';
import type { EspPath } from './data-plane.ts';

/** @throws DataPlaneError for a CHILD_SA that packets in user space cannot serve on this path */
export function refuseUnfit(spec: ChildSaSpec, path: EspPath, backend: string): void {
  const fail = (message: string, code: string, hint: string): DataPlaneError => new DataPlaneError(message, { code, backend, hint });
  const { offload, ...kernel } = spec.packets?.kernel ?? {};
  if ((offload ?? 'auto') !== 'auto' || Object.keys(kernel).length > 0)
    throw fail(
      'marks, XFRM interfaces and network cards are of the kernel’s IPsec',
      'KERNEL_NEEDED',
      'Leave them out, or choose plane: xfrm.',
    );
  // RFC 7296 §2.23: AH does not pass a NAT
  if (spec.protocol === 'AH' && (spec.encap || path.sendWhole === undefined))
    throw fail(
      spec.encap
        ? 'AH cannot be sent inside UDP, and there is a NAT between the peers or encapsulation was asked for'
        : 'this data plane writes no IP headers, which AH covers',
      'AH_UNSUPPORTED',
      'Use esp_proposals instead of ah_proposals.',
    );
  if (!spec.encap && path.sendWhole === undefined) {
    throw fail(
      'without privileges ESP can be sent only inside UDP, which the peer did not agree to',
      'ENCAPSULATION_NEEDED',
      'Set encap: yes for the connection; then both ends use UDP even without a NAT.',
    );
  }
}
