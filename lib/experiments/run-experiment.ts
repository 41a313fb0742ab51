import { createHash } from "node:crypto";
import { basename, join, resolve } from "node:path";
import { SpaError } from "../errors.ts";
import { writeFileAtomically } from "../files/atomic-file.ts";
import { makeFolders } from "../files/folders.ts";
import type { Progress } from "../run/progress.ts";
import { estimateRuns, type PlannedCost } from "./estimate.ts";
import { renderExperiment, renderFigures } from "./page.ts";
import { type ExperimentPlan, type ExperimentRequest, type PlannedRun, planExperiment } from "./plan.ts";
import { type ExperimentResults, gatherResults } from "./results.ts";
import { isDone, type RunEvents, trainRuns } from "./train-runs.ts";
import { candidatesOf, readTuning, TUNING_SEED, type Tuning, trialsOf, tunedExperiment } from "./tuning.ts";

/** An experiment under a root. */
export interface RootedRequest extends Omit<ExperimentRequest, "runs"> {
  /**
   * Settings of PPO with values to try, such as `ppo.optimizer.learningRate=1e-4,3e-4`. Every arm is tried with every combination, on
   * tuning levels and a seed of their own, and is run with its best.
   */
  tune?: readonly string[] | undefined;
}

/** What {@link runExperiment} is given. */
export interface ExperimentOptions extends RootedRequest {
  /** Where experiments stand, by default `experiments`: their runs in `<root>/runs`, what they come to in `<root>/<name>`. */
  root?: string;
  /** Runs at a time, each in a process of its own. */
  jobs: number;
  /** Execute an environment's module that the settings name. */
  trust?: boolean;
  /** Stops after the steps under way, which are saved. */
  signal?: AbortSignal | undefined;
  progress: Progress;
}

/** An experiment's folder with what it has come to. */
export interface ExperimentOutcome {
  folder: string;
  results: ExperimentResults;
  /** Runs that failed, by name, with why. */
  failures: ReadonlyMap<string, SpaError>;
}

/** Where experiments stand unless told otherwise. */
export const experimentsRoot = "experiments";

/** A plan with its folder, and what comes before it where arms are tuned. */
export interface RootedPlan extends ExperimentPlan {
  folder: string;
  /** The plan of the trials. */
  trials: ExperimentPlan | null;
  /** What they have come to so far; the arms have their best settings. */
  tuning: Tuning | null;
}

/**
 * A plan under `root`, without anything being made.
 *
 * @throws SpaError as {@link planExperiment}; BAD_CONFIG for what cannot be tuned
 */
export function planUnder(root: string, request: RootedRequest): RootedPlan {
  const { experiment, tune = [] } = request;
  const runs = join(root, "runs");
  const plan = planExperiment({ ...request, runs });
  const folder = resolve(join(root, folderName(plan, tune)));
  if (tune.length === 0) return { ...plan, folder, trials: null, tuning: null };
  const candidates = candidatesOf(tune);
  if (plan.seeds.includes(TUNING_SEED)) {
    throw new SpaError(
      "BAD_CONFIG",
      `seed ${TUNING_SEED} is that of the trials, by which settings are chosen`,
      {
        hint: "report other seeds: --seeds 5 are those from 1 on",
      },
    );
  }
  const arms = plan.arms.map(({ arm }) => arm);
  const tried = trialsOf(experiment, arms, candidates);
  const trials = planExperiment({
    ...request,
    experiment: tried.experiment,
    arms: tried.names,
    seeds: [TUNING_SEED],
    runs,
  });
  const tuning = readTuning(trials, candidates, arms);
  const tuned = planExperiment({ ...request, experiment: tunedExperiment(experiment, tuning), runs });
  return { ...tuned, folder, trials, tuning };
}

/** `main-nano-frozen-lake`; with settings of one's own also a digest of these. */
function folderName({ experiment, source, settings }: ExperimentPlan, tune: readonly string[]): string {
  const parts = [experiment.name, basename(source).replace(/\.ya?ml$/, "")];
  const own = [...[...settings].sort(), ...tune.map((text) => `tune ${text}`)];
  const digest = createHash("sha256").update(JSON.stringify(own)).digest("hex");
  return [...parts, ...(own.length > 0 ? [digest.slice(0, 8)] : [])].join("-");
}

/**
 * Does what an experiment lacks, and writes results.json, report.html and figures/*.svg into its folder. Done again it goes on
 * where it was stopped; what other experiments under the same root have trained already is taken from there.
 *
 * @throws SpaError ABORTED (results hold what is done), BAD_CONFIG, UNKNOWN_NAME
 */
export async function runExperiment(options: ExperimentOptions): Promise<ExperimentOutcome> {
  const { root = experimentsRoot } = options;
  let plan = planUnder(root, options);
  const failures = new Map<string, SpaError>();
  const trainAll = async (part: ExperimentPlan) => {
    for (const [{ name }, error] of await trainPlan(part, options)) failures.set(name, error);
  };
  try {
    if (plan.trials !== null) {
      await trainAll(plan.trials);
      plan = planUnder(root, options);
    }
    await trainAll(plan);
  } catch (error) {
    writeOutcome(plan);
    throw error;
  }
  return { folder: plan.folder, results: writeOutcome(plan), failures };
}

/** Trains what a plan lacks. @returns runs that failed, with why */
async function trainPlan(
  plan: ExperimentPlan,
  { progress, jobs, trust = false, signal }: ExperimentOptions,
): Promise<Map<PlannedRun, SpaError>> {
  const events = new PlanProgress(plan, await estimateRuns(plan), progress);
  try {
    return await trainRuns(plan.runs, events, { jobs, trust, signal });
  } finally {
    progress.done();
  }
}

/** Gathers and writes what there is, without training anything. */
export function writeOutcome(plan: RootedPlan): ExperimentResults {
  const results = gatherResults(plan, plan.tuning);
  makeFolders(join(plan.folder, "figures"));
  const write = (file: string, text: string) => writeFileAtomically(join(plan.folder, file), text);
  write("results.json", `${JSON.stringify(results, null, 2)}\n`);
  write("report.html", renderExperiment(results));
  for (const [name, svg] of renderFigures(results)) write(join("figures", `${name}.svg`), svg);
  return results;
}

/** Progress over all runs of a plan, weighed by their work. */
class PlanProgress implements RunEvents {
  readonly #plan: ExperimentPlan;
  readonly #costs: ReadonlyMap<PlannedRun, PlannedCost>;
  readonly #progress: Progress;
  /** Work that is done, by run and stage, in floating-point operations. */
  readonly #done = new Map<PlannedRun, Map<string, number>>();
  readonly #active = new Map<PlannedRun, string>();
  readonly #total: number;

  constructor(plan: ExperimentPlan, costs: ReadonlyMap<PlannedRun, PlannedCost>, progress: Progress) {
    this.#plan = plan;
    this.#costs = costs;
    this.#progress = progress;
    for (const run of plan.runs.filter(isDone)) this.#done.set(run, new Map(costs.get(run)?.operations));
    this.#total = sumOf([...costs.values()].flatMap(({ operations }) => [...operations.values()]));
    progress.stage(`experiment ${plan.experiment.name}`, plan.runs.length, this.#share());
  }

  begins(run: PlannedRun): void {
    this.#active.set(run, "");
    this.#tick();
  }

  stage(run: PlannedRun, stage: string, share: number): void {
    const work = this.#done.get(run) ?? new Map<string, number>();
    const operations = this.#costs.get(run)?.operations ?? new Map<string, number>();
    // Stages before the one that is told are done, also those of an earlier process.
    for (const [other, whole] of operations) {
      if (other === stage) break;
      work.set(other, whole);
    }
    work.set(stage, share * (operations.get(stage) ?? 0));
    this.#done.set(run, work);
    this.#active.set(run, `${stage} ${Math.round(100 * share)} %`);
    this.#tick();
  }

  note(run: PlannedRun, text: string): void {
    if (/^(warning|error)/.test(text)) this.#progress.note(`${run.name}: ${text}`);
  }

  waits(run: PlannedRun, lock: SpaError): void {
    this.#progress.note(`waiting for ${run.name}: ${lock.message}`);
    this.#active.set(run, "waiting");
    this.#tick();
  }

  ends(run: PlannedRun, failure: SpaError | undefined): void {
    this.#active.delete(run);
    if (!failure) this.#done.set(run, new Map(this.#costs.get(run)?.operations));
    else if (failure.code !== "ABORTED") this.#progress.note(`${run.name} has failed: ${failure.message}`);
    this.#tick();
  }

  #tick(): void {
    const underWay = [...this.#active].map(([{ name }, at]) => `${name} ${at}`.trim());
    this.#progress.tick(this.#share(), { "under way:": underWay.join(", ") || undefined });
  }

  /** Done work as a number of runs of mean size. */
  #share(): number {
    const done = sumOf([...this.#done.values()].flatMap((work) => [...work.values()]));
    return Number(((this.#plan.runs.length * done) / Math.max(this.#total, 1)).toFixed(2));
  }
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
