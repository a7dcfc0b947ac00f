import type { SeededRandom } from '../seeded.ts';
import type { WalkWorld } from './world.ts';

/** One thing that an operator, the network or an attacker can do. */
export interface WalkAction {
  readonly name: string;
  /** How often, beside the others. */
  readonly weight: number;
  /** Breaks what nobody could keep whole: left out of gentle walks. */
  readonly harsh?: boolean;
  /** @returns what was done, for the report; undefined when there was nothing to do it to */
  run(world: WalkWorld, random: SeededRandom): string | undefined;
}
