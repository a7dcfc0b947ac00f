import { Attributes, type MessageWriter } from '../codec.ts';
import { HostReader, type HostWriter } from '../host-order.ts';
import { addressFamily, familyOf, ipFamily } from '../ip.ts';
import type { NetlinkSocket } from '../socket.ts';
import { type PolicyId, policyRequest } from './policies.ts';
import { writeEncap, type XfrmEncap } from './states.ts';
import {
  directionOf,
  MODES,
  modeOf,
  PROTOCOLS,
  protocolOf,
  readAddress,
  readSelector,
  writeAddress,
  XFRM_MSG,
  XFRMA,
  type XfrmMode,
  type XfrmProtocol,
} from './structs.ts';

/** New ends for the SAs and the policy template that have the old ones (RFC 4555, XFRM_MSG_MIGRATE). */
export interface XfrmMigration {
  readonly protocol: XfrmProtocol;
  readonly mode: XfrmMode;
  /** 0 is any. */
  readonly reqid: number;
  readonly oldSource: string;
  readonly oldDestination: string;
  readonly newSource: string;
  readonly newDestination: string;
}

/**
 * Moves a policy, and the SAs of its direction, to new addresses: sequence numbers, counters and keys go on.
 * @param encap of the SAs from now on; they keep what they had where none is given
 * @throws DataPlaneError `KERNEL_ENTRY_MISSING` when no policy, or `KERNEL_REFUSED` when no SA has the old ends
 */
export function migrate(
  socket: NetlinkSocket,
  policy: PolicyId,
  migrations: readonly XfrmMigration[],
  options: {
    readonly encap?: XfrmEncap /** Told to whoever listens: where IKE itself goes from now on. */;
    readonly ike?: { readonly local: string; readonly remote: string };
  } = {},
): void {
  const request = policyRequest(XFRM_MSG.MIGRATE, policy);
  request.attribute(XFRMA.MIGRATE, (writer) => {
    for (const migration of migrations) writeMigration(writer, migration);
  });
  if (options.ike) writeIkeAddresses(request, options.ike);
  if (options.encap) writeEncap(request, options.encap);
  const [first] = migrations;
  socket.request(request, {
    attempt: `move SAs from ${first?.oldSource} and ${first?.oldDestination} to new addresses`,
    refusals: REFUSALS,
  });
}

export interface MigrationEvent {
  readonly policy: PolicyId;
  readonly migrations: readonly XfrmMigration[];
}

/** `struct xfrm_userpolicy_id` and what stands behind it. */
export function parseMigration(body: Uint8Array): MigrationEvent | undefined {
  const reader = new HostReader(body, 'xfrm_userpolicy_id');
  const selector = readSelector(reader);
  const direction = directionOf(reader.skip(4).u8());
  const attributes = Attributes.parse(reader.skip(3).rest());
  if (selector === undefined || direction === undefined) return undefined;
  const migrations: XfrmMigration[] = [];
  const list = attributes.reader(XFRMA.MIGRATE);
  while (list !== undefined && list.remaining >= MIGRATION) {
    const migration = readMigration(list);
    if (migration !== undefined) migrations.push(migration);
  }
  return { policy: { selector, direction }, migrations };
}

/** `struct xfrm_user_migrate`: 76 octets. */
function writeMigration(writer: HostWriter, migration: XfrmMigration): void {
  for (const ip of [migration.oldDestination, migration.oldSource, migration.newDestination, migration.newSource]) writeAddress(writer, ip);
  writer
    .u8(PROTOCOLS[migration.protocol])
    .u8(MODES[migration.mode])
    .u16(0)
    .u32(migration.reqid)
    .u16(addressFamily(familyOf(migration.oldDestination)))
    .u16(addressFamily(familyOf(migration.newDestination)));
}

function readMigration(reader: HostReader): XfrmMigration | undefined {
  const [oldDestination, oldSource, newDestination, newSource] = [reader.bytes(16), reader.bytes(16), reader.bytes(16), reader.bytes(16)];
  const [protocol, mode] = [protocolOf(reader.u8()), modeOf(reader.u8())];
  const reqid = reader.skip(2).u32();
  const [oldFamily, newFamily] = [ipFamily(reader.u16()), ipFamily(reader.u16())];
  if (protocol === undefined || mode === undefined || oldFamily === undefined || newFamily === undefined) return undefined;
  const ip = (octets: Uint8Array, family: 4 | 6): string => readAddress(new HostReader(octets, 'xfrm_address_t'), family);
  return {
    protocol,
    mode,
    reqid,
    oldSource: ip(oldSource, oldFamily),
    oldDestination: ip(oldDestination, oldFamily),
    newSource: ip(newSource, newFamily),
    newDestination: ip(newDestination, newFamily),
  };
}

/** `struct xfrm_user_kmaddress`: 40 octets. */
function writeIkeAddresses(request: MessageWriter, { local, remote }: { readonly local: string; readonly remote: string }): void {
  request.attribute(XFRMA.KMADDRESS, (writer) => {
    writeAddress(writer, local);
    writeAddress(writer, remote);
    writer
      .u32(0)
      .u16(addressFamily(familyOf(local)))
      .zero(2);
  });
}

const REFUSALS = {
  ENODATA: {
    code: 'KERNEL_ENTRY_MISSING',
    why: 'no SA has the old addresses',
    hint: 'It may have been deleted or moved a moment ago: compare `ip xfrm state`.',
  },
  ENOPROTOOPT: {
    code: 'KERNEL_LACKS_MIGRATION',
    why: 'this kernel cannot move SAs to other addresses (CONFIG_XFRM_MIGRATE)',
    hint: 'They are made anew with the new addresses; a packet that comes meanwhile may be lost.',
  },
};
const MIGRATION = 76;
