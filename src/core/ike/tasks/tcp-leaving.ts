import { NONE, withLast } from '../../bytes/lists.ts';
import type { StreamChange } from '../effects.ts';
import type { IkeSa } from '../ike-sa.ts';
import { isOverTcp, type Path, pathOf, samePath } from '../path.ts';
import type { World } from '../world.ts';
import { lineOf, trafficPath } from './mobike-line.ts';
import { wantsEncap } from './nat-detection.ts';

/** After `moveIke`: which streams have gained an IKE SA, and which have lost one. */
export function noteStreams(world: World, sa: IkeSa, before: Path): void {
  if (samePath(before, sa)) return;
  if (isOverTcp(before)) {
    if (!isOverTcp(sa)) sa.nat.forced = wantsEncap(world, sa);
    if (!sa.tcp?.originator) leave(world, sa, before, 'release');
    else if (before.local.port !== 0) sa.tcp.left = withLast(sa.tcp.left, before);
  }
  keepStream(world, sa);
}

/** Somebody has authenticated on it. */
export function keepStream(world: World, sa: IkeSa): void {
  if (isOverTcp(sa) && sa.tcp?.originator === false && sa.isEstablished)
    world.emit({ kind: 'stream', change: 'keep', local: sa.local, remote: sa.remote });
}

/** §6.1: the SA is gone, so its stream goes, unless one that took its place is on it. */
export function endStreams(world: World, sa: IkeSa): void {
  if (isOverTcp(sa)) leave(world, sa, pathOf(sa), sa.tcp?.originator ? 'close' : 'release');
  closeLeft(world, sa);
}

/** §7.1: it is settled where the line is: streams of ours that it is not on are closed. */
export function closeLeft(world: World, sa: IkeSa): void {
  const { tcp } = sa;
  if (tcp === undefined || tcp.left.length === 0) return;
  const { left } = tcp;
  tcp.left = NONE;
  for (const path of left) leave(world, sa, path, 'close');
}

function leave(world: World, sa: IkeSa, path: Path, change: StreamChange): void {
  const inUse = [...lineOf(sa)].some((one) => world.ikeSas.has(one.id) && (samePath(one, path) || samePath(trafficPath(one), path)));
  if (!inUse && path.local.port !== 0) world.emit({ kind: 'stream', change, local: path.local, remote: path.remote });
}
