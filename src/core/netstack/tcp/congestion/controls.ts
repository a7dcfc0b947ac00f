import { Bbr } from './bbr.ts';
import type { CongestionControlFactory } from './control.ts';
import { Cubic } from './cubic.ts';
import { NewReno } from './new-reno.ts';

/** The congestion controls there are, by the names that they give themselves. */
export const CONGESTION_CONTROLS = {
  bbr: (smss, initial) => new Bbr(smss, initial),
  cubic: (smss, initial) => new Cubic(smss, initial),
  newreno: (smss, initial) => new NewReno(smss, initial),
} as const satisfies Readonly<Record<string, CongestionControlFactory>>;

export type CongestionName = keyof typeof CONGESTION_CONTROLS;
