import { toHex } from '../../bytes/bytes.ts';
import { PeerViolation } from '../../bytes/errors.ts';
import { type KeyExchangeOffer, zeroise } from '../../crypto/index.ts';
import { ExchangeType, NotifyType, type Payload, ProtocolId } from '../../wire/index.ts';
import { ikeMet, lowestOf, rivalsMet } from '../collisions.ts';
import type { Millis } from '../effects.ts';
import { followUp, halfMadeByPeer, halfMake, Superseded } from '../exchanges/followup-ke.ts';
import type { HalfMade } from '../half-made.ts';
import { IkeSa } from '../ike-sa.ts';
import { type IkeSuite, type Nonces, rekeyedKeys, withoutProof } from '../keys.ts';
import { armIkeTimers } from '../lifetimes.ts';
import { errorNotify, need, notify, refusedBy } from '../notifies.ts';
import { acceptIke, firstKeMethod, keMethods, noProposalChosen, offer } from '../proposals.ts';
import { exchange, type Inbound, type Reply, type Routine } from '../routine.ts';
import type { World } from '../world.ts';
import { acceptToken, renewToken, tokenFor } from './crash-detection.ts';
import { deleteIkeSa } from './ike-delete.ts';
import { acceptKe, finishKe, methodWanted, offerKe } from './ke.ts';
import { inheritedSync } from './message-id-sync.ts';
import { newNonce, nonceOf } from './nonce.ts';
import { armReauthentication } from './reauthentication.ts';
import { promiseTicket, renewTicket } from './resumption.ts';
import { selectForInit } from './select-ike.ts';
import { announcedWindow, offerWindow, openWindow, widen } from './window-size.ts';

/**
 * RFC 7296 §1.3.2 and §2.18: a new IKE SA with new SPIs and keys; Message IDs begin at 0 and the children move over.
 *
 *     HDR, SK {SA, Ni, KEi}  -->  <--  HDR, SK {SA, Nr, KEr}
 */
export function* rekeyIke(world: World, sa: IkeSa): Routine<void> {
  const { connection } = sa;
  if (sa.state !== 'established' || connection === undefined) return;
  // the peer's, beside which ours is not answered yet: whether it stays is decided then, and what it is to carry comes then
  if (sa.isUndecided) return;
  if (sa.halfMade.rivalOf('ike') || sa.halfMade.anyOfChildren) throw halfMadeByPeer();
  world.transition(sa, 'rekeying');
  let successor: IkeSa;
  try {
    successor = yield* negotiate(world, sa);
  } catch (error) {
    giveUpRekey(world, sa);
    if (error instanceof Superseded) return;
    throw error;
  }
  const decided = sa.successor;
  const rival = decided ?? sa.peerSuccessor;
  const met = rival && (decided ? 'theirs is used' : rivalsMet(nonceHolder(successor), nonceHolder(rival)));
  if (rival !== undefined && met && world.collisions.redundant[met] === 'ours') {
    // §2.8.2: ours holds the lowest nonce; we delete it, the peer deletes the old one
    if (!decided) handOver(world, sa, rival, false);
    yieldTo(world, successor, rival);
    world.enqueue(successor, {
      what: 'redundant IKE SA',
      key: 'delete-ike',
      start: (owner) => deleteIkeSa(world, owner, 'made redundant by a crossing rekey'),
    });
    return;
  }
  handOver(world, sa, successor, true);
  if (rival !== undefined) {
    // theirs is redundant and theirs to delete; a Delete that never comes must not keep it for ever
    yieldTo(world, rival, successor);
    world.arm(rival.timers.linger, world.now + replacedLife(rival));
  }
  yield* deleteIkeSa(world, sa, 'rekeyed');
}

/** Of two successors only one stays; the other one carries nothing, and its end means nothing. */
function yieldTo(world: World, redundant: IkeSa, winner: IkeSa): void {
  if (redundant.isEstablished) stepBack(world, redundant, winner);
}

function* negotiate(world: World, sa: IkeSa): Routine<IkeSa> {
  const connection = sa.connection!;
  const spiI = world.allocateIkeSpi();
  const proposals = offer(connection.proposals, spiI);
  const tried = new Set<number>();
  // what worked before works again without another round trip
  const known = sa.keys.suite.keyExchange;
  let method = proposals.some((p) => keMethods(p).includes(known)) ? known : firstKeMethod(proposals);
  let ke: { offer: KeyExchangeOffer; payload: Payload } | undefined;
  const chosen = toHex(spiI);
  world.chosenSpis.add(chosen);
  try {
    while (method !== undefined) {
      tried.add(method);
      // RFC 7296 §3.9: for each exchange another
      const Ni = newNonce(world);
      ke = offerKe(world, method);
      const response: Inbound = yield* exchange(ExchangeType.CREATE_CHILD_SA, [
        { kind: 'SA', proposals },
        { kind: 'Nonce', data: Ni },
        ke.payload,
        ...offerWindow(connection),
      ]);
      const refused = errorNotify(response.payloads);
      if (refused?.notify === NotifyType.INVALID_KE_PAYLOAD) {
        method = methodWanted(refused, proposals, tried);
        ke.offer.destroy();
        continue;
      }
      if (refused) throw refusedBy(refused, 'rekeying the IKE SA');
      const selected = acceptIke(proposals, need(response.payloads, 'SA').proposals);
      if (selected === undefined || !isIkeSpi(selected.peerSpi) || selected.suite.keyExchange !== method) throw notOffered();
      const nonces = { Ni, Nr: nonceOf(response.payloads) };
      const first = finishKe(ke.offer, method, need(response.payloads, 'KE'));
      const { additional } = selected.suite;
      const window = announcedWindow(response.payloads);
      // copies: follow-ups outlive the datagram
      const spis = { spiI, spiR: selected.peerSpi.slice() };
      const sharedSecrets = yield* followUp(world, sa, 'ike', response, { nonces, first, additional });
      const successor = successorOf(world, sa, 'initiator', spis, selected.suite, sharedSecrets, nonces);
      acceptToken(successor, response.payloads);
      widen(successor, window);
      return successor;
    }
  } finally {
    world.chosenSpis.delete(chosen);
    ke?.offer.destroy();
  }
  throw notOffered();
}

/** The responder. The children move only once the answer is on its way, since it is sent under the old keys. */
export function* respondIkeRekey(world: World, sa: IkeSa, payloads: readonly Payload[]): Routine<Reply> {
  const refuses = () => world.collisions.rekeyIke[ikeMet(sa)] === 'TEMPORARY_FAILURE';
  if (refuses()) return { payloads: [notify(NotifyType.TEMPORARY_FAILURE)] };
  const connection = sa.connection;
  const offered = need(payloads, 'SA').proposals;
  if (connection === undefined || !offered.every(({ spi }) => isIkeSpi(spi))) throw noProposalChosen('IKE', [], offered);
  const { selected } = selectForInit([connection], payloads);
  const nonces = { Ni: nonceOf(payloads), Nr: newNonce(world) };
  const { payload: ke, sharedSecret } = yield* acceptKe(world, sa, need(payloads, 'KE'));
  // while it was computed something of ours may have begun
  if (refuses()) {
    zeroise(sharedSecret);
    return { payloads: [notify(NotifyType.TEMPORARY_FAILURE)] };
  }
  const spiR = world.allocateIkeSpi();
  const spis = { spiI: selected.peerSpi.slice(), spiR };
  const { suite, proposal } = selected;
  const window = announcedWindow(payloads);
  const complete = (secrets: readonly Uint8Array[]): Pick<Reply, 'afterwards'> => {
    const successor = successorOf(world, sa, 'responder', spis, suite, secrets, nonces);
    widen(successor, window);
    return {
      afterwards: () => {
        if (sa.state === 'rekeying') awaitDecision(sa, successor);
        else handOver(world, sa, successor, false);
      },
    };
  };
  const answer: Payload[] = [
    { kind: 'SA', proposals: [{ ...proposal, protocol: ProtocolId.IKE, spi: spiR }] },
    { kind: 'Nonce', data: nonces.Nr },
    ke,
    ...tokenFor(world, connection, spis, 'responder'),
    ...promiseTicket(payloads),
    ...offerWindow(connection),
  ];
  if (suite.additional === undefined) return { payloads: answer, ...complete([sharedSecret]) };
  const half: HalfMade = {
    replaces: 'ike',
    lowestNonce: lowestOf(nonces),
    owed: [...suite.additional],
    sharedSecrets: [sharedSecret],
    // biome-ignore lint/correctness/useYield: an IKE SA is made without asking anybody
    *complete(secrets) {
      return sa.isEstablished ? complete(secrets) : undefined;
    },
  };
  return { payloads: [...answer, halfMake(world, sa, half)] };
}

/** Everything but keys, SPIs, windows and timers is inherited. */
function successorOf(
  world: World,
  sa: IkeSa,
  originalRole: 'initiator' | 'responder',
  spis: { readonly spiI: Uint8Array; readonly spiR: Uint8Array },
  suite: IkeSuite,
  sharedSecrets: readonly Uint8Array[],
  nonces: Nonces,
): IkeSa {
  const successor = new IkeSa({
    id: world.nextIkeSaId(),
    originalRole,
    ...spis,
    local: sa.local,
    remote: sa.remote,
    encap: sa.encap,
    transport: sa.transport,
    connection: sa.connection,
    state: 'established',
    bornAt: world.now,
  });
  try {
    successor.setKeys(withoutProof(rekeyedKeys(sa.keys, suite, sharedSecrets, nonces, spis)));
  } finally {
    zeroise(...sharedSecrets);
  }
  Object.assign(successor.peer, sa.peer);
  Object.assign(successor.nat, sa.nat);
  successor.redirect = sa.redirect;
  successor.floated = sa.floated;
  successor.datagram = sa.datagram;
  successor.tcp = sa.tcp;
  successor.mobike = sa.mobike;
  successor.sync = inheritedSync(sa.sync);
  successor.resumption = sa.resumption && { session: sa.resumption.session, authenticatedAt: sa.resumption.authenticatedAt };
  successor.localId = sa.localId;
  successor.remoteId = sa.remoteId;
  successor.localAuth = sa.localAuth;
  successor.ppk = sa.ppk;
  successor.authMethods = sa.authMethods;
  successor.remoteAuth = sa.remoteAuth;
  successor.reauth = sa.reauth;
  successor.leasedAs = sa.leasedAs;
  successor.leased = sa.leased;
  successor.assigned = sa.assigned;
  successor.assignedToUs = sa.assignedToUs;
  successor.servedFamilies = sa.servedFamilies;
  successor.splitDns = sa.splitDns;
  successor.encryptedDns = sa.encryptedDns;
  successor.establishedAt = world.now;
  successor.lastInbound = world.now;
  successor.lowestNonce = lowestOf(nonces).slice();
  openWindow(successor);
  world.add(successor);
  world.noteProven(successor);
  armIkeTimers(world, successor);
  return successor;
}

/** The children and the waiting jobs go to the IKE SA that stays (§2.18). */
export function handOver(world: World, old: IkeSa, successor: IkeSa, byUs: boolean): void {
  old.peerSuccessor = undefined;
  old.predecessor = undefined;
  successor.predecessor = old;
  stepBack(world, old, successor);
  renewTicket(world, old, successor);
  renewToken(world, successor, successor.originalRole === 'initiator');
  world.notice({ kind: 'ike-rekeyed', from: old.id, to: successor.id, byUs });
  // a peer that never sends its Delete must not keep the old SA alive for ever
  if (!byUs) world.arm(old.timers.linger, world.now + replacedLife(old));
  world.pump(successor.heir);
}

/**
 * The peer asks for something on the IKE SA that it made while our own rekeying was under way: so it has decided for it (§2.8.2), and its
 * children are looked for there.
 */
export function settleOn(world: World, sa: IkeSa): void {
  if (sa.predecessor && sa.isUndecided) handOver(world, sa.predecessor, sa, false);
}

/** §2.1: the answer stays for as long as the peer may ask for it again; it is likely to be as patient as we are in its place (RFC 4555 §3.11). */
function replacedLife({ connection, mobike }: IkeSa): Millis {
  const { giveUp = 0, responderGiveUp = 0 } = connection?.retransmission ?? {};
  return Math.max(LEAST_REPLACED_LIFE, giveUp, mobike?.decides ? responderGiveUp : 0);
}

/** From here on an IKE SA only waits for its Delete. */
function stepBack(world: World, sa: IkeSa, successor: IkeSa): void {
  sa.successor = successor;
  successor.unwanted ||= sa.unwanted;
  sa.halfMade.clear();
  world.disarm(sa.timers, 'follow-up');
  if (sa.isEstablished) world.transition(sa, 'replaced');
  world.disarm(sa.timers, 'rekey-ike');
  world.disarm(sa.timers, 'expire-ike');
  world.disarm(sa.timers, 'liveness');
  // a demand may have come since the successor was made
  if (sa.timers.reauthenticate.slot >= 0 && successor.heir.isEstablished) armReauthentication(world, successor.heir);
  world.disarm(sa.timers, 'reauthenticate');
  if (sa.timers.superseded.slot >= 0) world.arm(successor.timers.superseded, sa.timers.superseded.at);
  world.disarm(sa.timers, 'superseded');
  // the successor may have been rekeyed in its turn before its children came
  world.moveChildren(sa, successor.heir);
}

function giveUpRekey(world: World, sa: IkeSa): void {
  if (sa.state !== 'rekeying') return;
  if (sa.peerSuccessor) handOver(world, sa, sa.peerSuccessor, false);
  else world.transition(sa, 'established');
}

/** Which of two successors stays is decided once ours is answered, or by what the peer does (§2.8.2). */
export function awaitDecision(sa: IkeSa, rival: IkeSa): void {
  sa.peerSuccessor = rival;
  rival.predecessor = sa;
}

/** §3.1: eight octets, not all of them zero. */
const isIkeSpi = (spi: Uint8Array): boolean => spi.length === 8 && spi.some((octet) => octet !== 0);

const nonceHolder = (sa: IkeSa): { readonly lowestNonce: Uint8Array } => ({ lowestNonce: sa.lowestNonce ?? new Uint8Array(0) });

const notOffered = () =>
  new PeerViolation('the peer chose an IKE proposal that we did not offer', { code: 'PROPOSAL_NOT_OFFERED', section: 'RFC 7296 §3.3' });

const LEAST_REPLACED_LIFE: Millis = 60_000;
