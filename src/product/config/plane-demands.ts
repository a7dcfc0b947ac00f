import type { Backend, PlaneFeature } from '../../host/dataplane/data-plane.ts';
import { errorAt, type Place } from './source.ts';

/** A setting that not every data plane carries out. */
export interface PlaneDemand {
  readonly feature: PlaneFeature;
  readonly place: Place;
  /** A whole clause: why not every plane can. */
  readonly why: string;
}

/** @throws ConfigError `PLANE_UNFIT` at the first setting that this plane would not carry out */
export function checkPlane(demands: readonly PlaneDemand[], { name, features = [] }: Pick<Backend, 'name' | 'features'>): void {
  const unmet = demands.find(({ feature }) => !features.includes(feature));
  if (unmet === undefined) return;
  throw errorAt(unmet.place, `the data plane ${name} does not do this: ${unmet.why}`, HINTS[unmet.feature], 'PLANE_UNFIT');
}

const HINTS: Readonly<Record<PlaneFeature, string>> = {
  kernel: 'Write plane: xfrm, or leave it out.',
  bypass: 'Write plane: tun (or xfrm), or leave the child out.',
};
