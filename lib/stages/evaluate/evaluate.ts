import type { Json } from "../../../envs/environment.ts";
import type { Model } from "../../engine/model.ts";
import { collect } from "../../rollout/collector.ts";
import type { Level } from "../../rollout/levels.ts";
import { oneActionATurn, optimalScript } from "../../rollout/optimal-policy.ts";
import { playsOf } from "../../rollout/player.ts";
import { randomPolicyActions } from "../../rollout/random-policy.ts";
import { playScripted, type Script } from "../../rollout/scripted.ts";
import { SeededGenerator, seedOf } from "../../rollout/seeded-generator.ts";
import { sampledTokens, type Trajectory } from "../../rollout/trajectory.ts";
import { TurnProtocol } from "../../rollout/turn-protocol.ts";
import { type Evaluation, kOf, nameRates, type PassRates } from "../../run/evaluation.ts";
import type { EvaluationResult } from "../../run/results.ts";
import type { TurnFormat } from "../../text/tags.ts";
import { loadModel, protocolOf, type StageContext } from "../context.ts";
import { evaluatedPerplexity } from "../perplexity.ts";
import { type PlayStatistics, playMetrics, playStatistics } from "../play-statistics.ts";
import { StageRun } from "../stage-run.ts";
import { worldModelQuality } from "../world-model.ts";
import { bootstrapIntervals, passAtK, passCurve } from "./pass-rates.ts";

/** Trajectories of an evaluation that are logged. */
const LOGGED_TRAJECTORIES = 32;

/** What playing needs of a context. */
export type PlayContext = Pick<StageContext, "config" | "environments" | "signal">;

/** What is played, and the seed of it. */
interface PlaySettings {
  levels: readonly Level[];
  samples: number;
  temperature: number;
  /** Equal seeds give equal random numbers to every policy. */
  seed: number;
  onProgress?: (done: number, total: number) => void;
}

/** Policies that are no models. */
type ScriptedPolicy = "random" | "optimal";

function scriptOf(policy: ScriptedPolicy, config: StageContext["config"]): Script {
  if (policy === "optimal") return optimalScript;
  return async (episode, generator) => ({
    reasoning: "",
    actions: await randomPolicyActions(config, episode, generator),
  });
}

/** Lets a model or a scripted policy play every level `samples` times. The trajectories of a level stand next to each other. */
export async function playLevels(
  { config, environments, signal }: PlayContext,
  policy: Model | ScriptedPolicy,
  protocol: TurnProtocol,
  { levels, samples, temperature, seed, onProgress }: PlaySettings,
): Promise<Trajectory[]> {
  const options = { protocol, environments, plays: playsOf(levels, samples), signal, onProgress };
  if (typeof policy !== "string") {
    return collect({ ...options, model: policy, temperature, slots: config.engine.rolloutSlots, seed });
  }
  return playScripted({
    ...options,
    script: scriptOf(policy, config),
    generatorOf: ({ id }) => new SeededGenerator(seed, "random", id),
  });
}

/** Pass rates over levels, and of each level. */
interface LevelRates extends PassRates {
  k: number;
  levels: PassRates[];
}

/** Pass@1 and the unbiased Pass@k of trajectories that come in runs of `samples` a level. */
export function passRates(trajectories: readonly Trajectory[], samples: number): LevelRates {
  const k = kOf(samples);
  const levels: PassRates[] = [];
  for (let begin = 0; begin < trajectories.length; begin += samples) {
    const successes = trajectories.slice(begin, begin + samples).filter(({ success }) => success).length;
    levels.push(nameRates(successes / samples, passAtK(samples, successes, k), k));
  }
  return { ...meanRates(levels, k), k, levels };
}

function meanRates(rates: readonly PassRates[], k: number): PassRates {
  const mean = (name: "passAt1" | "passAtK") => meanOf(rates.map((rate) => rate[name]));
  return nameRates(mean("passAt1"), mean("passAtK"), k);
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Values of k = 1, 2, … under their k. */
function byK<Value>(values: readonly Value[]): { [k: string]: Value } {
  return Object.fromEntries(values.map((value, index) => [index + 1, value]));
}

/** Pass rates under the names that they have in metrics.jsonl. */
export function passMetrics({ k, passAt1, passAtK }: PassRates & { k: number }): Record<string, number> {
  return { pass_at_1: passAt1, [`pass_at_${k}`]: passAtK };
}

/** {@link passMetrics}, and Pass@k for every power of two up to the number of samples. */
export function passCurveMetrics({ levels, ...rates }: LevelRates, samples: number): Record<string, number> {
  const powers = Array.from({ length: Math.floor(Math.log2(samples)) }, (_, exponent) => 2 ** (exponent + 1));
  const meanAt = (k: number) =>
    meanOf(levels.map(({ passAt1 }) => passAtK(samples, Math.round(passAt1 * samples), k)));
  const curve = powers.map((k) => [`pass_at_${k}`, meanAt(k)]);
  return { pass_at_1: rates.passAt1, ...Object.fromEntries(curve), ...passMetrics(rates) };
}

/** What results.json says of a policy's trajectories. */
export function summarizeEvaluation(
  trajectories: readonly Trajectory[],
  samples: number,
  protocol: TurnProtocol,
  statistics: PlayStatistics,
  bootstrap: { resamples: number; generator: SeededGenerator },
): Evaluation {
  const { levels, ...rates } = passRates(trajectories, samples);
  const worldModel = worldModelQuality(trajectories, protocol);
  const curves = levels.map(({ passAt1 }) => passCurve(samples, Math.round(passAt1 * samples)));
  const rows = curves[0].map((_, index) => curves.map((curve) => curve[index]));
  const intervals = bootstrapIntervals(rows, bootstrap.resamples, bootstrap.generator);
  return {
    ...rates,
    passAt: byK(rows.map(meanOf)),
    ci95: { ...nameRates(intervals[0], intervals[rates.k - 1], rates.k), passAt: byK(intervals) },
    formatRate: statistics.formatRate,
    observationAccuracy: statistics.observationAccuracy,
    predictionAccuracy: statistics.predictionAccuracy,
    predictionAccuracyChanged: statistics.predictionAccuracyChanged,
    ...(worldModel && { worldModel }),
    byDistance: byDistance(
      levels,
      levels.map((_, index) => trajectories[index * samples].distance),
      rates.k,
    ),
    levels: levels.length,
    samples,
    successes: levels.map(({ passAt1 }) => Math.round(passAt1 * samples)),
  };
}

function byDistance(
  levels: readonly PassRates[],
  distances: readonly (number | null)[],
  k: number,
): Evaluation["byDistance"] {
  const known = [...new Set(distances)].sort(
    (a, b) => (a ?? Number.POSITIVE_INFINITY) - (b ?? Number.POSITIVE_INFINITY),
  );
  return Object.fromEntries(
    known.map((distance) => {
      const rates = levels.filter((_, index) => distances[index] === distance);
      return [distance ?? "unknown", { ...meanRates(rates, k), levels: rates.length }];
    }),
  );
}

/** What an evaluation plays, and how it is summed up. */
export interface EvaluationSettings {
  levels: readonly Level[];
  samples: number;
  temperature: number;
  /** The run's seed: it gives the plays' random streams and the draws of the intervals. */
  seed: number;
  split: "test" | "tuning";
  /** Resamples of the intervals. */
  bootstrap: number;
  onProgress?: (done: number, total: number) => void;
}

/** What {@link evaluatePlay} has seen. */
interface EvaluatedPlay {
  trajectories: Trajectory[];
  statistics: PlayStatistics;
  evaluation: Evaluation;
}

/** Lets a policy play levels and sums up how it did: every policy plays with the same random streams. @throws SpaError ABORTED */
export async function evaluatePlay(
  context: PlayContext,
  policy: Model | ScriptedPolicy,
  protocol: TurnProtocol,
  { seed, split, bootstrap, ...play }: EvaluationSettings,
): Promise<EvaluatedPlay> {
  const settings = { ...play, seed: seedOf(seed, "evaluate", split) };
  const trajectories = await playLevels(context, policy, protocol, settings);
  const statistics = playStatistics(trajectories, protocol);
  const generator = new SeededGenerator(seed, "evaluate", "bootstrap");
  const intervals = { resamples: bootstrap, generator };
  const evaluation = summarizeEvaluation(trajectories, play.samples, protocol, statistics, intervals);
  return { trajectories, statistics, evaluation };
}

/** An evaluation to be made: its stage id, and who plays. */
interface EvaluationTask {
  /** Name in results.json, e.g. `baseWorldModel`. */
  policy: string;
  format: TurnFormat;
  /** Folder of the model's checkpoint; null for `random` and `optimal`, which have none. */
  source: string | null;
}

/** What the ids of evaluations begin with. */
export const evaluationPrefix = "evaluate/";

/** Id of the stage that evaluates a policy. */
export function evaluationStage(policy: string, split: "test" | "tuning"): string {
  return `${evaluationPrefix}${policy}${split === "test" ? "" : "-tuning"}`;
}

/**
 * Evaluates a policy on the test (or tuning) levels. Every policy plays the same levels with the same random streams.
 *
 * @throws SpaError ABORTED; the evaluation starts anew on resume
 */
export async function evaluate(context: StageContext, task: EvaluationTask): Promise<Evaluation> {
  const { config } = context;
  const { samples, temperature, split, bootstrap } = config.evaluation;
  const id = evaluationStage(task.policy, split);
  const levels = context.split[split];
  const run = await StageRun.begin(context, id, levels.length * samples);
  const isOptimal = task.source === null && task.policy === "optimal";
  const protocol = isOptimal
    ? new TurnProtocol(context.tokenizer, oneActionATurn(config.protocol), task.format)
    : protocolOf(context, task.format);
  const model =
    task.source !== null ? await loadModel(context, task.source) : isOptimal ? "optimal" : "random";
  try {
    const played = await evaluatePlay(context, model, protocol, {
      ...{ levels, samples, temperature, split, bootstrap, seed: config.seed },
      onProgress: (done) => context.progress.tick(done),
    });
    const { trajectories, statistics } = played;
    const evaluation = await withPerplexity(context, model, played.evaluation);
    run.cost.tokensSampled = sampledTokens(trajectories);
    run.log(0, { ...passMetrics(evaluation), ...playMetrics(statistics) });
    run.logTrajectories(0, trajectories, LOGGED_TRAJECTORIES);
    context.progress.tick(trajectories.length, passMetrics(evaluation));
    const result: EvaluationResult = { policy: task.policy, evaluation };
    await run.complete(result as unknown as { [name: string]: Json });
    return evaluation;
  } finally {
    if (typeof model !== "string") await model.dispose();
  }
}

/** An evaluation in world-model format with the perplexity of true states under its model. */
async function withPerplexity(
  context: StageContext,
  model: Model | ScriptedPolicy,
  evaluation: Evaluation,
): Promise<Evaluation> {
  const { worldModel } = evaluation;
  if (worldModel === undefined || typeof model === "string") return evaluation;
  const perplexity = await evaluatedPerplexity(context, model);
  return perplexity ? { ...evaluation, worldModel: { ...worldModel, perplexity } } : evaluation;
}
