import type { MemoryPlan } from "../memory/plan.ts";
import { environmentFactory } from "../pipeline.ts";
import { estimateRun, type RunEstimate } from "../stages/estimate.ts";
import { type EstimatedModel, modelForEstimates } from "../stages/model-shape.ts";
import { chosenSettings, type ExperimentPlan, type PlannedRun } from "./plan.ts";

/** What a run of an experiment will take, roughly. */
export interface PlannedCost {
  tokensSampled: number;
  tokensTrained: number;
  /** Floating-point operations, by stage. */
  operations: ReadonlyMap<string, number>;
  memory: MemoryPlan;
}

/** Estimates every run of a plan as `estimateRun` does; runs that differ in their seed alone cost the same. */
export async function estimateRuns(plan: ExperimentPlan): Promise<Map<PlannedRun, PlannedCost>> {
  const known = new Map<string, RunEstimate>();
  const models = new Map<string, EstimatedModel>();
  const costs = new Map<PlannedRun, PlannedCost>();
  for (const run of plan.runs) {
    const config = { ...run.config, model: run.shape };
    const key = JSON.stringify({ ...chosenSettings(config), seed: 0 });
    const shape = JSON.stringify([run.shape, config.protocol]);
    const model = models.get(shape) ?? (await modelForEstimates(config));
    models.set(shape, model);
    const estimate = known.get(key) ?? (await estimateRun(config, model, await environmentFactory(config)));
    known.set(key, estimate);
    costs.set(run, costOf(run, estimate));
  }
  return costs;
}

/** An estimate without the base where the run has another's. */
function costOf(run: PlannedRun, { parameters, stages, memory }: RunEstimate): PlannedCost {
  const own = stages.filter(({ id }) => run.after === undefined || id !== "base");
  const sum = (values: readonly number[]) => values.reduce((left, right) => left + right, 0);
  return {
    tokensSampled: sum(own.map(({ tokensSampled }) => tokensSampled)),
    tokensTrained: sum(own.map(({ tokensTrained }) => tokensTrained)),
    operations: new Map(
      own.map(({ id, tokensSampled, tokensTrained }) => [
        id,
        parameters * (2 * tokensSampled + 6 * tokensTrained),
      ]),
    ),
    memory,
  };
}
