import type { PacketPolicy } from '../../core/ike/packet-policy.ts';
import type { CompileContext } from './compile-context.ts';
import { compileKernel } from './compile-kernel.ts';
import type { ChildSettings, ConnectionSettings } from './schema.ts';
import type { Path } from './source.ts';

/** Undefined where every setting has its default. */
export function compilePackets(
  child: ChildSettings,
  path: Path,
  connection: ConnectionSettings,
  context: CompileContext,
): PacketPolicy | undefined {
  const copiesOut = child.copy_dscp === undefined || child.copy_dscp === 'out' || child.copy_dscp === 'yes';
  if (child.outer_dscp !== undefined && copiesOut)
    throw context.error([...path, 'outer_dscp'], 'the DSCP is copied from the inner header', 'Set copy_dscp: no (or in) beside it.');
  if (child.ipcomp === true && child.tfc_padding)
    throw context.error(
      [...path, 'tfc_padding'],
      'what is compressed cannot be padded: it does not say its own length',
      'Set one of tfc_padding and ipcomp.',
    );
  if (child.tfc_padding && (child.mode === 'transport' || child.ah_proposals !== undefined))
    throw context.error([...path, 'tfc_padding'], 'padding needs tunnel mode of ESP', 'Leave it out, or set mode: tunnel.');
  if (child.dummy_packets && child.ah_proposals !== undefined)
    throw context.error([...path, 'dummy_packets'], 'AH hides nothing, so dummies are of no use', 'Leave it out.');
  const kernel = compileKernel(child, path, connection, context);
  const policy: PacketPolicy = {
    ...(child.copy_dscp === undefined || child.copy_dscp === 'out' ? {} : { copyDscp: child.copy_dscp }),
    ...(child.outer_dscp ? { outerDscp: child.outer_dscp } : {}),
    ...(child.copy_ecn === false ? { copyEcn: false } : {}),
    ...(child.copy_df === undefined || child.copy_df === 'copy' ? {} : { df: child.copy_df }),
    ...(child.clamp_mss === undefined || child.clamp_mss === true ? {} : { clampMss: child.clamp_mss }),
    ...(child.ipcomp === true ? { ipcomp: true } : {}),
    ...(child.later_fragments === true ? { laterFragments: true } : {}),
    ...(child.tfc_padding ? { tfc: child.tfc_padding } : {}),
    ...(child.dummy_packets ? { dummies: child.dummy_packets } : {}),
    ...(kernel && { kernel }),
  };
  return Object.keys(policy).length === 0 ? undefined : policy;
}
