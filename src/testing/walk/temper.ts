import { SeededRandom } from '../seeded.ts';

/**
 * How much a walk takes on. A `full` one has all there is, again and again; a `brisk` one does as many steps with less behind each: fewer
 * machines and extensions, fewer steps that lead to hundreds of messages, less time in between. A `light` one has a single client with a
 * single child, and of its steps fewer packets and messages come than of a brisk one’s, while as many rekeyings cross. What one full walk
 * costs pays for three brisk ones or five light ones, and many walks meet more than long ones do; what takes a lot at once to come about is
 * left to the others.
 */
export type Temper = (typeof TEMPERS)[number];
export const TEMPERS = ['light', 'brisk', 'full'] as const;

/** Drawn by a stream of its own: a full walk is what its seed would have been without any others. */
export function drawTemper(seed: number | string): Temper {
  const point = new SeededRandom(seed, 'temper').fraction();
  if (point < FULL_SHARE) return 'full';
  return point < FULL_SHARE + BRISK_SHARE ? 'brisk' : 'light';
}

/** What a temper decides. Probabilities where nothing else is said. */
export interface Pace {
  readonly secondClient: number;
  readonly secondChild: number;
  /** Only what must not break anything is done. */
  readonly gentle: number;
  /** A lifetime that ends within the walk: of the IKE SA, of a child. */
  readonly rekeyIke: number;
  readonly rekeyChild: number;
  /** A child with a limit of packets. */
  readonly rekeyPackets: number;
  /** A line that speaks extensions, and each of them on such a line. */
  readonly extended: number;
  readonly extension: number;
  /** Of the weight of actions that break what nobody could keep whole; of that of others by name, which lead to many messages. */
  readonly harsh: number;
  readonly shares: Readonly<Record<string, number>>;
  /** Inner packets of one step, and seconds that pass in one, at most. */
  readonly packets: number;
  readonly time: number;
  /** A time of quiet for each step on a line of which nothing is expected. */
  readonly quietAfterHarm: number;
  /** A time of quiet that is longer than any timer: in the middle, at the end. */
  readonly steady: number;
  readonly steadyEnd: number;
  /** Bounds of the kinds of pauses between steps: up to 60 ms, 500 ms, 4 s; longer ones behind the last. */
  readonly pauses: readonly [number, number, number];
}

export const PACES: Readonly<Record<Temper, Pace>> = {
  light: {
    secondClient: 0,
    secondChild: 0,
    gentle: 0.55,
    rekeyIke: 0.05,
    rekeyChild: 0.05,
    rekeyPackets: 0.05,
    extended: 0.25,
    extension: 0.2,
    harsh: 0.4,
    shares: {
      'both rekey child': 0.15,
      'both rekey IKE': 0.15,
      'both rekey IKE twice': 0.2,
      'dies while rekeying': 0.4,
      'create child': 0.1,
      up: 0.06,
      'restart with what it knows': 0.05,
      'clock leaps': 0.4,
      'link gets worse': 0.4,
      'link gets better': 0.6,
      'NAT rebinds': 0.5,
      'install fails': 0.5,
      'late answers': 0.7,
      'time passes': 0.015,
      quiet: 0.03,
      'rekey child': 0.05,
      'rekey IKE': 0.05,
      'rekey limit of child': 0.15,
      'check liveness': 0.05,
      replay: 0.2,
      'mutated copies': 0.2,
      'unprotected message': 0.2,
      'random octets': 0.2,
      traffic: 0.3,
    },
    packets: 1,
    time: 20,
    quietAfterHarm: 0.004,
    steady: 0.03,
    steadyEnd: 0.02,
    pauses: [0.75, 0.98, 0.999],
  },
  brisk: {
    secondClient: 0.05,
    secondChild: 0.15,
    gentle: 0.55,
    rekeyIke: 0.15,
    rekeyChild: 0.2,
    rekeyPackets: 0.1,
    extended: 0.35,
    extension: 0.2,
    harsh: 0.4,
    shares: {
      'both rekey child': 0.3,
      'both rekey IKE': 0.3,
      'both rekey IKE twice': 0.25,
      'dies while rekeying': 0.4,
      'create child': 0.5,
      up: 0.2,
      'restart with what it knows': 0.2,
      'clock leaps': 0.6,
      'link gets worse': 0.5,
      'time passes': 0.12,
      quiet: 0.25,
      'rekey child': 0.2,
      'rekey IKE': 0.2,
      'rekey limit of child': 0.6,
      'check liveness': 0.3,
    },
    packets: 1,
    time: 30,
    quietAfterHarm: 0.012,
    steady: 0.06,
    steadyEnd: 0.1,
    pauses: [0.6, 0.92, 0.995],
  },
  full: {
    secondClient: 0.2,
    secondChild: 0.3,
    gentle: 0.4,
    rekeyIke: 0.4,
    rekeyChild: 0.5,
    rekeyPackets: 0.15,
    extended: 0.5,
    extension: 0.35,
    harsh: 1,
    shares: {},
    packets: 3,
    time: 60,
    quietAfterHarm: 0.1,
    steady: 0.2,
    steadyEnd: 1,
    pauses: [0.5, 0.8, 0.95],
  },
};

const FULL_SHARE = 1 / 64;
const BRISK_SHARE = 1 / 16;
