import type { ShuntPolicy } from '../../core/ike/policy.ts';
import type { CompileContext } from './compile-context.ts';
import type { ChildSettings } from './schema.ts';
import type { SelectorSetting } from './selectors.ts';
import { toTrafficSelector } from './selectors.ts';
import type { Path } from './source.ts';

/** `mode: pass` and `mode: drop` (RFC 4301 §4.4.1: BYPASS and DISCARD). */
export const isShunt = ({ mode }: ChildSettings): boolean => mode === 'pass' || mode === 'drop';

/** A shunt has no CHILD_SA: whatever speaks of one is a mistake. */
export function compileShunt(name: string, child: ChildSettings, path: Path, context: CompileContext): ShuntPolicy {
  for (const key of Object.keys(child) as (keyof ChildSettings)[]) {
    if (child[key] === undefined || OF_SHUNTS.includes(key)) continue;
    throw context.error([...path, key], `says nothing of a child with mode: ${child.mode}, which has no CHILD_SA`, 'Leave it out.');
  }
  if (child.start_action === 'start')
    throw context.error(
      [...path, 'start_action'],
      'there is nothing to connect to',
      'Leave it out: a shunt stands as long as the configuration does.',
    );
  if (child.remote_ts === undefined)
    throw context.error(
      [...path, 'remote_ts'],
      'is missing: a shunt names the traffic that it is for',
      'Write for instance remote_ts: 192.168.0.0/16.',
    );
  if (child.mode === 'pass') context.demand([...path, 'mode'], 'bypass', 'what passes the tunnel needs a plane with a way past it');
  return {
    name,
    action: child.mode === 'pass' ? 'bypass' : 'discard',
    localTs: (child.local_ts ?? []).map((selector) => named(selector, [...path, 'local_ts'], context)),
    remoteTs: child.remote_ts.map((selector) => named(selector, [...path, 'remote_ts'], context)),
  };
}

function named(selector: SelectorSetting, path: Path, context: CompileContext) {
  const { addresses } = selector;
  if (addresses === 'dynamic') throw context.error(path, 'dynamic is an end of a CHILD_SA, and a shunt has none', 'Write addresses.');
  return toTrafficSelector({ ...selector, addresses });
}

const OF_SHUNTS: readonly (keyof ChildSettings)[] = ['mode', 'local_ts', 'remote_ts', 'start_action'];
