import { createHash } from "node:crypto";
import { basename, join, resolve } from "node:path";
import type { SpaError } from "../errors.ts";
import { writeFileAtomically } from "../files/atomic-file.ts";
import { makeFolders } from "../files/folders.ts";
import type { Progress } from "../run/progress.ts";
import { estimateRuns, type PlannedCost } from "./estimate.ts";
import { renderExperiment, renderFigures } from "./page.ts";
import { type ExperimentPlan, type ExperimentRequest, type PlannedRun, planExperiment } from "./plan.ts";
import { type ExperimentResults, gatherResults } from "./results.ts";
import { isDone, type RunEvents, trainRuns } from "./train-runs.ts";

/** What {@link runExperiment} is given. */
export interface ExperimentOptions extends Omit<ExperimentRequest, "runs"> {
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

/** A plan under `root`, without anything being made. Errors as of {@link planExperiment}. */
export function planUnder(
  root: string,
  request: Omit<ExperimentRequest, "runs">,
): ExperimentPlan & { folder: string } {
  const plan = planExperiment({ ...request, runs: join(root, "runs") });
  return { ...plan, folder: resolve(join(root, folderName(plan))) };
}

/** `main-nano-frozen-lake`; with settings of one's own also a digest of these. */
function folderName({ experiment, source, settings }: ExperimentPlan): string {
  const parts = [experiment.name, basename(source).replace(/\.ya?ml$/, "")];
  const digest = createHash("sha256")
    .update(JSON.stringify([...settings].sort()))
    .digest("hex");
  return [...parts, ...(settings.length > 0 ? [digest.slice(0, 8)] : [])].join("-");
}

/**
 * Does what an experiment lacks, and writes results.json, report.html and figures/*.svg into its folder. Done again it goes on
 * where it was stopped; what other experiments under the same root have trained already is taken from there.
 *
 * @throws SpaError ABORTED (results hold what is done), BAD_CONFIG, UNKNOWN_NAME
 */
export async function runExperiment(options: ExperimentOptions): Promise<ExperimentOutcome> {
  const { root = experimentsRoot, progress, signal, jobs, trust = false } = options;
  const plan = planUnder(root, options);
  const events = new PlanProgress(plan, await estimateRuns(plan), progress);
  let failures: Map<PlannedRun, SpaError>;
  try {
    failures = await trainRuns(plan.runs, events, { jobs, trust, signal });
  } catch (error) {
    writeOutcome(plan);
    throw error;
  } finally {
    progress.done();
  }
  const results = writeOutcome(plan);
  const named = new Map([...failures].map(([{ name }, error]) => [name, error]));
  return { folder: plan.folder, results, failures: named };
}

/** Gathers and writes what there is, without training anything. */
export function writeOutcome(plan: ExperimentPlan & { folder: string }): ExperimentResults {
  const results = gatherResults(plan);
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
