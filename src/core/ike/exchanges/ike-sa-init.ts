import { EMPTY } from '../../bytes/bytes.ts';
import { NegotiationFailure, PeerViolation } from '../../bytes/errors.ts';
import { type KeyExchangeOffer, zeroise } from '../../crypto/index.ts';
import { ExchangeType, NotifyType, type Payload } from '../../wire/index.ts';
import { isAdditionalKe } from '../additional-ke.ts';
import type { IkeSa } from '../ike-sa.ts';
import { IntAuth } from '../int-auth.ts';
import { initialKeys } from '../keys.ts';
import { errorNotify, findNotify, need, notify, refusedBy } from '../notifies.ts';
import type { Connection } from '../policy.ts';
import { acceptIke, firstKeMethod, offer, type SelectedIke } from '../proposals.ts';
import { exchange, type Inbound, type Routine } from '../routine.ts';
import type { AuthMaterial } from '../signed-octets.ts';
import { initPatience } from '../tasks/address-pairs.ts';
import { announceInInit, heedInInit } from '../tasks/auth-methods.ts';
import { certificateRequests, hashNotify, lookupNotify, noteCertificateRequests, noteHashes } from '../tasks/certificates.ts';
import { acceptKe, finishKe, methodWanted, offerKe } from '../tasks/ke.ts';
import { floatsForMobike } from '../tasks/mobike.ts';
import { detectNat, natFound, natNotifies } from '../tasks/nat-detection.ts';
import { newNonce, nonceOf } from '../tasks/nonce.ts';
import { agreeOnPpk, announcePpk, mixesIn, notePpk } from '../tasks/ppk.ts';
import { puzzleIn, solvePuzzle } from '../tasks/puzzle.ts';
import { announceRedirect, heedInitRedirect, noteRedirectSupport } from '../tasks/redirect.ts';
import { noteVendorIds } from '../tasks/vendor-ids.ts';
import type { World } from '../world.ts';

/**
 * IKE_SA_INIT, RFC 7296 §1.2:
 *
 *     HDR, SAi1, KEi, Ni  -->  <--  HDR, SAr1, KEr, Nr, [CERTREQ]
 *
 * A responder may first demand a cookie (§2.6), with or without a puzzle to solve (RFC 8019), or another key exchange method (§1.3): the request is then sent anew with the same SPI,
 * nonce and proposals.
 */
export function* initiateIkeSaInit(world: World, sa: IkeSa, connection: Connection): Routine<AuthMaterial> {
  const proposals = offer(connection.proposals, EMPTY);
  const Ni = newNonce(world);
  const tried = new Set<number>();
  let method = firstKeMethod(proposals);
  let cookie: Payload[] = [];
  let ke: { offer: KeyExchangeOffer; payload: Payload } | undefined;
  try {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      if (method === undefined)
        throw new NegotiationFailure('no proposal of this connection has a key exchange we can compute', {
          code: 'NO_KEY_EXCHANGE',
          hint: 'Add a key exchange method, e.g. x25519, to the IKE proposals.',
        });
      tried.add(method);
      ke ??= offerKe(world, method);
      const request: Payload[] = [
        ...cookie, // §2.6: the first payload; the solution of a puzzle behind it (RFC 8019 §7.1.2)
        { kind: 'SA', proposals },
        ke.payload,
        { kind: 'Nonce', data: Ni },
        ...natNotifies(world, sa), // §2.23
        ...abilities(world, connection),
        ...announceRedirect(sa, connection, Ni),
        ...announcePpk(sa, connection),
      ];
      const response = yield* exchange(ExchangeType.IKE_SA_INIT, request, { patience: initPatience(sa) });
      heedInitRedirect(world, connection, response.payloads);
      const demanded = findNotify(response.payloads, NotifyType.COOKIE);
      const refused = errorNotify(response.payloads);
      if (demanded) {
        cookie = [notify(NotifyType.COOKIE, demanded.data), ...(yield* solvePuzzle(connection, response.payloads, demanded.data))];
      } else if (refused?.notify === NotifyType.INVALID_KE_PAYLOAD) {
        method = methodWanted(refused, proposals, tried);
        ke.offer.destroy();
        ke = undefined;
      } else if (refused) {
        throw refusedBy(refused, 'IKE_SA_INIT');
      } else {
        return finish(world, sa, connection, proposals, { Ni, method, offer: ke.offer }, response);
      }
    }
  } finally {
    ke?.offer.destroy();
  }
  throw new PeerViolation('the peer kept demanding cookies and other key exchange methods', {
    code: 'INIT_LOOP',
    section: 'RFC 7296 §2.6',
  });
}

function finish(
  world: World,
  sa: IkeSa,
  connection: Connection,
  proposals: ReturnType<typeof offer>,
  own: { readonly Ni: Uint8Array; readonly method: number; readonly offer: KeyExchangeOffer },
  response: Inbound,
): AuthMaterial {
  const { payloads } = response;
  const selected = acceptIke(proposals, need(payloads, 'SA').proposals);
  if (selected === undefined)
    throw new PeerViolation('the peer chose an IKE proposal that we did not offer', {
      code: 'PROPOSAL_NOT_OFFERED',
      section: 'RFC 7296 §3.3',
    });
  if (selected.suite.keyExchange !== own.method) {
    throw new PeerViolation('the peer chose another key exchange method than the one it answered with', {
      code: 'KE_METHOD_MISMATCH',
      section: 'RFC 7296 §1.2',
    });
  }
  noteAbilities(sa, connection, payloads);
  notePpk(sa, connection, payloads);
  heedInInit(world, sa, connection, payloads);
  if (selected.suite.additional !== undefined && !sa.peer.intermediate) throw noIntermediate();
  const nonces = { Ni: own.Ni, Nr: nonceOf(payloads) };
  const sharedSecret = finishKe(own.offer, own.method, need(payloads, 'KE'));
  sa.setKeys(initialKeys(selected.suite, sharedSecret, nonces, sa, world.options.primitives));
  zeroise(sharedSecret);
  detectNat(world, sa, payloads);
  floatToNatPort(world, sa, connection, payloads);
  const puzzle = puzzleIn(payloads);
  return { initRequest: sa.initRequest ?? EMPTY, initResponse: response.raw, nonces, intAuth: new IntAuth(), puzzle };
}

/** §2.23: the initiator moves to the NAT port as soon as either end sits behind a NAT; for MOBIKE's sake also without (RFC 4555 §3.3). */
export function floatToNatPort(world: World, sa: IkeSa, connection: Connection, payloads: readonly Payload[]): void {
  if (sa.encap || !(natFound(sa) || floatsForMobike(world, sa, connection, payloads))) return;
  const local = { ip: sa.local.ip, port: world.ownPort(true) };
  world.moved(sa, { local, remote: { ip: sa.remote.ip, port: connection.remoteNatPort }, encap: true });
}

/** The responder's half, once the initiator has shown that it is worth state. */
export function* respondIkeSaInit(
  world: World,
  sa: IkeSa,
  selected: SelectedIke,
  candidates: readonly Connection[],
  request: Inbound,
): Routine<{ payloads: Payload[]; nonces: AuthMaterial['nonces'] }> {
  const { payloads } = request;
  const nonces = { Ni: nonceOf(payloads), Nr: newNonce(world) };
  const { payload: ke, sharedSecret } = yield* acceptKe(world, sa, need(payloads, 'KE'));
  sa.setKeys(initialKeys(selected.suite, sharedSecret, nonces, sa, world.options.primitives));
  zeroise(sharedSecret);
  const [connection] = candidates;
  if (connection) noteAbilities(sa, connection, payloads);
  noteRedirectSupport(sa, payloads);
  detectNat(world, sa, payloads);
  const answer: Payload[] = [
    { kind: 'SA', proposals: [{ ...selected.proposal, spi: EMPTY }] },
    ke,
    { kind: 'Nonce', data: nonces.Nr },
    ...natNotifies(world, sa),
    ...certificateRequests(world, candidates),
    ...lookupNotify(world, candidates),
    ...(connection ? abilities(world, connection, payloads) : []),
    ...agreeOnPpk(sa, candidates, payloads),
  ];
  return { nonces, payloads: [...answer, ...announceInInit(world, sa, candidates, request, answer)] };
}

/** What we say of ourselves; a responder announces only what the initiator brought up (D33). */
function abilities(world: World, connection: Connection, asked?: readonly Payload[]): Payload[] {
  const may = (type: number) => asked === undefined || findNotify(asked, type) !== undefined;
  const list: Payload[] = [];
  if (connection.fragmentation !== 'no' && may(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED))
    list.push(notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED));
  if (asked === undefined ? usesIntermediate(connection) : may(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED))
    list.push(notify(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED));
  if (may(NotifyType.SIGNATURE_HASH_ALGORITHMS)) list.push(...hashNotify(world));
  // RFC 6023 §3: only the responder says so
  if (asked !== undefined && connection.childless !== 'never') list.push(notify(NotifyType.CHILDLESS_IKEV2_SUPPORTED));
  return list;
}

/** An ability counts only when both ends announced it; a responder that announces it unasked is ignored (D33). */
function noteAbilities(sa: IkeSa, connection: Connection, payloads: readonly Payload[]): void {
  sa.peer.fragmentation = connection.fragmentation !== 'no' && findNotify(payloads, NotifyType.IKEV2_FRAGMENTATION_SUPPORTED) !== undefined;
  const announced = findNotify(payloads, NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED) !== undefined;
  sa.peer.intermediate = announced && (sa.originalRole === 'responder' || usesIntermediate(connection));
  sa.peer.childless = findNotify(payloads, NotifyType.CHILDLESS_IKEV2_SUPPORTED) !== undefined;
  noteHashes(sa, payloads);
  noteVendorIds(sa, payloads);
  noteCertificateRequests(sa, payloads);
}

/** RFC 9242 §3.1: as initiator we announce IKE_INTERMEDIATE where there is something for it to carry. */
const usesIntermediate = ({ proposals, ppk }: Connection): boolean =>
  mixesIn('IKE_INTERMEDIATE', ppk) || proposals.some((p) => p.transforms.some((t) => isAdditionalKe(t.type)));

const noIntermediate = () =>
  new PeerViolation('the peer chose additional key exchanges, but does not announce IKE_INTERMEDIATE to make them', {
    code: 'INTERMEDIATE_MISSING',
    section: 'RFC 9370 §2.2.1',
  });

/** One cookie, one other method, and both again in the other order (D48). */
const MAX_ATTEMPTS = 5;
