import { sameAddress } from '../bytes/ip-address.ts';
import { execute } from './commands.ts';
import type { Observation } from './effects.ts';
import type { EndpointWorld } from './endpoint-world.ts';
import { isBeingMade } from './exchanges/create-child-sa.ts';
import { heedPathMtu, repeatAtOnce } from './outbound.ts';
import { isOverTcp, pathOf } from './path.ts';
import { nextRekey } from './rekey-times.ts';
import { endOfLife, requestChildDelete, requestChildRekey } from './requests.ts';
import { leaveLostPair } from './tasks/address-pairs.ts';
import { activateSuccessors, givingWayTo } from './tasks/child-delete.ts';
import { awaitDelete } from './tasks/child-rekey.ts';
import { answerUnknownChild } from './tasks/crash-detection.ts';
import { followBack, followTraffic } from './tasks/mobike-line.ts';
import { localAddressesChanged } from './tasks/mobike-roam.ts';
import { takeOver } from './tasks/reauthentication.ts';
import { followStream, streamClosed } from './tasks/tcp-streams.ts';

/** What the world tells: the enumerated list of effects.ts. Ids that are gone by now are ignored: the report crossed a removal. */
export function observe(world: EndpointWorld, observation: Observation): void {
  switch (observation.kind) {
    case 'acquire': {
      const connection = world.connections.find((c) => c.name === observation.connection);
      if (connection === undefined) return;
      const ofIt = [...world.ikeSas.values()].filter((sa) => sa.connection?.name === observation.connection);
      const sa = ofIt.find((s) => s.isEstablished) ?? ofIt.find((s) => s.is('connecting', 'authenticating'));
      // packets keep coming while the child is made; one IKE SA, and one exchange, is enough for all of them
      if (sa && isBeingMade(sa, observation.child)) return;
      const { child, packet } = observation;
      if (sa) execute(world, { kind: 'create-child', ikeSa: sa.id, child, packet });
      else execute(world, { kind: 'initiate', connection: connection.name, child, packet });
      return;
    }
    case 'soft-expire': {
      const child = world.child(observation.child);
      if (child?.state !== 'installed') return;
      // it is told once: should the rekeying fail for good, the next try comes by time
      world.arm(child.timers.rekey, nextRekey(world, child.timers.expire));
      requestChildRekey(world, child);
      return;
    }
    case 'hard-expire': {
      const child = world.child(observation.child);
      if (child) endOfLife(world, child);
      return;
    }
    case 'pressure':
      world.pressed = observation.high;
      return;
    case 'unknown-spi':
      return answerUnknownChild(world, observation);
    case 'inbound-traffic':
      return inboundTraffic(world, observation.child, observation.elsewhere === true);
    case 'mapping-changed': {
      const sa = world.ikeSas.get(world.child(observation.child)?.ikeSa ?? -1);
      if (sa && (observation.stream || isOverTcp(sa))) {
        const { stream: local, remote } = observation;
        if (local) followStream(world, sa, { local, remote, encap: true, transport: 'tcp' });
        return;
      }
      // RFC 7296 §2.23: an end that is not behind a NAT follows the one that is, on authenticated packets alone
      if (!sa?.nat.theirs || sa.nat.ours) return;
      if (sa.mobike) followTraffic(world, sa, observation.remote);
      else if (!sameAddress(sa.remote, observation.remote)) {
        world.moved(sa, { ...pathOf(sa), remote: observation.remote });
        repeatAtOnce(world, sa);
      }
      return;
    }
    case 'local-addresses':
      world.ownAddresses = observation;
      for (const sa of [...world.ikeSas.values()]) {
        leaveLostPair(world, sa);
        localAddressesChanged(world, sa);
      }
      return;
    case 'stream-closed':
      return streamClosed(world, observation.local, observation.remote);
    case 'path-mtu':
      for (const sa of [...world.ikeSas.values()]) if (sa.remote.ip === observation.remote.ip) heedPathMtu(world, sa, observation.mtu);
      return;
  }
}

function inboundTraffic(world: EndpointWorld, id: number, elsewhere: boolean): void {
  const child = world.child(id);
  const sa = child && world.ikeSas.get(child.ikeSa);
  if (child === undefined || sa === undefined) return;
  // RFC 4555 §3.12: a peer that sends from or to other addresses may have missed that they changed
  if (sa.mobike === undefined || !elsewhere) sa.lastInbound = world.now;
  else followBack(world, sa);
  const redundant = givingWayTo(child);
  takeOver(world, child);
  if (redundant) requestChildDelete(world, redundant, 'made redundant by a crossing rekey');
  // the peer sends on the new SA, so it has it: the old one need no longer carry ours (RFC 7296 §2.8)
  const old = child.spec.replaces === undefined ? undefined : world.child(child.spec.replaces);
  if (old?.state !== 'rekeyed' || child.spec.outboundActive) return;
  activateSuccessors(world, old);
  awaitDelete(world, old);
}
