import type { ProbeResult } from '../data-plane.ts';

/** What a data plane is wanted for. */
export type PlaneUse =
  /** Sockets in this process: files, forwards, whatever uses the library. */
  | 'own'
  /** Networks that this machine is part of, and all of its programs. */
  | 'machine'
  /** Programs that are started behind the tunnel. */
  | 'programs';

/** A plane, and what its probe found. */
export interface Candidate {
  readonly name: string;
  readonly changesMachine: boolean;
  readonly result: ProbeResult;
}

/** What stands in the way of a plane that would serve better. */
export interface Lack {
  readonly name: string;
  /** Goes on from «it lacks» or «it needs»; one clause, or the sentence of the probe. */
  readonly why: string;
  readonly fix: string;
}

/** A plane, and why it. Shown by `up`, `status` and `doctor`. */
export interface PlaneDecision {
  readonly name: string;
  /** false: somebody named it. */
  readonly automatic: boolean;
  /** Half a sentence. */
  readonly why: string;
  /** Planes that go before it in the order and cannot run here, or must not. */
  readonly better: readonly Lack[];
}

/**
 * The best plane for a use that brings no surprise: the first in the order of that use that can run here. Pure.
 * @param mayChangeMachine root, or CAP_NET_ADMIN: else nothing that outlasts this process is touched, whatever a probe says
 * @returns undefined where none can run; `lacksFor` says why
 */
export function choosePlane(use: PlaneUse, candidates: readonly Candidate[], mayChangeMachine: boolean): PlaneDecision | undefined {
  const lacks: Lack[] = [];
  for (const name of PLANE_ORDER[use]) {
    const candidate = candidates.find((each) => each.name === name);
    if (candidate === undefined) continue;
    const lack = lackOf(candidate, mayChangeMachine);
    if (lack === undefined) return { name, automatic: true, why: name === PLANE_ORDER[use][0] ? REASONS[use] : FALLBACK, better: lacks };
    lacks.push(lack);
  }
  return undefined;
}

/** Why none of a use's planes can run. */
export const lacksFor = (use: PlaneUse, candidates: readonly Candidate[], mayChangeMachine: boolean): readonly Lack[] =>
  PLANE_ORDER[use].flatMap((name) => {
    const candidate = candidates.find((each) => each.name === name);
    return candidate === undefined ? [] : (lackOf(candidate, mayChangeMachine) ?? []);
  });

export const namedPlane = (name: string): PlaneDecision => ({ name, automatic: false, why: 'it was asked for', better: [] });

function lackOf({ name, changesMachine, result }: Candidate, mayChangeMachine: boolean): Lack | undefined {
  if (!result.ok)
    return { name, why: result.privilege === undefined ? result.reason : `it needs root, or ${result.privilege}`, fix: result.hint };
  if (changesMachine && !mayChangeMachine)
    return { name, why: 'it needs root, or CAP_NET_ADMIN', fix: `Start it as root, or choose it by name: --plane ${name}.` };
  return undefined;
}

/**
 * The better one first. Nobody is given less than was asked for: where programs are to be run, TCP/IP in this process would not do, and `xfrm`,
 * which knows neither ESP in TCP nor dummy packets, is taken by name alone.
 */
export const PLANE_ORDER: Readonly<Record<PlaneUse, readonly string[]>> = {
  own: ['netstack'],
  machine: ['tun', 'netstack'],
  programs: ['netns'],
};

const REASONS: Readonly<Record<PlaneUse, string>> = {
  own: 'sockets in this process are all that is asked for',
  machine: 'the networks behind this machine are to be connected',
  programs: 'programs are to run behind the tunnel',
};
const FALLBACK = 'it is the best that can run here';
