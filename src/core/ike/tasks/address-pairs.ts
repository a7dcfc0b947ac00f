import { TimedOut, TunnelwrightError } from '../../bytes/errors.ts';
import type { Address } from '../../bytes/ip-address.ts';
import type { Millis } from '../effects.ts';
import type { IkeSa } from '../ike-sa.ts';
import type { Path } from '../path.ts';
import { isOverTcp } from '../path.ts';
import type { World } from '../world.ts';
import { isOurs, namedPaths } from './mobike-paths.ts';
import { isSilence } from './tcp-fallback.ts';

/** RFC 4555 §3.1: where the first pair of addresses brings no answer to IKE_SA_INIT, the others are tried, one after the other. */
export interface AddressPairs {
  /** Still to be tried, best first. */
  readonly left: readonly Path[];
  /** Addresses of the peer that did not answer. */
  readonly silent: readonly string[];
}

/** The IKE SA `to` tries another pair of addresses in the place of this one: the peer is silent at `silent`, or our own address is gone. */
export interface TryingAddress {
  readonly kind: 'trying-address';
  readonly ikeSa: number;
  readonly connection: string | undefined;
  readonly silent: Address;
  /** Ours, where it is gone: then the silence of the peer says nothing. */
  readonly lost?: Address | undefined;
  readonly local: Address;
  readonly remote: Address;
  readonly to: number;
}

/** All but the pair that it begins with; undefined where there is only that one. */
export function pairsFor(world: World, sa: IkeSa): AddressPairs | undefined {
  // whatever the transport: that of the connection comes beside it (RFC 9329 §5.1)
  const left = namedPaths(world, sa).filter(({ local, remote }) => local.ip !== sa.local.ip || remote.ip !== sa.remote.ip);
  return left.length === 0 ? undefined : { left, silent: [] };
}

/** How long IKE_SA_INIT waits where there is somewhere else to go; the last pair gets all the time that the policy gives. */
export const initPatience = ({ pairs }: IkeSa): Millis | undefined => (pairs !== undefined && pairs.left.length > 0 ? PATIENCE : undefined);

/** Where to go on after this failure; undefined: nowhere. */
export function nextPair(sa: IkeSa, error: unknown): { readonly path: Path; readonly pairs: AddressPairs } | undefined {
  const [path, ...left] = sa.pairs?.left ?? [];
  if (path === undefined || !(error instanceof TunnelwrightError) || !isSilence(error)) return undefined;
  // silence behind IKE_SA_INIT has another cause than the address; that ours is gone is told at any time
  if (!sa.is('connecting') && !(sa.is('authenticating') && error.code === 'ADDRESS_NOT_OURS')) return undefined;
  return { path, pairs: { left, silent: tried(sa) } };
}

/** Our end of the pair is not ours any more: no copy goes out from there, and no answer comes. */
export const isLost = (world: World, sa: IkeSa): boolean => !isOurs(world, sa.local.ip);

/** This machine's addresses are others. What is not answered yet goes on over another pair at once, as soon as there is one. */
export function leaveLostPair(world: World, sa: IkeSa): void {
  if (sa.originalRole !== 'initiator' || !sa.is('connecting', 'authenticating') || !isLost(world, sa)) return;
  const left = namedPaths(world, sa);
  const [first] = left;
  if (first === undefined) return;
  // nothing has gone out, and nobody knows of the other one
  if (sa.initRequest === undefined && !isOverTcp(sa)) world.moveIke(sa, left.find(({ remote }) => remote.ip === sa.remote.ip) ?? first);
  else sa.pairs = { left, silent: sa.pairs?.silent ?? [] };
  for (const request of [...sa.window.outstanding]) {
    sa.window.answered(request.messageId);
    request.fail(lost(sa));
  }
}

/** Names every address that was tried, once the last of them has not answered either. */
export function withOtherPairs(sa: IkeSa, error: unknown): unknown {
  const silent = sa.pairs?.silent ?? [];
  if (silent.length === 0 || sa.establishedAt !== undefined || !(error instanceof TunnelwrightError) || !isSilence(error)) return error;
  const others = silent.filter((ip) => ip !== sa.remote.ip);
  if (others.length === 0) return error;
  return new TimedOut(`${error.message}; neither did ${others.join(', ')}`, {
    code: error.code,
    section: 'RFC 4555 §3.1',
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    cause: error,
  });
}

const lost = ({ local }: IkeSa) => new TimedOut(`our address ${local.ip} is gone`, { code: 'ADDRESS_NOT_OURS', section: 'RFC 4555 §3.1' });

const tried = (sa: IkeSa): readonly string[] => [...new Set([...(sa.pairs?.silent ?? []), sa.remote.ip])];

/** Four copies, and the TCP attempt beside them has begun. */
const PATIENCE: Millis = 8000;
