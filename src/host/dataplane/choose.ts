import { DataPlaneError } from '../../core/bytes/index.ts';
import { automatic, backends } from './backends/index.ts';
import type { Backend } from './data-plane.ts';

/**
 * The backend of that name, or with `auto` the first that can run here.
 * @throws DataPlaneError `PLANE_UNKNOWN`, or `PLANE_UNAVAILABLE` with what is missing
 */
export async function chooseBackend(choice: string): Promise<Backend> {
  const candidates = choice === 'auto' ? automatic : backends.filter(({ name }) => name === choice);
  const refusals: string[] = [];
  let hint = 'Set plane: auto.';
  for (const backend of candidates) {
    const result = await backend.probe();
    if (result.ok) return backend;
    refusals.push(`${backend.name}: ${result.reason}`);
    hint = result.hint;
  }
  if (refusals.length > 0) {
    throw new DataPlaneError(`no data plane can run here: ${refusals.join('; ')}`, { code: 'PLANE_UNAVAILABLE', hint, backend: choice });
  }
  throw new DataPlaneError(`there is no data plane ${choice}`, {
    code: 'PLANE_UNKNOWN',
    backend: choice,
    hint: `Choose auto or one of: ${automatic.map(({ name }) => name).join(', ')}.`,
  });
}
