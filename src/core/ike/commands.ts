import { ApiMisuse, ConfigError } from '../bytes/errors.ts';
import type { Address } from '../bytes/ip-address.ts';
import type { ChildSa } from './child-sa.ts';
import type { Command, PacketSelectors } from './effects.ts';
import type { EndpointWorld } from './endpoint-world.ts';
import { enqueueCreate } from './exchanges/create-child-sa.ts';
import type { IkeSa } from './ike-sa.ts';
import { begin, reauthenticate, wanted } from './initiation.ts';
import type { ChildPolicy, Connection } from './policy.ts';
import { requestChildDelete, requestChildRekey, requestIkeDelete, requestIkeRekey, requestLivenessCheck } from './requests.ts';
import { requestEcho } from './tasks/nat-echo.ts';
import { requestAuthentication } from './tasks/reauthentication.ts';
import { assertRedirectable, redirectPeer } from './tasks/redirect.ts';
import { endRival } from './tasks/tcp-fallback.ts';

/** What an operator, or a timer on the operator's behalf, wants of an endpoint. */
export function execute(world: EndpointWorld, command: Command): number | undefined {
  switch (command.kind) {
    case 'initiate':
      return initiate(world, command);
    case 'create-child': {
      const sa = needIkeSa(world, command.ikeSa);
      const connection = needConnection(sa);
      const policy = childPolicy(connection, command.child);
      world.reconnects.wanted(connection.name);
      awaitPacket(sa, policy, command.packet);
      enqueueCreate(world, sa, policy);
      return undefined;
    }
    case 'rekey-child':
      requestChildRekey(world, needChild(world, command.child));
      return undefined;
    case 'rekey-ike':
      requestIkeRekey(world, needIkeSa(world, command.ikeSa));
      return undefined;
    case 'reauthenticate': {
      const sa = needIkeSa(world, command.ikeSa);
      if (!sa.isEstablished) throw new ApiMisuse(`IKE SA ${sa.id} is not established`, { code: 'NOT_ESTABLISHED' });
      if (sa.reauth.byUs) reauthenticate(world, sa);
      else requestAuthentication(world, sa);
      return undefined;
    }
    case 'delete-child':
      requestChildDelete(world, needChild(world, command.child), 'deleted by the operator');
      return undefined;
    case 'delete-ike': {
      const sa = needIkeSa(world, command.ikeSa);
      // one that is on its way out for another reason does not come back either
      sa.unwanted = true;
      // a Delete that is under way is waited for; `forget-ike` is for who cannot wait
      if (sa.is('replaced', 'deleting', 'lingering')) return undefined;
      if (!sa.isEstablished) giveUp(world, sa);
      else requestIkeDelete(world, sa, 'deleted by the operator');
      return undefined;
    }
    case 'terminate': {
      const waiting = world.reconnects.settled(command.connection);
      if (waiting) world.clear(waiting);
      world.reconnects.broughtDown(command.connection);
      for (const sa of [...world.ikeSas.values()]) {
        if (sa.connection?.name === command.connection) execute(world, { kind: 'delete-ike', ikeSa: sa.id });
      }
      return undefined;
    }
    case 'forget-ike': {
      const sa = needIkeSa(world, command.ikeSa);
      // what the peer made in its place, and what is not decided for yet, would stand without the children that the peer has there
      const lost = [sa, sa.peerSuccessor];
      for (const one of lost) if (one) world.kill(one, 'forgotten by the operator');
      return undefined;
    }
    case 'ask-echo': {
      // it may be gone by the time the port is open
      const sa = world.ikeSas.get(command.ikeSa);
      if (sa) requestEcho(world, sa, command.local, command.seconds);
      return undefined;
    }
    case 'check-liveness':
      requestLivenessCheck(world, needIkeSa(world, command.ikeSa));
      return undefined;
    case 'redirect': {
      const sa = needIkeSa(world, command.ikeSa);
      const { gateway } = command;
      assertRedirectable(sa, gateway);
      world.enqueue(sa, {
        what: `redirecting the peer to ${gateway}`,
        key: 'redirect',
        start: (owner) => redirectPeer(world, owner, gateway),
      });
      return undefined;
    }
  }
}

/** The operator ends what has not come up yet: nobody tries again. */
function giveUp(world: EndpointWorld, sa: IkeSa): void {
  const waiting = sa.connection && world.reconnects.settled(sa.connection.name);
  if (waiting) world.clear(waiting);
  endRival(world, sa);
  world.kill(sa, 'given up by the operator');
}

function initiate(world: EndpointWorld, command: Extract<Command, { kind: 'initiate' }>): number {
  const connection = world.connections.find((c) => c.name === command.connection);
  if (connection === undefined) throw new ApiMisuse(`there is no connection named ${command.connection}`, { code: 'NO_SUCH_CONNECTION' });
  world.reconnects.wanted(connection.name);
  const remote = command.remote ?? { ip: literal(connection, 'remote', connection.remoteAddresses), port: connection.remotePort };
  // one port for both roles: there is no port 500 to begin with, so everything goes through the encapsulating socket (RFC 7296 §2.23)
  const encap = connection.remotePort === connection.remoteNatPort;
  const local: Address = command.local ?? { ip: literal(connection, 'local', connection.localAddresses), port: world.ownPort(encap) };
  const policies = command.child === undefined ? wanted(connection) : [childPolicy(connection, command.child)];
  const sa = begin(world, connection, { local, remote, encap }, policies);
  if (policies[0]) awaitPacket(sa, policies[0], command.packet);
  return sa.id;
}

/** What it is for is said when it is proposed. */
function awaitPacket(sa: IkeSa, { name }: ChildPolicy, packet: PacketSelectors | undefined): void {
  if (packet) sa.packet = { child: name, ...packet };
}

function childPolicy(connection: Connection, name: string): ChildPolicy {
  const policy = connection.children.find((c) => c.name === name);
  if (policy === undefined) throw new ApiMisuse(`connection ${connection.name} has no child named ${name}`, { code: 'NO_SUCH_CHILD' });
  return policy;
}

function needIkeSa(world: EndpointWorld, id: number): IkeSa {
  const sa = world.ikeSas.get(id);
  if (sa === undefined) throw new ApiMisuse(`there is no IKE SA ${id}`, { code: 'NO_SUCH_SA' });
  return sa;
}

function needChild(world: EndpointWorld, id: number): ChildSa {
  const child = world.child(id);
  if (child === undefined) throw new ApiMisuse(`there is no CHILD_SA ${id}`, { code: 'NO_SUCH_SA' });
  return child;
}

function needConnection(sa: IkeSa): Connection {
  if (sa.connection === undefined) throw new ApiMisuse(`IKE SA ${sa.id} is not established`, { code: 'NOT_ESTABLISHED' });
  return sa.connection;
}

function literal(connection: Connection, side: 'local' | 'remote', addresses: readonly string[]): string {
  const found = addresses.find((a) => a !== '%any' && !a.includes('/'));
  if (found !== undefined) return found;
  throw new ConfigError(`connection ${connection.name} names no ${side} address to ${side === 'remote' ? 'dial' : 'send from'}`, {
    code: 'NO_ADDRESS',
    path: `connections.${connection.name}.${side}_addrs`,
    hint: `Name one address in ${side}_addrs.`,
  });
}
