import { TunnelwrightError } from '../../core/bytes/errors.ts';
import {
  type Candidate,
  chooseBackend,
  choosePlane,
  lacksFor,
  PLANE_ORDER,
  type PlaneDecision,
  type PlaneUse,
  probePlanes,
} from '../../host/dataplane/index.ts';
import { probeMachine } from '../../host/platform/probe.ts';
import { checkPlane, planeUse } from '../../product/config/index.ts';
import type { CliContext } from '../context.ts';
import { compileFile, defaultConfigFile, loadFile } from '../settings.ts';
import { type Check, machineChecks } from './checks.ts';

/** A data plane as its probe found it. */
export interface PlaneFound {
  readonly name: string;
  readonly available: boolean;
  /** What it is, or why it cannot run. */
  readonly detail: string;
  /** Whether `auto` ever takes it; else it is taken by name alone. */
  readonly automatic: boolean;
  readonly fix: string | null;
}

/** What `plane: auto` takes for one use; `name` null: nothing can run. */
export interface Taken {
  readonly use: PlaneUse;
  readonly name: string | null;
  readonly why: string;
  readonly better: PlaneDecision['better'];
}

export interface Diagnosis {
  readonly ok: boolean;
  readonly checks: readonly Check[];
  readonly planes: readonly PlaneFound[];
  readonly auto: readonly Taken[];
}

/** Looks at the machine, tries every plane, and asks whether what the configuration wants can be had. Leaves nothing behind. */
export async function examine(configFile: string | undefined, context: CliContext): Promise<Diagnosis> {
  const [facts, candidates] = await Promise.all([probeMachine(), probePlanes()]);
  const file = configFile ?? defaultConfigFile(context);
  const checks = [...machineChecks(facts), ...(file === undefined ? [] : [await configured(file, context)])];
  return {
    ok: checks.every(({ state }) => state !== 'fail'),
    checks,
    planes: candidates.map(found),
    auto: USES.map((use) => taken(use, candidates, facts.networkAdmin === true)),
  };
}

async function configured(file: string, context: CliContext): Promise<Check> {
  try {
    const config = compileFile(loadFile(file, context), context.uid);
    const { backend, decision } = await chooseBackend(config.plane, planeUse(config));
    checkPlane(config.demands, backend);
    return {
      name: 'configuration',
      state: 'ok',
      detail: `${file}: plane ${config.plane}, so ${decision.name}: ${decision.why}`,
      fix: null,
    };
  } catch (error) {
    if (!(error instanceof TunnelwrightError)) throw error;
    return {
      name: 'configuration',
      state: 'fail',
      detail: error.message.startsWith(file) ? error.message : `${file}: ${error.message}`,
      fix: error.hint ?? null,
    };
  }
}

function found({ name, result }: Candidate): PlaneFound {
  const automatic = Object.values(PLANE_ORDER).some((order) => order.includes(name));
  return result.ok
    ? { name, available: true, detail: result.detail, automatic, fix: null }
    : { name, available: false, detail: result.reason, automatic, fix: result.hint };
}

function taken(use: PlaneUse, candidates: readonly Candidate[], mayChangeMachine: boolean): Taken {
  const decision = choosePlane(use, candidates, mayChangeMachine);
  if (decision === undefined)
    return { use, name: null, why: 'nothing that serves can run here', better: lacksFor(use, candidates, mayChangeMachine) };
  const { name, why, better } = decision;
  return { use, name, why, better };
}

const USES: readonly PlaneUse[] = ['own', 'machine', 'programs'];
