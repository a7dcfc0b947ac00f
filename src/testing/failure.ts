import { TunnelwrightError } from '../core/bytes/index.ts';

/** A scenario did not go as it says. The message holds what happened instead and the seed that replays it. */
export class ScenarioFailure extends TunnelwrightError {
  constructor(message: string, cause?: unknown) {
    super(message, { code: 'SCENARIO_FAILURE', cause });
  }
}
