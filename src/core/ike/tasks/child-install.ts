import { DataPlaneError, NegotiationFailure } from '../../bytes/errors.ts';
import { zeroise } from '../../crypto/index.ts';
import { IntegrityId } from '../../wire/index.ts';
import { ChildSa } from '../child-sa.ts';
import { lowestOf } from '../collisions.ts';
import type { ChildSaKeys, ChildSaSpec } from '../effects.ts';
import type { IkeSa } from '../ike-sa.ts';
import { childKeys, type Nonces } from '../keys.ts';
import { volumeLimits } from '../lifetimes.ts';
import { ask, type Routine } from '../routine.ts';
import { detached } from '../traffic-selectors.ts';
import type { World } from '../world.ts';
import type { ChildAgreement } from './child-create.ts';
import { catchUp, trafficPath } from './mobike-line.ts';
import { awaitTakeOver, standInFor } from './reauthentication.ts';

/**
 * Derives KEYMAT and puts the child into the data plane; the SA exists only once that worked.
 * @param sharedSecrets of the key exchanges that were made for it, none in IKE_AUTH; they are zeroised
 */
export function* installChild(
  world: World,
  sa: IkeSa,
  agreement: ChildAgreement,
  nonces: Nonces,
  sharedSecrets: readonly Uint8Array[],
  successor: { readonly replaces: ChildSa | undefined; readonly outboundActive: boolean },
): Routine<ChildSa> {
  const spec = specOf(world, sa, agreement, nonces, sharedSecrets, successor);
  const child = new ChildSa({
    spec,
    policy: agreement.policy,
    suite: agreement.suite,
    establishedAt: world.now,
    lowestNonce: lowestOf(nonces),
    createdByUs: agreement.exchangeRole === 'initiator',
    asked: agreement.asked,
  });
  world.addChild(sa, child);
  let installed = false;
  try {
    const answer = yield* ask({ kind: 'install', spec });
    // the answer to the peer's Delete named our half: whatever came of the Ask, nothing is left to be deleted
    if (child.state !== 'installing')
      throw new NegotiationFailure('the CHILD_SA was deleted while it was being installed', {
        code: 'CHILD_SA_GONE',
        section: 'RFC 7296 §1.4.1',
      });
    if (!answer.ok) {
      throw new DataPlaneError(`the CHILD_SA could not be installed: ${answer.error.message}`, {
        code: answer.error.code,
        cause: answer.error,
        ...(answer.error.hint ? { hint: answer.error.hint } : {}),
      });
    }
    installed = true;
  } finally {
    if (!installed) notInstalled(world, child, 'it could not be installed');
  }
  world.childTransition(child, 'installed');
  child.standIn = standInFor(world, child);
  catchUp(world, sa, spec);
  if (world.options.logKeys) logChildKeys(world, spec);
  world.notice({ kind: 'child-up', child: child.id, ikeSa: sa.id, name: spec.name, suite: child.info().suite });
  awaitTakeOver(world, child);
  return child;
}

/**
 * The Ask is over, and the child does not stand. One that was removed meanwhile (§1.4.1) kept its keys until now, since the data plane may
 * have read them only at the end; what it installed then goes again.
 */
export function notInstalled(world: World, child: ChildSa, reason: string): void {
  if (child.state === 'dead') world.emit({ kind: 'child-remove', child: child.id, reason });
  else world.removeChild(child, reason);
  child.forgetKeys();
}

/** With `ike-keys` the one place where keys leave, and only when the operator asked for it. */
function logChildKeys(world: World, { id, local, remote, inbound, outbound }: ChildSaSpec): void {
  const copy = (half: ChildSaKeys): ChildSaKeys => ({
    ...half,
    encryptionKey: half.encryptionKey.slice(),
    integrityKey: half.integrityKey.slice(),
  });
  world.notice({ kind: 'child-keys', child: id, local, remote, inbound: copy(inbound), outbound: copy(outbound) });
}

function specOf(
  world: World,
  sa: IkeSa,
  agreement: ChildAgreement,
  nonces: Nonces,
  sharedSecrets: readonly Uint8Array[],
  { replaces, outboundActive }: { readonly replaces: ChildSa | undefined; readonly outboundActive: boolean },
): ChildSaSpec {
  const { policy, suite, mode, inboundSpi, outboundSpi, localTs, remoteTs, exchangeRole } = agreement;
  const keys = childKeys(sa.keys, suite, nonces, sharedSecrets);
  zeroise(...sharedSecrets);
  const { initiator, responder } = keys;
  const [outbound, inbound] = exchangeRole === 'initiator' ? [initiator, responder] : [responder, initiator];
  const half = (spi: number, k: typeof initiator): ChildSaKeys => ({
    spi,
    encryption: suite.encryption,
    keyLength: suite.keyLength,
    integrity: policy.sha256_96 === true ? truncated(suite.integrity) : suite.integrity,
    encryptionKey: k.encryptionKey,
    integrityKey: k.integrityKey,
  });
  return {
    id: world.nextChildId(),
    ikeSa: sa.id,
    connection: sa.connection?.name ?? '',
    name: policy.name,
    protocol: suite.protocol,
    mode,
    inbound: half(inboundSpi, inbound),
    outbound: half(outboundSpi, outbound),
    esn: suite.esn,
    ...(agreement.unpadded && { unpadded: true }),
    ...(policy.packets && { packets: policy.packets }),
    ...agreement.packets,
    replayWindow: policy.replayWindow,
    localTs: detached(localTs, policy.localTs),
    remoteTs: detached(remoteTs, policy.remoteTs),
    ...trafficPath(sa),
    outboundActive,
    replaces: replaces?.id,
    limits: volumeLimits(world, policy.lifetimes, suite.esn),
    assigned: sa.assigned,
  };
}

/** The keys are of one length, so that only the data plane needs to know. */
const truncated = (integrity: number): number =>
  integrity === IntegrityId.AUTH_HMAC_SHA2_256_128 ? IntegrityId.AUTH_HMAC_SHA2_256_96 : integrity;
