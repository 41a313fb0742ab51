import { packageVersion } from "../package.ts";
import { SeededGenerator } from "../rollout/seeded-generator.ts";
import { allKsOf, type Evaluation, kOf } from "../run/evaluation.ts";
import { type Results, readResults } from "../run/results.ts";
import { RunFolder } from "../run/run-folder.ts";
import type { Perplexity } from "../run/world-model.ts";
import { passAtK } from "../stages/evaluate/pass-rates.ts";
import { trainedPolicies } from "../stages/schedule.ts";
import { type ArmDescription, describeArms } from "./describe-arms.ts";
import { type Curve, defaultCurves } from "./experiment.ts";
import type { ExperimentPlan, PlannedArm, PlannedRun } from "./plan.ts";
import {
  type Cells,
  type Estimate,
  estimateCells,
  estimateSeeds,
  meanOf,
  pairedDifference,
} from "./statistics.ts";
import type { Tuning } from "./tuning.ts";

/** An estimate, and the mean of each seed. */
interface SeededEstimate extends Estimate {
  seeds: number[];
}

/** A policy of an experiment over all seeds that have got so far. */
export interface ResultRow {
  /** An arm's name, `<arm> after SFT` (`after SFT` where all arms share it), or the name of a reference policy. */
  name: string;
  about: string;
  /** The seeds that it is of; fewer than the experiment's while that is under way. */
  seeds: number[];
  levels: number;
  samples: number;
  /** By k; the interval is over seeds and levels. */
  passAt: { [k: string]: SeededEstimate };
  /** Shares of turns; intervals over seeds. Null where they do not apply. */
  formatRate: SeededEstimate | null;
  observation: SeededEstimate | null;
  prediction: SeededEstimate | null;
  predictionChanged: SeededEstimate | null;
  /** Of true states, in nats per state: how well the model foretells them. Intervals over seeds; null where none was measured. */
  nats: { [State in keyof Perplexity]: SeededEstimate | null };
  /** Per token. */
  perplexity: { [State in keyof Perplexity]: SeededEstimate | null };
  /** Pass@1 by the length of a shortest solution. */
  byDistance: { [distance: string]: { passAt1: number; levels: number } };
  /** What came after the base, in the mean over seeds; null for the base's own policies. */
  cost: { tokensSampled: number; tokensTrained: number; seconds: number } | null;
}

/** What one row has above another, of the same seeds on the same levels. */
interface Difference {
  row: string;
  against: string;
  passAt: { [k: string]: Estimate };
}

/** A metric of PPO's steps. */
interface CurveResult extends Curve {
  /** By arm: steps, and over seeds the mean and its 95 % interval at each. */
  arms: { [arm: string]: { steps: number[]; values: Estimate[] } };
}

/** The content of an experiment's results.json. */
export interface ExperimentResults {
  experiment: string;
  claim: string;
  source: string;
  about: string;
  package: string;
  preset: string;
  settings: readonly string[];
  seeds: readonly number[];
  /** The k of the tables; null: 1 and 8, or as many as there are samples. */
  passAt: readonly number[] | null;
  /** In the order of the table. */
  rows: ResultRow[];
  differences: Difference[];
  curves: CurveResult[];
  arms: { [arm: string]: ArmDescription };
  /** How the arms' settings were chosen; null: they are as the experiment has them. */
  tuning: Tuning | null;
  /** Runs that are not done. */
  missing: string[];
}

/** Resamples of an interval. */
const RESAMPLES = 2000;

/** Gathers what the runs of a plan have come to so far. @throws SpaError BAD_CHECKPOINT for a damaged results.json */
export function gatherResults(plan: ExperimentPlan, tuning: Tuning | null = null): ExperimentResults {
  const { experiment, source, settings, seeds, arms } = plan;
  const policies = policiesOf(plan);
  const rows = policies.flatMap((policy) => rowOf(policy) ?? []);
  return {
    experiment: experiment.name,
    claim: experiment.claim,
    source: experiment.source,
    about: experiment.about,
    package: packageVersion(),
    preset: source,
    settings,
    seeds,
    passAt: experiment.passAt ?? null,
    rows,
    differences: comparisonsOf(plan, policies),
    curves: [...defaultCurves, ...(experiment.curves ?? [])].flatMap((curve) => curveOf(curve, arms) ?? []),
    arms: describeArms(arms),
    tuning,
    missing: plan.runs.filter((run) => resultsOf(run) === undefined).map(({ name }) => name),
  };
}

/** A policy that may be a row: who evaluated it, seed by seed. */
interface Policy {
  name: string;
  about: string;
  runs: readonly PlannedRun[];
  /** Its name in the runs' results.json. */
  policy: string;
  isReference: boolean;
}

const references: readonly [policy: string, about: string][] = [
  ["random", "uniform random actions"],
  ["optimal", "the best action in every state, one a turn"],
  ["base", "the model that arms start from, plain prompt"],
  ["baseWorldModel", "the same model, asked to write states"],
];

function policiesOf({ arms }: ExperimentPlan): Policy[] {
  const bases = new Map(arms.toReversed().map(({ arm, bases: runs }) => [runs[0]?.name, { arm, runs }]));
  const base = [...bases.values()].toReversed().flatMap(({ arm, runs }) =>
    references.map(([policy, about]): Policy => {
      const name = bases.size > 1 ? `${policy} (${arm.name})` : policy;
      return { name, about, runs, policy, isReference: true };
    }),
  );
  const tuned = new Set(arms.flatMap(({ arm, runs }) => (arm.trains === "spa" ? runs[0].after?.name : [])));
  const told = new Set<string>();
  const trained = arms.flatMap(({ arm, runs }): Policy[] => {
    const { name, about, trains } = arm;
    if (trains === null) return [];
    const policy = trainedPolicies[trains === "control" ? "control" : "format-only"];
    const own = { name, about, runs, policy, isReference: false };
    const worldModels = trains === "spa" ? runs.flatMap(({ after }) => after ?? []) : [];
    // Arms that share a world model have it once.
    if (worldModels.length === 0 || told.has(worldModels[0].name)) return [own];
    told.add(worldModels[0].name);
    const before = {
      name: tuned.size > 1 ? `${name} after SFT` : "after SFT",
      about: `${about}: before PPO`,
      policy: trainedPolicies["world-model"],
      runs: worldModels,
    };
    return [{ ...own, ...before }, own];
  });
  return [...base, ...trained];
}

/** A policy's evaluation by one seed's run. */
interface Seeded {
  seed: number;
  run: PlannedRun;
  evaluation: Evaluation;
}

function evaluationsOf({ runs, policy }: Policy): Seeded[] {
  return runs.flatMap((run) => {
    const evaluation = resultsOf(run)?.evaluations[policy];
    return evaluation ? [{ seed: run.seed, run, evaluation }] : [];
  });
}

function resultsOf(run: PlannedRun): Results | undefined {
  return readResults(run.folder);
}

/** Pass@k of every seed on every level. */
function cellsOf(seeded: readonly Seeded[], k: number): Cells {
  return seeded.map(({ evaluation: { samples, successes = [] } }) =>
    successes.map((count) => passAtK(samples, count, k)),
  );
}

/** Of equal seeds the same draws, for whatever row: two rows that are alike come out alike. */
function resampling(): SeededGenerator {
  return new SeededGenerator("experiment", "bootstrap");
}

function rowOf(policy: Policy): ResultRow | undefined {
  const seeded = evaluationsOf(policy);
  if (seeded.length === 0) return undefined;
  const { evaluation } = seeded[0];
  const share = (figure: (one: Evaluation) => number | null): SeededEstimate | null => {
    const seeds = seeded.flatMap((one) => figure(one.evaluation) ?? []);
    return seeds.length === 0 ? null : { ...estimateSeeds(seeds), seeds };
  };
  const ks = allKsOf(evaluation);
  const cells = ks.map((k) => cellsOf(seeded, k));
  const estimates = estimateCells(cells, RESAMPLES, resampling());
  return {
    name: policy.name,
    about: policy.about,
    seeds: seeded.map(({ seed }) => seed),
    levels: evaluation.levels,
    samples: evaluation.samples,
    passAt: Object.fromEntries(
      ks.map((k, index) => [k, { ...estimates[index], seeds: cells[index].map(meanOf) }]),
    ),
    formatRate: share(({ formatRate }) => formatRate),
    observation: share(({ observationAccuracy }) => observationAccuracy),
    prediction: share(({ predictionAccuracy }) => predictionAccuracy),
    predictionChanged: share(({ predictionAccuracyChanged }) => predictionAccuracyChanged),
    nats: ofStates((state) =>
      share(({ worldModel }) => worldModel?.perplexity?.[state].natsPerState ?? null),
    ),
    perplexity: ofStates((state) =>
      share(({ worldModel }) => worldModel?.perplexity?.[state].perplexity ?? null),
    ),
    byDistance: Object.fromEntries(
      Object.keys(evaluation.byDistance).map((distance) => {
        const rates = seeded.flatMap((one) => one.evaluation.byDistance[distance]?.passAt1 ?? []);
        return [distance, { passAt1: meanOf(rates), levels: evaluation.byDistance[distance].levels }];
      }),
    ),
    cost: policy.isReference ? null : meanCost(seeded),
  };
}

function ofStates<T>(figure: (state: keyof Perplexity) => T): { [State in keyof Perplexity]: T } {
  return {
    observation: figure("observation"),
    prediction: figure("prediction"),
    predictionChanged: figure("predictionChanged"),
  };
}

/** What a policy has cost beyond its base: the stages of its run, and of those that it starts from. */
function meanCost(seeded: readonly Seeded[]): NonNullable<ResultRow["cost"]> {
  const stages = seeded.map(({ run }) => chainStages(run));
  const mean = (figure: "tokensSampled" | "tokensTrained" | "seconds") =>
    meanOf(stages.map((own) => own.reduce((sum, stage) => sum + stage[figure], 0)));
  return {
    tokensSampled: mean("tokensSampled"),
    tokensTrained: mean("tokensTrained"),
    seconds: mean("seconds"),
  };
}

/** The stages that trained a run's policy, the base and evaluations apart. */
function chainStages(run: PlannedRun): Results["stages"] {
  const own = resultsOf(run)?.stages ?? [];
  const { model } = run.config;
  const before = run.after && model.kind === "stage" ? chainStages(run.after) : [];
  const taken = before.findIndex(({ name }) => model.kind === "stage" && name === model.stage);
  const isTraining = ({ name }: Results["stages"][number]) =>
    name !== "base" && !name.startsWith("evaluate/");
  return [...before.slice(0, taken + 1), ...own].filter(isTraining);
}

function comparisonsOf(plan: ExperimentPlan, policies: readonly Policy[]): Difference[] {
  const names = plan.arms.filter(({ arm }) => arm.trains !== null).map(({ arm }) => arm.name);
  const last = names.at(-1);
  const pairs = plan.experiment.comparisons ?? names.slice(0, -1).map((name) => [last!, name] as const);
  return pairs.flatMap(([row, against]) => {
    const [one, other] = [row, against].map((name) => {
      const policy = policies.find((known) => known.name === name);
      return policy ? evaluationsOf(policy) : [];
    });
    const shared = one.filter(({ seed }) => other.some((their) => their.seed === seed));
    const theirs = shared.flatMap(({ seed }) => other.filter((their) => their.seed === seed));
    if (shared.length === 0) return [];
    const ks = allKsOf(shared[0].evaluation).filter((k) => k <= kOf(theirs[0].evaluation.samples));
    const differences = ks.map((k) => pairedDifference(cellsOf(shared, k), cellsOf(theirs, k)));
    const estimates = estimateCells(differences, RESAMPLES, resampling());
    return { row, against, passAt: Object.fromEntries(ks.map((k, index) => [k, estimates[index]])) };
  });
}

function curveOf(curve: Curve, arms: readonly PlannedArm[]): CurveResult | undefined {
  const drawn = arms.flatMap(({ arm, runs }) => {
    const seeds = runs.flatMap((run) => (resultsOf(run) ? [stepsOf(run, curve.metric)] : []));
    const steps = [...(seeds[0]?.keys() ?? [])].filter((step) => seeds.every((points) => points.has(step)));
    const values = steps.map((step) => estimateSeeds(seeds.map((points) => points.get(step)!)));
    return steps.length === 0 ? [] : [[arm.name, { steps, values }] as const];
  });
  return drawn.length === 0 ? undefined : { ...curve, arms: Object.fromEntries(drawn) };
}

/** A metric of a run's PPO by step. */
function stepsOf({ folder }: PlannedRun, metric: string): Map<number, number> {
  const points = new Map<number, number>();
  for (const row of RunFolder.open(folder).metrics.rows()) {
    const value = row[metric];
    if (row.stage.endsWith("/ppo") && typeof value === "number") points.set(row.step, value);
  }
  return points;
}
