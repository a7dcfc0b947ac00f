import { concat, equalBytes, utf8 } from '../../bytes/bytes.ts';
import type { Address } from '../../bytes/ip-address.ts';
import { ExchangeType, type Payload } from '../../wire/index.ts';
import type { Millis } from '../effects.ts';
import type { IkeSa } from '../ike-sa.ts';
import { transmit } from '../messenger.ts';
import { findNotify, notify } from '../notifies.ts';
import { isOverTcp, type Path, pathOf } from '../path.ts';
import { exchange, type Inbound, type Routine } from '../routine.ts';
import type { World } from '../world.ts';

/**
 * An addition of ours to MOBIKE, for whoever wants to know how long a NAT keeps a mapping without traffic: an INFORMATIONAL request, sent from a
 * port of its own, asks the responder to send its answer there a second time after so many seconds. If that comes through, the mapping was
 * still there; the mapping in use was never at stake. RFC 7296 §3.10.1 lets others ignore the notify.
 */
export interface PendingEcho {
  readonly messages: readonly Uint8Array[];
  readonly path: Path;
}

/** In IKE_AUTH, beside MOBIKE_SUPPORTED: both ends know of echoes. */
export const offerEcho = (): Payload => notify(NAT_ECHO, MAGIC);

export function knowsEcho(payloads: readonly Payload[]): boolean {
  const found = findNotify(payloads, NAT_ECHO);
  return found !== undefined && equalBytes(found.data, MAGIC);
}

/** From `local`, which is a port of its own; the answer and its echo are the engine's to count. */
export function requestEcho(world: World, sa: IkeSa, local: Address, seconds: number): void {
  if (!sa.mobike?.decides || !sa.mobike.echoes || !sa.isEstablished || isOverTcp(sa)) return;
  world.enqueue(sa, { what: 'measuring the NAT', key: 'nat-echo', start: (owner) => askForEcho(owner, local, seconds) });
}

function* askForEcho(sa: IkeSa, local: Address, seconds: number): Routine<void> {
  const via = { local, remote: sa.remote, encap: true };
  const wish = notify(NAT_ECHO, concat(MAGIC, new Uint8Array([seconds >> 8, seconds & 255])));
  yield* exchange(ExchangeType.INFORMATIONAL, [wish], { via, aside: true });
}

/** The answer has been sent; it is sent once more to an address that has shown that it receives, so nobody can be bombed with echoes. */
export function heedEcho(world: World, sa: IkeSa, { messageId, payloads, path }: Inbound): void {
  const wish = findNotify(payloads, NAT_ECHO);
  const { mobike } = sa;
  if (wish === undefined || !mobike?.echoes || mobike.decides || !mobike.verified.includes(path.remote.ip)) return;
  const seconds = (wish.data[MAGIC.length] ?? 0) * 256 + (wish.data[MAGIC.length + 1] ?? 0);
  if (wish.data.length !== MAGIC.length + 2 || !equalBytes(wish.data.subarray(0, MAGIC.length), MAGIC) || seconds > MOST_SECONDS) return;
  sa.echo = { messages: sa.window.answerTo(messageId) ?? [], path: pathOf(path) };
  world.arm(sa.timers.echo, world.now + seconds * SECOND);
}

/** The timer `echo`. */
export function echo(world: World, sa: IkeSa): void {
  if (sa.echo) transmit(world, sa.echo.messages, sa.echo.path);
  sa.echo = undefined;
}

/** RFC 7296 §3.10.1: status types from 40960 on are for private use; the words in its data keep it apart from those of others. */
const NAT_ECHO = 58_951;
const MAGIC = utf8('tunnelwright nat echo');
const SECOND: Millis = 1000;
/** RFC 4787 §4.3 wants two minutes of a NAT; whoever keeps longer needs no measuring. */
const MOST_SECONDS = 300;
