import { Writer } from '../../bytes/writer.ts';
import { type NotifyPayload, NotifyType, type Payload } from '../../wire/index.ts';
import type { ChildSa } from '../child-sa.ts';
import type { Millis } from '../effects.ts';
import type { IkeSa } from '../ike-sa.ts';
import { findNotify, notify } from '../notifies.ts';
import type { World } from '../world.ts';

/**
 * RFC 6311 §5.2, the member that took over: the peer is asked to skip so many sequence numbers, and so what it sent before its skip cannot be replayed to
 * us. Our own numbers have skipped when the children were installed again.
 *
 * @returns nothing where there is nothing to skip, or where some children have ESN and others not, which §6.4 has no words for
 */
export function askToSkip({ sync, children }: IkeSa): { readonly notify: NotifyPayload; readonly by: bigint } | undefined {
  const usable = children.filter((child) => child.usable);
  const [first] = usable;
  if (!sync?.replayCounters || first === undefined || usable.some(({ suite }) => suite.esn !== first.suite.esn)) return undefined;
  const data = first.suite.esn ? new Writer(8).u32(0).u32(SKIPPED).finish() : new Writer(4).u32(SKIPPED).finish();
  return { notify: notify(NotifyType.IPSEC_REPLAY_COUNTER_SYNC, data), by: BigInt(SKIPPED) };
}

/** The peer has skipped: what it sent before is not taken any more (§8.2, strict). */
export function takeNothingOlder(world: World, { children }: IkeSa, by: bigint): void {
  for (const child of children) {
    if (child.usable && child.spec.resumed)
      world.emit({ kind: 'child-update', child: child.id, change: { kind: 'skip', direction: 'inbound', by } });
  }
}

/** The peer of the cluster: every CHILD_SA of the IKE SA skips as far (§5.2), where the size of the number fits it (§6.4). */
export function skipAsAsked(world: World, { sync, children }: IkeSa, payloads: readonly Payload[]): void {
  const data = sync?.replayCounters ? findNotify(payloads, NotifyType.IPSEC_REPLAY_COUNTER_SYNC)?.data : undefined;
  if (data === undefined || (data.length !== 4 && data.length !== 8)) return;
  const by = data.reduce((sum, octet) => (sum << 8n) | BigInt(octet), 0n);
  for (const child of children) {
    if (child.suite.esn !== (data.length === 8) || child.is('installing', 'dead')) continue;
    world.emit({ kind: 'child-update', child: child.id, change: { kind: 'skip', direction: 'outbound', by } });
    renewSoon(world, child);
  }
}

/** §5.2: a rekeying follows, so that numbers of 32 bits do not run out; the member's own, where it has the same idea, comes first. */
function renewSoon(world: World, { suite, timers: { rekey } }: ChildSa): void {
  const at = world.now + RENEWAL + Math.floor(world.random.jitter() * RENEWAL);
  if (!suite.esn && (rekey.slot < 0 || rekey.at > at)) world.arm(rekey, at);
}

/** More packets than come in between the last snapshot and the end of a life; a sixteenth of what there is without ESN, since a request may be repeated. */
const SKIPPED = 2 ** 28;
const RENEWAL: Millis = 45_000;
