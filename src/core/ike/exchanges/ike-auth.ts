import { NegotiationFailure, PeerRefused, PeerViolation, TunnelwrightError } from '../../bytes/errors.ts';
import { ExchangeType, type NotifyPayload, NotifyType, type Payload } from '../../wire/index.ts';
import type { Millis } from '../effects.ts';
import type { IkeSa } from '../ike-sa.ts';
import { established } from '../lifetimes.ts';
import { answerTo, errorNotify, find, findNotify, invalidSyntax, notify, refusedBy } from '../notifies.ts';
import type { ChildPolicy, Connection } from '../policy.ts';
import { ask, exchange, type Inbound, type Reply, type Routine } from '../routine.ts';
import type { AuthMaterial } from '../signed-octets.ts';
import { explainFamilies, familyNotifies } from '../tasks/address-families.ts';
import { announceInAuth, heedInAuth } from '../tasks/auth-methods.ts';
import { askedId, authenticateSelf, candidatesFor, verifyPeer } from '../tasks/authenticate.ts';
import { certificateRequests, lookupNotify, noteCertificateRequests } from '../tasks/certificates.ts';
import { type ChildOffer, childAnswer, offerChild, offeredTraffic, takeChildAnswer, takeChildRequest } from '../tasks/child-create.ts';
import { installChild } from '../tasks/child-install.ts';
import { singlePairOf } from '../tasks/child-selectors.ts';
import { configurationRequest, leaseAddresses, takeConfiguration } from '../tasks/configuration.ts';
import { acceptToken, offerToken } from '../tasks/crash-detection.ts';
import { methodName } from '../tasks/ke.ts';
import { answerCounterSync, offerCounterSync, takeCounterSync } from '../tasks/message-id-sync.ts';
import { answerMobikeOffer, offerMobike, takeMobike } from '../tasks/mobike.ts';
import { isSomebody } from '../tasks/null-authentication.ts';
import { adoptPpk, blamePpk, judgePpk, type PpkJudgement, type PpkProof, provePpk, settlePpk } from '../tasks/ppk.ts';
import { solveAuthPuzzle } from '../tasks/puzzle.ts';
import { authLifetime, heedAuthLifetime, inPlaceOf, patienceOf } from '../tasks/reauthentication.ts';
import { heedAuthRedirect, redirectAuthenticated } from '../tasks/redirect.ts';
import { acceptTicket, grantTicket, settleResumption, ticketRequest } from '../tasks/resumption.ts';
import { enforceUniqueness, heedInitialContact, initialContact, refuseExcess } from '../tasks/uniqueness.ts';
import { heedWindow, offerWindow, openWindow } from '../tasks/window-size.ts';
import type { World } from '../world.ts';
import { pendingKes } from './ike-intermediate.ts';

/**
 * IKE_AUTH, RFC 7296 §1.2, as the initiator:
 *
 *     HDR, SK {IDi, [CERT,] [CERTREQ,] [IDr,] AUTH, SAi2, TSi, TSr}  -->  <--  HDR, SK {IDr, [CERT,] AUTH, SAr2, TSi, TSr}
 *
 * The IKE SA stands when the peer is proven; its first CHILD_SA may still fail on its own (§1.2, end).
 *
 * @returns whether the child was made; false where none was asked for, or it has to be asked for otherwise
 */
export function* initiateIkeAuth(
  world: World,
  sa: IkeSa,
  connection: Connection,
  policy: ChildPolicy | undefined,
  material: AuthMaterial,
): Routine<boolean> {
  const ppk = yield* provePpk(sa, connection, material);
  const self = yield* authenticateSelf(sa, connection, material, ppk.keys);
  const [id, ...proof] = self as [Payload, ...Payload[]];
  const peer = askedId(sa, connection);
  const child = policy && offerChild(world, sa, policy, false);
  const request: Payload[] = [
    ...(yield* solveAuthPuzzle(sa, connection, material)),
    id,
    ...proof.filter((p) => p.kind === 'CERT'),
    ...initialContact(world, sa, connection),
    ...(sa.resumption?.session ? [] : [...certificateRequests(world, [connection]), ...lookupNotify(world, [connection])]),
    ...(peer ? [{ kind: 'IDr', ...peer } as const] : []),
    ...proof.filter((p) => p.kind === 'AUTH'),
    ...offerToken(world, sa, connection),
    ...configurationRequest(connection, sa.reauth.of?.heir),
    ...offerMobike(world, sa, connection),
    ...offerWindow(connection),
    ...offerCounterSync(connection),
    ...(child?.payloads ?? []),
    ...ticketRequest(connection),
    ...ppk.notifies,
  ];
  const payloads = yield* askPeer(patienceOf(sa), [...request, ...announceInAuth(world, sa, connection, request)]);
  const refused = errorNotify(payloads);
  // without AUTH nobody is proven: whatever the notify says, there is no IKE SA
  if (find(payloads, 'AUTH') === undefined && refused) throw refusedBy(refused, 'IKE_AUTH');

  yield* provePeer(world, sa, connection, material, payloads, ppk);
  takeMobike(world, sa, connection, payloads);
  openWindow(sa);
  heedWindow(sa, payloads);
  takeCounterSync(sa, connection, payloads);
  established(world, sa);
  settleResumption(world, sa);
  acceptToken(sa, payloads);
  heedAuthRedirect(world, sa, connection, payloads);
  acceptTicket(world, sa, payloads);
  heedAuthLifetime(world, sa, payloads);
  enforceUniqueness(world, sa);
  // whoever called deletes the IKE SA when the rest fails, and the child on the other side goes with it (§1.4.1)
  if (child && refused && !mayAskForPair(sa, child.offer, refused))
    throw explainFamilies(connection, payloads, refusedBy(refused, `CHILD_SA ${child.offer.policy.name}`));
  takeConfiguration(world, sa, connection, payloads);
  if (child === undefined || refused) return false;
  const agreement = takeChildAnswer(sa, child.offer, payloads);
  yield* installChild(world, sa, agreement, material.nonces, [], inPlaceOf(world, sa, agreement));
  return true;
}

/** RFC 7296 §2.9: the child is asked for again, more narrowly, by CREATE_CHILD_SA. */
const mayAskForPair = (sa: IkeSa, offer: ChildOffer, refused: NotifyPayload): boolean =>
  refused.notify === NotifyType.SINGLE_PAIR_REQUIRED && singlePairOf(sa, offeredTraffic(offer)) !== undefined;

/** The responder takes an answer that breaks the grammar for its best: it has an IKE SA, and must hear that we have none. */
function* askPeer(patience: Millis | undefined, request: readonly Payload[]): Routine<readonly Payload[]> {
  try {
    return (yield* exchange(ExchangeType.IKE_AUTH, request, { patience })).payloads;
  } catch (error) {
    if (error instanceof PeerViolation) yield* farewell(NotifyType.INVALID_SYNTAX);
    throw error;
  }
}

/** §2.21.2: a responder we cannot verify learns that it failed, in an exchange of its own, and nothing else. */
function* provePeer(
  world: World,
  sa: IkeSa,
  connection: Connection,
  material: AuthMaterial,
  payloads: readonly Payload[],
  ppk: PpkProof,
): Routine<void> {
  try {
    if (find(payloads, 'AUTH') === undefined) throw noProof();
    settlePpk(sa, connection, ppk, payloads);
    yield* verifyPeer(world, sa, [connection], material, payloads);
  } catch (error) {
    yield* farewell(NotifyType.AUTHENTICATION_FAILED);
    throw blamePpk(sa, { keys: sa.keys, used: sa.ppk?.agreed === 'IKE_AUTH' ? sa.ppk.used : undefined }, error);
  }
}

/** A courtesy: that it went unanswered changes nothing. */
function* farewell(type: number): Routine<void> {
  try {
    yield* exchange(ExchangeType.INFORMATIONAL, [notify(type)]);
  } catch (error) {
    if (!(error instanceof TunnelwrightError)) throw error;
  }
}

/**
 * The responder. Order matters: nothing is leased, installed or answered before the initiator is proven and allowed, and our own AUTH is
 * made before the child, so that a failure there leaves no half-built tunnel behind.
 */
export function* respondIkeAuth(
  world: World,
  sa: IkeSa,
  candidates: readonly Connection[],
  material: AuthMaterial,
  request: Inbound,
): Routine<Reply> {
  const { payloads } = request;
  const [owed] = pendingKes(sa, material);
  if (owed) throw invalidSyntax(`IKE_AUTH before the key exchange by ${methodName(owed.method)} that was agreed`, 'RFC 9370 §2.2.2');
  noteCertificateRequests(sa, payloads);
  const possible = candidatesFor(candidates, payloads);
  if (find(payloads, 'AUTH') === undefined) throw wantsEap();
  const ppk = yield* judgePpk(world, sa, possible, payloads);
  const connection = yield* provenInitiator(world, sa, material, payloads, ppk);
  const mixed = adoptPpk(sa, ppk);
  sa.connection = connection;
  // the peer is no stranger any more: what is waited for now is ours, and has deadlines of its own
  world.disarm(sa.timers, 'half-open');
  const allowed = yield* ask({
    kind: 'authorise',
    connection: connection.name,
    remoteId: sa.remoteId!,
    remote: sa.remote,
    anonymous: !isSomebody(sa),
    resumed: sa.resumption?.session !== undefined,
  });
  if (!allowed.ok) throw allowed.error;
  const mobike = answerMobikeOffer(world, sa, connection, request);
  heedInAuth(world, sa, connection, payloads);
  const self = [...(yield* authenticateSelf(sa, connection, material)), ...mixed];
  heedInitialContact(world, sa, findNotify(payloads, NotifyType.INITIAL_CONTACT) !== undefined);
  // before anybody is counted: the IKE SA that this one goes on from is over
  settleResumption(world, sa);
  refuseExcess(world, sa);
  established(world, sa);
  acceptToken(sa, payloads);
  const elsewhere = redirectAuthenticated(world, sa, allowed.redirect);
  if (elsewhere.length > 0) return { payloads: [...self, ...elsewhere] };
  const child = yield* firstChild(world, sa, connection, material, payloads);
  return {
    payloads: [
      ...self,
      ...offerToken(world, sa, connection),
      ...authLifetime(world, sa),
      ...child,
      ...mobike,
      ...offerWindow(connection),
      ...answerCounterSync(sa, connection, payloads),
      ...grantTicket(world, sa, payloads),
    ],
    afterwards: () => {
      openWindow(sa);
      heedWindow(sa, payloads);
      enforceUniqueness(world, sa);
    },
  };
}

function* provenInitiator(
  world: World,
  sa: IkeSa,
  material: AuthMaterial,
  payloads: readonly Payload[],
  ppk: PpkJudgement,
): Routine<Connection> {
  try {
    return yield* verifyPeer(world, sa, ppk.candidates, material, payloads, ppk);
  } catch (error) {
    throw blamePpk(sa, ppk, error);
  }
}

/** §1.2: when the CHILD_SA cannot be made the IKE SA is created as usual, and an error notify stands for the child. */
function* firstChild(
  world: World,
  sa: IkeSa,
  connection: Connection,
  material: AuthMaterial,
  payloads: readonly Payload[],
): Routine<Payload[]> {
  const childless = find(payloads, 'SA') === undefined;
  // RFC 6023 §4: without our consent the child is mandatory
  if (childless && connection.childless === 'never')
    throw invalidSyntax('IKE_AUTH without a CHILD_SA, which this connection does not allow', 'RFC 6023 §4');
  try {
    const configuration = yield* leaseAddresses(world, sa, connection, payloads, childless);
    if (childless) return configuration;
    const { agreement, proposal } = takeChildRequest(world, sa, connection, payloads);
    yield* installChild(world, sa, agreement, material.nonces, [], inPlaceOf(world, sa, agreement));
    return [...configuration, ...childAnswer(agreement, proposal)];
  } catch (error) {
    if (!(error instanceof TunnelwrightError)) throw error;
    world.notice({ kind: 'failed', ikeSa: sa.id, connection: connection.name, what: 'CHILD_SA in IKE_AUTH', error });
    return [...answerTo(error), ...familyNotifies(sa.servedFamilies)];
  }
}

const noProof = () =>
  new PeerRefused('the peer answered IKE_AUTH without AUTH payload and without saying why', {
    code: 'PEER_UNPROVEN',
    notify: 0,
    section: 'RFC 7296 §2.15',
  });

/** RFC 7296 §2.16: no AUTH in the first request asks for EAP, which this connection does not offer. */
const wantsEap = () =>
  new NegotiationFailure('the peer wants to authenticate by EAP, which no connection here offers', {
    code: 'EAP_NOT_OFFERED',
    notify: NotifyType.AUTHENTICATION_FAILED,
    section: 'RFC 7296 §2.16',
    hint: 'Use a certificate or a pre-shared key on the peer.',
  });
