import { DataPlaneError } from '../../core/bytes/index.ts';
import { mayAdministerNetwork } from '../platform/probe.ts';
import { type Candidate, choosePlane, lacksFor, namedPlane, PLANE_ORDER, type PlaneDecision, type PlaneUse } from './backends/choice.ts';
import { backends } from './backends/index.ts';
import type { Backend } from './data-plane.ts';

/** A backend that can run here, and why it. */
export interface ChosenBackend {
  readonly backend: Backend;
  readonly decision: PlaneDecision;
}

/**
 * The backend of that name, or with `auto` the best that can run here for the use and brings no surprise.
 * @throws DataPlaneError `PLANE_UNKNOWN`, or `PLANE_UNAVAILABLE` with what is missing
 */
export async function chooseBackend(choice: string, use: PlaneUse = 'own'): Promise<ChosenBackend> {
  if (choice === 'auto') return chooseFor(use);
  const backend = backends.find(({ name }) => name === choice);
  if (backend === undefined)
    throw new DataPlaneError(`there is no data plane ${choice}`, {
      code: 'PLANE_UNKNOWN',
      backend: choice,
      hint: `Choose auto or one of: ${NAMES.join(', ')}.`,
    });
  const result = await backend.probe();
  if (result.ok) return { backend, decision: namedPlane(choice) };
  throw new DataPlaneError(`the data plane ${choice} cannot run here: ${result.reason}`, {
    code: 'PLANE_UNAVAILABLE',
    backend: choice,
    hint: result.hint,
    ...(result.privilege === undefined ? {} : { privilege: result.privilege }),
  });
}

/** What every plane's probe finds; each is tried, and leaves nothing. */
export const probePlanes = (names: readonly string[] = NAMES): Promise<readonly Candidate[]> =>
  Promise.all(
    backends
      .filter(({ name }) => names.includes(name))
      .map(async ({ name, changesMachine = false, probe }) => ({ name, changesMachine, result: await probe() })),
  );

async function chooseFor(use: PlaneUse): Promise<ChosenBackend> {
  const candidates = await probePlanes(PLANE_ORDER[use]);
  const mayChangeMachine = await mayAdministerNetwork();
  const decision = choosePlane(use, candidates, mayChangeMachine);
  const backend = backends.find(({ name }) => name === decision?.name);
  if (decision !== undefined && backend !== undefined) return { backend, decision };
  const lacks = lacksFor(use, candidates, mayChangeMachine);
  throw new DataPlaneError(`no data plane for this can run here: ${lacks.map(({ name, why }) => `${name}: ${why}`).join('; ')}`, {
    code: 'PLANE_UNAVAILABLE',
    backend: 'auto',
    hint: lacks[0]?.fix ?? 'Choose one by name: --plane netstack.',
  });
}

/** `memory` moves no packets; it is for tests. */
const NAMES: readonly string[] = backends.map(({ name }) => name).filter((name) => name !== 'memory');
