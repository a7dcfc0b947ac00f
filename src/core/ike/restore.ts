import { ConfigError } from '../bytes/errors.ts';
import { EncryptionId, ExchangeType } from '../wire/index.ts';
import { ChildSa } from './child-sa.ts';
import type { ChildSaSpec, Millis } from './effects.ts';
import type { EndpointWorld } from './endpoint-world.ts';
import { IkeSa } from './ike-sa.ts';
import { resumeTakingOver } from './initiation.ts';
import { withoutProof } from './keys.ts';
import { armChildTimers, armIkeTimers } from './lifetimes.ts';
import { MessageWindow } from './message-window.ts';
import type { ChildPolicy, Connection } from './policy.ts';
import { exchange, type Routine } from './routine.ts';
import { type ChildSaSnapshot, copyKeys, type EndpointSnapshot, type IkeSaSnapshot } from './snapshot.ts';
import { deleteHalves } from './tasks/child-delete.ts';
import { notInstalled } from './tasks/child-install.ts';
import { deleteIkeSa } from './tasks/ike-delete.ts';
import { awaitDecision } from './tasks/ike-rekey.ts';
import { synchronise, synchroniseCounters } from './tasks/message-id-sync.ts';
import { catchUp, trafficPath } from './tasks/mobike-line.ts';
import { resumeMobike } from './tasks/mobike-roam.ts';
import { restoreMobike } from './tasks/mobike-state.ts';
import { settleRestored } from './tasks/reauthentication.ts';
import { restoreWallet } from './tasks/resumption.ts';
import { newTcpLine } from './tasks/tcp-state.ts';
import { openAgain } from './tasks/tcp-streams.ts';
import { resumeUniqueness } from './tasks/uniqueness.ts';
import { openWindow, widen } from './tasks/window-size.ts';

/**
 * Children are installed again by the Ask `install`, under new ids. A request that was under way when the snapshot was made may have
 * reached the peer: its Message ID is used again with a liveness check, which the peer either answers anew or has answered already. What
 * the peer may have made or kept on account of it is deleted then. Where the peer agreed to that, both synchronise their counters instead (RFC 6311), and
 * the snapshot may be older.
 *
 * @param exact nothing was sent or received since it was made, and there is nothing to synchronise
 */
export function restoreEndpoint(world: EndpointWorld, snapshot: EndpointSnapshot, exact: boolean): void {
  const restored: [IkeSa, IkeSaSnapshot][] = [];
  for (const saved of snapshot.ikeSas) {
    const connection = world.connections.find((c) => c.name === saved.connection);
    const takesOver = !exact && canBeAsked(saved);
    const sa = restoreIkeSa(world, saved, connection, takesOver && saved.sync?.messageIds === true);
    if (connection === undefined) abandon(world, sa, saved, takesOver);
    else {
      goOn(world, sa, saved, connection, takesOver);
      restored.push([sa, saved]);
    }
    // streams end with a process
    openAgain(world, sa);
  }
  for (const [sa, { rival, of }] of restored) {
    const [theirs, old] = [rival, of].map((spi) => spi && world.bySpi(spi));
    if (theirs) {
      awaitDecision(sa, theirs);
      // who brought the one down, which may never get to deciding, brought both
      theirs.unwanted ||= sa.unwanted;
    }
    if (old) resumeTakingOver(world, sa, old);
  }
  for (const [sa] of restored) resumeUniqueness(world, sa);
  restoreWallet(world, snapshot.tickets ?? []);
  for (const [id, expires] of snapshot.spent ?? []) world.tickets.spend(id, expires, world.wall());
}

function goOn(world: EndpointWorld, sa: IkeSa, saved: IkeSaSnapshot, connection: Connection, takesOver: boolean): void {
  const lost: ChildSaSnapshot[] = [];
  for (const child of saved.children) {
    const policy = connection.children.find(({ name }) => name === child.policy);
    if (policy === undefined) lost.push(child);
    else restoreChild(world, sa, child, policy);
  }
  armIkeTimers(world, sa);
  world.notice({ kind: 'ike-up', ikeSa: sa.id, info: sa.info() });
  askFirst(world, sa, saved, takesOver);
  sa.unwanted = saved.unwanted;
  if (sa.unwanted) end(world, sa, 'deleted by the operator');
  for (const { policy } of lost) tellUnknown(world, sa, connection.name, `child ${policy}; its CHILD_SA is deleted`);
  const owed = [...saved.unfinished, ...lost.map(({ spec }) => ({ protocol: spec.protocol, spi: spec.inbound.spi }))];
  if (owed.length > 0) finishWith(world, sa, owed);
  resumeMobike(world, sa);
}

/** No policy says any more what it may carry. The peer, which goes on sending, is told (RFC 7296 §1.4.1). */
function abandon(world: EndpointWorld, sa: IkeSa, saved: IkeSaSnapshot, takesOver: boolean): void {
  tellUnknown(world, sa, saved.connection, `connection ${saved.connection}; its IKE SA is deleted`);
  askFirst(world, sa, saved, takesOver);
  sa.unwanted = true;
  end(world, sa, 'its connection is configured no longer');
}

function tellUnknown(world: EndpointWorld, sa: IkeSa, connection: string, what: string): void {
  const error = new ConfigError(`the configuration no longer has ${what}`, {
    code: 'CONFIGURED_NO_LONGER',
    hint: 'If it was not taken out on purpose, put it back and connect again.',
  });
  world.notice({ kind: 'failed', ikeSa: sa.id, connection, what: 'going on after the restart', error });
}

/**
 * strongSwan (5.9.8) agrees to Message IDs alone, counts the IVs of an AEAD by them, and so seals no answer with Message ID 0: it ends the IKE SA instead. Whoever
 * looks like that is asked only where IVs are drawn.
 */
const canBeAsked = ({ sync, keys: { suite } }: IkeSaSnapshot): boolean =>
  sync !== undefined && (sync.replayCounters || suite.integrity !== AEAD);

/** The first thing to know: does the peer still have it? */
function askFirst(world: EndpointWorld, sa: IkeSa, saved: IkeSaSnapshot, takesOver: boolean): void {
  if (!takesOver) return world.enqueue(sa, { what: 'liveness check', key: 'restored', start: () => probe(probesOf(saved)) });
  world.enqueue(sa, {
    what: 'synchronising Message IDs and replay counters',
    key: 'restored',
    // their inbound halves stand then, and take part
    about: sa.children.map(({ id }) => id),
    *start() {
      if (sa.sync?.messageIds) return yield* synchronise(world, sa);
      yield* probe(probesOf(saved));
      yield* synchroniseCounters(world, sa);
    },
  });
}

function end(world: EndpointWorld, sa: IkeSa, reason: string): void {
  world.enqueue(sa, { what: 'deleting the IKE SA', key: 'delete-ike', start: (owner) => deleteIkeSa(world, owner, reason) });
}

/** Even where nothing was under way, a request may have left after the snapshot. */
const probesOf = ({ underWay = 0 }: IkeSaSnapshot): number => Math.max(1, underWay);

/** One after the other, so that every Message ID that the former life may have used has its answer before anything else is asked. */
function* probe(times: number): Routine<void> {
  for (let time = 0; time < times; time++) yield* exchange(ExchangeType.INFORMATIONAL, []);
}

/** Until the peer has heard, what it asks about a child that we do not know is about one of these: not now (§2.25.1). */
function finishWith(world: EndpointWorld, sa: IkeSa, unfinished: IkeSaSnapshot['unfinished']): void {
  world.enqueue(sa, {
    what: 'deleting what a former life began',
    key: 'delete-unfinished',
    owes: unfinished,
    ofChild: true,
    start: () => deleteHalves(unfinished),
  });
}

function restoreIkeSa(world: EndpointWorld, saved: IkeSaSnapshot, connection: Connection | undefined, synchronises: boolean): IkeSa {
  const { originalRole, spiI, spiR, local, remote, encap, transport } = saved;
  const sa = new IkeSa({
    id: world.nextIkeSaId(),
    originalRole,
    spiI,
    spiR,
    local,
    remote,
    encap,
    transport,
    connection,
    state: 'established',
    bornAt: world.now,
  });
  const { primitives } = world.options;
  sa.setKeys(withoutProof({ ...copyKeys(saved.keys), ...(primitives && { primitives }) }), firstIv(world));
  const { nextExpected, answers, receiveWindow: receiveSize } = saved;
  const nextRequest = saved.nextRequest + (synchronises ? (saved.underWay ?? 0) : 0);
  const doubtful = synchronises ? 0 : probesOf(saved);
  sa.window = new MessageWindow({ nextRequest, doubtful, nextExpected, answers, receiveSize });
  widen(sa, saved.sendWindow);
  openWindow(sa);
  Object.assign(sa.peer, saved.peer);
  Object.assign(sa.nat, saved.nat);
  if (saved.crash) sa.crash = { ...saved.crash, compared: 0, since: world.now };
  if (saved.resumption) sa.resumption = { ...saved.resumption };
  if (saved.redirect) sa.redirect = { ...saved.redirect, nonce: undefined };
  sa.sync = saved.sync;
  sa.floated = saved.floated ?? false;
  sa.tcp = saved.tcp && newTcpLine(saved.tcp.originator, saved.tcp.why);
  sa.ppk = saved.ppk === undefined ? undefined : { agreed: undefined, used: saved.ppk, offer: undefined };
  sa.authMethods = saved.authMethods;
  sa.mobike = saved.mobike && restoreMobike(saved.mobike, world.now);
  sa.localId = saved.localId;
  sa.remoteId = saved.remoteId;
  sa.localAuth = saved.localAuth;
  sa.remoteAuth = saved.remoteAuth;
  sa.assigned = saved.assigned;
  sa.assignedToUs = saved.assignedToUs;
  sa.servedFamilies = saved.servedFamilies;
  sa.splitDns = saved.splitDns;
  sa.encryptedDns = saved.encryptedDns;
  sa.leased = !saved.assignedToUs && saved.assigned.length > 0;
  sa.establishedAt = world.now - saved.age;
  const { age, byUs, endsIn } = saved.authentication ?? { age: saved.age, byUs: originalRole === 'initiator', endsIn: undefined };
  Object.assign(sa.reauth, { at: world.now - age, byUs, endsAt: endsIn === undefined ? undefined : world.now + endsIn });
  sa.lastInbound = world.now;
  world.add(sa);
  world.noteProven(sa);
  return sa;
}

/**
 * RFC 5282 §3.1: a counter IV must not come twice under one key, neither after what the former life sent behind its snapshot, nor where one
 * snapshot is restored twice. So each life counts in a range that it draws; the first one counts from 0.
 */
function firstIv({ random }: EndpointWorld): bigint {
  let epoch = 0n;
  while (epoch === 0n) epoch = random.secret(EPOCH).reduce((sum, octet) => (sum << 8n) | BigInt(octet), 0n);
  return epoch << MESSAGES;
}

function restoreChild(world: EndpointWorld, sa: IkeSa, saved: ChildSaSnapshot, policy: ChildPolicy): void {
  const spec: ChildSaSpec = {
    ...saved.spec,
    // where the peer is now, not where it was when the child was made
    ...trafficPath(sa),
    id: world.nextChildId(),
    ikeSa: sa.id,
    outboundActive: true,
    replaces: undefined,
    resumed: true,
  };
  const child = new ChildSa({
    spec,
    policy,
    suite: saved.suite,
    establishedAt: world.now - saved.age,
    lowestNonce: saved.lowestNonce,
    createdByUs: saved.createdByUs,
    restarts: (saved.restarts ?? 0) + 1,
  });
  world.addChild(sa, child);
  world.run(
    sa,
    (function* () {
      return yield { kind: 'ask', ask: { kind: 'install', spec }, within: INSTALL_DEADLINE } as const;
    })(),
    (answer) => {
      const { ok } = answer as { ok: boolean };
      if (!ok || !child.is('installing')) return notInstalled(world, child, 'it could not be installed again');
      world.childTransition(child, 'installed');
      catchUp(world, sa, spec);
      armChildTimers(world, child);
      settleRestored(world, child);
      renewSoon(world, child);
      world.pump(sa);
    },
    (error) => {
      throw error;
    },
  );
}

/**
 * A restart skips sequence numbers by the thousand million, of which there are four without ESN, and an implicit IV is nothing else (RFC 8750):
 * new keys are due, at some time of the next half minute, since a gateway restores many children at once. With ESN the second restart asks for
 * them: after four in a row without a packet between, the receiver would take the upper half for an older one (RFC 4303 §A2.1).
 */
function renewSoon(world: EndpointWorld, child: ChildSa): void {
  if (child.suite.esn && !isImplicit(child.suite.encryption) && child.restarts < 2) return;
  const { rekey } = child.timers;
  const at = world.now + RENEWAL / 2 + Math.floor((world.random.jitter() * RENEWAL) / 2);
  if (rekey.slot < 0 || rekey.at > at) world.arm(rekey, at);
}

const isImplicit = (encryption: number): boolean =>
  [EncryptionId.ENCR_AES_CCM_8_IIV, EncryptionId.ENCR_AES_GCM_16_IIV, EncryptionId.ENCR_CHACHA20_POLY1305_IIV].some(
    (id) => id === encryption,
  );

/** No integrity transform (RFC 5282 §8). */
const AEAD = 0;
const RENEWAL: Millis = 30_000;
/** Of the 64 bits of a counter IV, those that count the messages of one life. */
const MESSAGES = 24n;
const EPOCH = 5;
const INSTALL_DEADLINE: Millis = 30_000;
