import type { WalkAction } from './action.ts';
import { quiet } from './quiet.ts';
import { PACES } from './temper.ts';
import type { Line, WalkWorld } from './world.ts';

/** The network between them. */
export const NETWORK: readonly WalkAction[] = [
  {
    name: 'traffic',
    weight: 30,
    run(world, random) {
      const line = random.pick(world.lines);
      const from = random.pick(['client', 'hub'] as const);
      const policy = random.pick(line.setting.children);
      const packets = random.between(1, PACES[world.setting.temper].packets);
      for (let i = 0; i < packets; i++) world.sendTraffic(line, from, policy, random.between(0, 60));
      return `${line[from].name} ${policy} ×${packets}`;
    },
  },
  {
    name: 'link gets worse',
    weight: 4,
    run(world, random) {
      const side = random.pick(world.sides);
      const loss = random.chance(0.5) ? random.pick([0.05, 0.2, 0.4]) : 0;
      const conditions = {
        loss,
        duplicate: random.pick([0, 0.1, 0.5]),
        jitter: random.pick([0, 50, 400]),
        delay: random.pick([1, 30, 300]),
      };
      if (loss > 0) lose(world, world.linesOf(side));
      side.peer.host.setLink(conditions);
      return `${side.name} ${JSON.stringify(conditions)}`;
    },
  },
  {
    name: 'link gets better',
    weight: 3,
    run(world, random) {
      const side = random.pick(world.sides);
      side.peer.host.setLink({ loss: 0, duplicate: 0, jitter: 0, delay: random.between(1, 30), cut: false });
      return side.name;
    },
  },
  {
    name: 'link is cut',
    weight: 1,
    harsh: true,
    run(world, random) {
      const side = random.pick(world.sides);
      world.excuse(world.linesOf(side), `the link of ${side.name} was cut`);
      side.peer.host.setLink({ cut: true });
      return side.name;
    },
  },
  {
    name: 'partition',
    weight: 1,
    harsh: true,
    run(world, random) {
      const line = random.pick(world.lines);
      if (line.setting.nat !== undefined) return undefined;
      world.excuse([line], 'the internet fell apart');
      world.internet.core.partition(line.client.peer.host, line.hub.peer.host);
      return line.client.name;
    },
  },
  {
    name: 'partition heals',
    weight: 1,
    harsh: true,
    run(world) {
      world.internet.core.heal();
      return 'all';
    },
  },
  {
    name: 'NAT rebinds',
    weight: 2,
    run(world, random) {
      const line = random.pick(world.lines);
      if (line.client.nat === undefined) return undefined;
      // until the client sends nobody knows where it is
      world.leak([line]);
      mayReturn(world, line);
      line.client.nat.rebind();
      return line.client.name;
    },
  },
  {
    name: 'NAT reboots',
    weight: 1,
    harsh: true,
    run(world, random) {
      const line = random.pick(world.lines);
      if (line.client.nat === undefined) return undefined;
      world.excuse([line], 'its NAT rebooted');
      mayReturn(world, line);
      line.client.nat.reboot();
      return line.client.name;
    },
  },
  {
    name: 'client roams',
    weight: 1,
    harsh: true,
    run(world, random) {
      const line = random.pick(world.lines);
      const { host } = line.client.peer;
      const [before] = host.addresses;
      const after = `${before!.slice(0, before!.lastIndexOf('.'))}.${100 + 50 * world.lines.indexOf(line) + random.between(0, 49)}`;
      if (before === after) return undefined;
      world.excuse([line], 'the client moved', true);
      host.addAddress(after);
      host.removeAddress(before!);
      world.moved(line.client, after);
      return `${line.client.name} to ${after}`;
    },
  },
  {
    name: 'time passes',
    weight: 8,
    run(world, random) {
      const time = random.between(2, PACES[world.setting.temper].time) * 1000;
      world.run(time);
      return `${time / 1000} s`;
    },
  },
  {
    name: 'quiet',
    weight: 2,
    run(world, random) {
      const steady = random.chance(PACES[world.setting.temper].steady);
      quiet(world, steady);
      return steady ? 'steady' : 'short';
    },
  },
];

function lose(world: WalkWorld, lines: readonly Line[]): void {
  for (const line of lines) line.lossy = true;
  world.leak(lines);
}

/**
 * RFC 4555 §3.8 lets the hub follow ESP; it does not to where the client said just now that it is no longer, and a NAT that forgets may choose that again.
 */
function mayReturn(world: WalkWorld, line: Line): void {
  if (line.setting.extensions?.has('mobike')) line.doubtfulUntil = Math.max(line.doubtfulUntil, world.now + LEFT_BEHIND);
}

/** UNDER_WAY of `core/ike/tasks/mobike-roam.ts`, and an update that comes late. */
const LEFT_BEHIND = 6000;
