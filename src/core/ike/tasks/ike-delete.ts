import { TimedOut } from '../../bytes/errors.ts';
import { ExchangeType, type Payload, ProtocolId } from '../../wire/index.ts';
import type { IkeSa } from '../ike-sa.ts';
import { findAll } from '../notifies.ts';
import { exchange, type Routine } from '../routine.ts';
import type { World } from '../world.ts';

/** RFC 7296 §1.4.1: deleting an IKE SA closes its children as well; they are not named. It is gone whether or not the peer answers. */
export function* deleteIkeSa(world: World, sa: IkeSa, reason: string): Routine<void> {
  if (sa.is('deleting', 'lingering', 'dead')) return;
  world.transition(sa, 'deleting');
  try {
    yield* exchange(ExchangeType.INFORMATIONAL, [{ kind: 'D', protocol: ProtocolId.IKE, spis: [] }]);
  } catch (error) {
    if (!(error instanceof TimedOut)) throw error;
  } finally {
    if (sa.is('deleting')) world.kill(sa, reason, sa.failure);
  }
}

export const asksForIkeDelete = (payloads: readonly Payload[]): boolean =>
  findAll(payloads, 'D').some((d) => d.protocol === ProtocolId.IKE);
