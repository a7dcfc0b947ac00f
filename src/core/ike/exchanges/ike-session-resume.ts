import { EMPTY } from '../../bytes/bytes.ts';
import { PeerViolation, TimedOut } from '../../bytes/errors.ts';
import { zeroise } from '../../crypto/index.ts';
import { ExchangeType, NotifyType, type Payload } from '../../wire/index.ts';
import type { Millis } from '../effects.ts';
import type { IkeSa } from '../ike-sa.ts';
import { IntAuth } from '../int-auth.ts';
import { resumedKeys } from '../keys.ts';
import { errorNotify, findNotify, notify, refusedBy } from '../notifies.ts';
import type { Connection } from '../policy.ts';
import { exchange, type Inbound, type Routine } from '../routine.ts';
import type { AuthMaterial } from '../signed-octets.ts';
import { detectNat, natNotifies } from '../tasks/nat-detection.ts';
import { newNonce, nonceOf } from '../tasks/nonce.ts';
import { announceRedirect, heedInitRedirect, noteRedirectSupport } from '../tasks/redirect.ts';
import { type HeldTicket, ticketRefused } from '../tasks/resumption.ts';
import type { TicketState } from '../tasks/tickets.ts';
import type { World } from '../world.ts';
import { floatToNatPort } from './ike-sa-init.ts';

/**
 * IKE_SESSION_RESUME, RFC 5723 §4.3.2, in the place of IKE_SA_INIT:
 *
 *     HDR, [N(COOKIE),] Ni, N(TICKET_OPAQUE), [N+]  -->  <--  HDR, Nr, [N+]
 *
 * No key exchange: the keys come from SK_d of the IKE SA before, and two nonces (§5.1).
 */
export function* initiateSessionResume(world: World, sa: IkeSa, connection: Connection, held: HeldTicket): Routine<AuthMaterial> {
  sa.resumption = { session: { ...held.session, ticket: undefined }, authenticatedAt: undefined };
  const Ni = newNonce(world);
  let cookie: Payload[] = [];
  let unused = false;
  try {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const response = yield* exchange(
        ExchangeType.IKE_SESSION_RESUME,
        [
          ...cookie,
          { kind: 'Nonce', data: Ni },
          notify(NotifyType.TICKET_OPAQUE, held.opaque),
          ...natNotifies(world, sa),
          ...(connection.fragmentation === 'no' ? [] : [notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)]),
          ...announceRedirect(sa, connection, Ni),
        ],
        { patience: PATIENCE },
      );
      const { payloads } = response;
      const demanded = findNotify(payloads, NotifyType.COOKIE);
      if (demanded) {
        cookie = [notify(NotifyType.COOKIE, demanded.data)];
        continue;
      }
      heedInitRedirect(world, connection, payloads);
      const refused = errorNotify(payloads);
      if (refused) throw refusedBy(refused, 'IKE_SESSION_RESUME');
      if (findNotify(payloads, NotifyType.TICKET_NACK)) throw ticketRefused();
      const nonces = { Ni, Nr: nonceOf(payloads) };
      sa.setKeys(resumedKeys(held.suite, held.SK_d, nonces, sa, world.options.primitives));
      noteAbilities(sa, connection, payloads);
      detectNat(world, sa, payloads);
      floatToNatPort(world, sa, connection, payloads);
      return { initRequest: sa.initRequest ?? EMPTY, initResponse: response.raw, nonces, intAuth: new IntAuth() };
    }
  } catch (error) {
    unused = error instanceof TimedOut;
    throw error;
  } finally {
    // §4.3.1: a ticket is used once an IKE SA stands by it; silence says nothing about it
    if (unused) world.wallet.put(connection.name, held);
    else zeroise(held.SK_d);
  }
  throw new PeerViolation('the peer kept demanding cookies', { code: 'INIT_LOOP', section: 'RFC 7296 §2.6' });
}

/** The responder's half, once the ticket was found good. */
// biome-ignore lint/correctness/useYield: like respondIkeSaInit, whose place it takes
export function* respondSessionResume(
  world: World,
  sa: IkeSa,
  connection: Connection,
  { state, id }: { readonly state: TicketState; readonly id: string },
  { payloads }: Inbound,
): Routine<{ payloads: Payload[]; nonces: AuthMaterial['nonces'] }> {
  const nonces = { Ni: nonceOf(payloads), Nr: newNonce(world) };
  const { suite, SK_d, takerId, giverId, takerAuth, giverAuth, spiI, spiR, authenticatedAt, expires } = state;
  sa.resumption = {
    session: { localId: giverId, remoteId: takerId, localAuth: giverAuth, remoteAuth: takerAuth, spiI, spiR, ticket: { id, expires } },
    authenticatedAt,
  };
  sa.setKeys(resumedKeys(suite, SK_d, nonces, sa, world.options.primitives));
  zeroise(SK_d);
  noteAbilities(sa, connection, payloads);
  noteRedirectSupport(sa, payloads);
  detectNat(world, sa, payloads);
  return {
    nonces,
    payloads: [
      { kind: 'Nonce', data: nonces.Nr },
      ...natNotifies(world, sa),
      ...(sa.peer.fragmentation ? [notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)] : []),
      ...(connection.childless === 'never' ? [] : [notify(NotifyType.CHILDLESS_IKEV2_SUPPORTED)]),
    ],
  };
}

/** §5: what the peer can do comes from this exchange, not from the ticket. */
function noteAbilities(sa: IkeSa, connection: Connection, payloads: readonly Payload[]): void {
  sa.peer.fragmentation = connection.fragmentation !== 'no' && findNotify(payloads, NotifyType.IKEV2_FRAGMENTATION_SUPPORTED) !== undefined;
  sa.peer.childless = findNotify(payloads, NotifyType.CHILDLESS_IKEV2_SUPPORTED) !== undefined;
}

/** A cookie, and another one when the first was too old. */
const MAX_ATTEMPTS = 3;
/** RFC 5723 §4.3.2: many answer nothing to an exchange that they do not know, and are asked the long way before anybody minds. */
const PATIENCE: Millis = 1500;
