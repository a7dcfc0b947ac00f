import { toHex } from '../../core/bytes/index.ts';
import type { ChildSaInfo, IkeSaInfo } from '../../core/ike/index.ts';
import type { SeededRandom } from '../seeded.ts';
import type { WalkAction } from './action.ts';
import { allowOneMore, askChild } from './quiet.ts';
import type { Line, Side, WalkWorld } from './world.ts';

/** The operator of one end. A new action is one entry here, or in `NETWORK` or `ATTACKS`. */
export const OPERATOR: readonly WalkAction[] = [
  onChild('rekey child', 7, (side, child) => side.peer.rekeyChild(child.id)),
  onIkeSa('rekey IKE', 5, (side, sa) => side.peer.rekeyIke(sa.id)),
  {
    name: 'both rekey child',
    weight: 3,
    run(world, random) {
      const line = random.pick(world.lines);
      const [ours] = installed(line.client, line);
      const theirs = ours && installed(line.hub, line).find(({ inboundSpi }) => inboundSpi === ours.outboundSpi);
      if (ours === undefined || theirs === undefined) return undefined;
      line.client.peer.rekeyChild(ours.id);
      world.run(random.between(0, 40));
      if (installed(line.hub, line).some(({ id }) => id === theirs.id)) line.hub.peer.rekeyChild(theirs.id);
      return line.client.name;
    },
  },
  {
    name: 'both rekey IKE',
    weight: 3,
    run(world, random) {
      const line = random.pick(world.lines);
      const [ours] = up(line.client, line);
      if (ours === undefined) return undefined;
      line.client.peer.rekeyIke(ours.id);
      world.run(random.between(0, 40));
      const [theirs] = up(line.hub, line);
      if (theirs !== undefined) line.hub.peer.rekeyIke(theirs.id);
      return line.client.name;
    },
  },
  {
    // the first one leaves an IKE SA that waits for its Delete, while the second one is under way already
    name: 'both rekey IKE twice',
    weight: 1,
    run(world, random) {
      const line = random.pick(world.lines);
      for (let time = 0; time < 2; time++) {
        for (const side of [line.client, line.hub]) {
          const [sa] = up(side, line);
          if (sa !== undefined) side.peer.rekeyIke(sa.id);
          world.run(random.between(0, 40));
        }
        world.run(random.between(0, 150));
      }
      return line.client.name;
    },
  },
  {
    name: 'dies while rekeying',
    weight: 1,
    harsh: true,
    run(world, random) {
      const { line, side } = pickEnd(world, random);
      const [child] = installed(side, line);
      if (child === undefined) return undefined;
      const saved = { at: world.now, core: side.peer.snapshot(), sequences: side.peer.plane.sequences() };
      side.peer.rekeyChild(child.id);
      world.run(random.between(0, 200));
      world.excuse(world.linesOf(side), `${side.name} came back with old knowledge`, true);
      world.restart(side, saved);
      for (const one of world.linesOf(side)) outdate(world, one, side);
      world.run(random.between(0, 200));
      const [again] = installed(side, line);
      if (again !== undefined) side.peer.rekeyChild(again.id);
      return `${side.name} ${child.name}`;
    },
  },
  {
    name: 'create child',
    weight: 2,
    run(world, random) {
      const { line, side } = pickEnd(world, random);
      const [sa] = up(side, line);
      if (sa === undefined || sa.children.length >= 4) return undefined;
      const policy = random.pick(line.setting.children);
      // its responder may send on it before the initiator has heard that it stands
      world.leak([line], world.now + 10_000);
      askChild(line, side, policy, sa.id);
      return `${side.name} ${policy}`;
    },
  },
  onIkeSa('check liveness', 3, (side, sa) => side.peer.checkLiveness(sa.id)),
  {
    name: 'up',
    weight: 4,
    run(world, random) {
      const line = random.pick(world.lines);
      if (line.wanted && world.setting.gentle) return undefined;
      world.excuse([line], 'somebody asked for it to come up');
      line.wanted = true;
      line.client.peer.initiate('hub');
      return line.client.name;
    },
  },
  {
    name: 'up from the hub',
    weight: 1,
    harsh: true,
    run(world, random) {
      const line = random.pick(world.lines);
      if (line.setting.nat !== undefined || !line.client.peer.host.addresses.includes(line.setting.address)) return undefined;
      world.excuse([line], 'somebody asked for it to come up');
      line.wanted = true;
      line.hub.peer.initiate(line.setting.hubConnection.name);
      return line.client.name;
    },
  },
  {
    name: 'down',
    weight: 1,
    harsh: true,
    run(world, random) {
      const { line, side } = pickEnd(world, random);
      world.excuse([line], `${side.name} asked for its end`);
      // the client’s own trying ends with its own operator alone
      if (side === line.client) {
        line.wanted = false;
        // nobody brings back what was saved before
        side.saved = undefined;
        side.peer.command({ kind: 'terminate', connection: 'hub' });
        // what the hub began by itself would come up behind it, and so would a new authentication of what the client has forgotten: its operator takes that back
        const known = new Set(side.peer.ikeSas.map(({ spiI }) => toHex(spiI)));
        for (const { id, connection, establishedAt, spiI } of line.hub.peer.ikeSas) {
          const heard = establishedAt !== undefined && known.has(toHex(spiI));
          if (connection === line.setting.hubConnection.name && !heard) line.hub.peer.deleteIke(id);
        }
      } else for (const sa of up(side, line)) side.peer.deleteIke(sa.id);
      return `${side.name} ${line.client.name}`;
    },
  },
  { ...onIkeSa('forget IKE', 1, (side, sa) => side.peer.forgetIke(sa.id), 'an end forgot it'), harsh: true },
  { ...onChild('delete child', 2, (side, child) => side.peer.deleteChild(child.id), 'a child was deleted'), harsh: true },
  {
    ...onChild(
      'lifetime of child over',
      1,
      (side, child, line) => {
        // both ends may make it anew, one for its lifetime, the other for CHILD_SA_NOT_FOUND (RFC 7296 §2.25.1)
        allowOneMore(line, child.name);
        side.peer.observe({ kind: 'hard-expire', child: child.id });
      },
      'a lifetime was over',
    ),
    harsh: true,
  },
  onChild('rekey limit of child', 1, (side, child) => side.peer.observe({ kind: 'soft-expire', child: child.id })),
  {
    name: 'acquire',
    weight: 1,
    harsh: true,
    run(world, random) {
      const line = random.pick(world.lines);
      if (!line.wanted) return undefined;
      world.excuse([line], 'traffic asked for a child');
      const policy = random.pick(line.setting.children);
      allowOneMore(line, policy);
      line.client.peer.observe({ kind: 'acquire', connection: 'hub', child: policy });
      return `${line.client.name} ${policy}`;
    },
  },
  {
    name: 'save',
    weight: 2,
    harsh: true,
    run(world, random) {
      const side = random.pick(world.sides);
      side.saved = { at: world.now, core: side.peer.snapshot(), sequences: side.peer.plane.sequences() };
      return side.name;
    },
  },
  {
    name: 'restart with what it knows',
    weight: 2,
    run(world, random) {
      const side = random.pick(world.sides);
      if (isBusy(side)) world.excuse(world.linesOf(side), `${side.name} was interrupted in an exchange`, true);
      // nobody restarts four times between two packets
      if (side.peer.plane.wornOut) world.excuse(world.linesOf(side), `${side.name} restarted too often`);
      // what was under way on an SA that was replaced already finds nobody
      world.leak(world.linesOf(side), world.now + 5000);
      world.restart(side, 'snapshot');
      return side.name;
    },
  },
  {
    name: 'restart with what it knew',
    weight: 1,
    harsh: true,
    run(world, random) {
      const side = random.pick(world.sides);
      if (side.saved === undefined) return undefined;
      world.excuse(world.linesOf(side), `${side.name} came back with old knowledge`, true);
      world.restart(side, side.saved);
      for (const line of world.linesOf(side)) outdate(world, line, side);
      return side.name;
    },
  },
  {
    name: 'restart with nothing',
    weight: 1,
    harsh: true,
    run(world, random) {
      const side = random.pick(world.sides);
      world.excuse(world.linesOf(side), `${side.name} came back with nothing`);
      world.restart(side, 'nothing');
      return side.name;
    },
  },
  {
    name: 'clock leaps',
    weight: 1,
    harsh: true,
    run(world, random) {
      const side = random.pick(world.sides);
      const by = random.pick([5_000, 70_000, 3_600_000]);
      world.excuse(world.linesOf(side), `the clock of ${side.name} leapt`);
      // hard lifetimes end at once
      for (const line of world.linesOf(side)) {
        allowAnew(line);
        if (side === line.hub) line.leaptAt = world.now;
      }
      side.peer.leap(by);
      return `${side.name} by ${by / 1000} s`;
    },
  },
  {
    name: 'install fails',
    weight: 2,
    run(world, random) {
      const side = random.pick(world.sides);
      if (world.setting.gentle && world.linesOf(side).some((line) => line.excuse !== undefined)) return undefined;
      // the other end sends on what it made until it hears that it is alone
      world.leak(world.linesOf(side));
      side.peer.fault({ ask: 'install', outcome: 'fail' });
      return side.name;
    },
  },
  {
    name: 'late answers',
    weight: 2,
    run(world, random) {
      const side = random.pick(world.sides);
      const ask = random.pick(['install', 'verify', 'authenticate', 'authorise'] as const);
      side.peer.fault({ ask, outcome: 'late', delay: random.between(1, 4000), times: random.between(1, 3) });
      return `${side.name} ${ask}`;
    },
  },
  {
    name: 'no answer',
    weight: 1,
    harsh: true,
    run(world, random) {
      const side = random.pick(world.sides);
      world.excuse(world.linesOf(side), `${side.name} got no answer`);
      const ask = random.pick(['install', 'verify', 'authenticate', 'authorise'] as const);
      side.peer.fault({ ask, outcome: random.pick(['never', 'fail']) });
      return `${side.name} ${ask}`;
    },
  },
];

function onIkeSa(name: string, weight: number, act: (side: Side, sa: IkeSaInfo) => void, excuse?: string): WalkAction {
  return {
    name,
    weight,
    run(world, random) {
      const { line, side } = pickEnd(world, random);
      const sas = up(side, line);
      if (sas.length === 0) return undefined;
      if (excuse !== undefined) world.excuse([line], excuse);
      act(side, random.pick(sas));
      return `${side.name} ${line.client.name}`;
    },
  };
}

function onChild(name: string, weight: number, act: (side: Side, child: ChildSaInfo, line: Line) => void, excuse?: string): WalkAction {
  return {
    name,
    weight,
    run(world, random) {
      const { line, side } = pickEnd(world, random);
      const children = installed(side, line);
      if (children.length === 0) return undefined;
      if (excuse !== undefined) world.excuse([line], excuse);
      const child = random.pick(children);
      act(side, child, line);
      return `${side.name} ${child.name}`;
    },
  };
}

function pickEnd(world: WalkWorld, random: SeededRandom): { readonly line: Line; readonly side: Side } {
  const line = random.pick(world.lines);
  return { line, side: line[random.pick(['client', 'hub'] as const)] };
}

/** IKE SAs of a line that can carry a request. */
function up(side: Side, line: Line): readonly IkeSaInfo[] {
  const name = side === line.client ? 'hub' : line.setting.hubConnection.name;
  return side.peer.established.filter(({ connection, state }) => connection === name && (state === 'established' || state === 'rekeying'));
}

const installed = (side: Side, line: Line): readonly ChildSaInfo[] =>
  up(side, line).flatMap(({ children }) => children.filter(({ state }) => state === 'installed'));

/** In the middle of something that its next life will know nothing of. */
function isBusy({ peer }: Side): boolean {
  const { requests, asks, jobs } = peer.endpoint.load();
  return (
    requests + asks + jobs > 0 ||
    peer.ikeSas.some((sa) => sa.state !== 'established' || sa.children.some(({ state }) => state !== 'installed'))
  );
}

/** It lacks what the other end made since, and the other end lacks what it deleted: each may make anew what the other does not find (RFC 7296 §2.25.1). */
function outdate(world: WalkWorld, line: Line, side: Side): void {
  line.outdated = new Set([...line.outdated, ...side.peer.ikeSas.map(({ spiI }) => toHex(spiI))]);
  if (side === line.client) line.forgotAt = world.now;
  allowAnew(line);
}

/** Each end may make anew what it or the other has lost. */
function allowAnew(line: Line): void {
  for (const policy of line.setting.children) {
    const { stood, asked } = line.children.get(policy) ?? { stood: 0, asked: 0 };
    line.children.set(policy, { stood, asked: asked + Math.max(1, stood + asked) });
  }
}
