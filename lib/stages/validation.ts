import type { Model } from "../engine/model.ts";
import { seedOf } from "../rollout/seeded-generator.ts";
import { sampledTokens, type Trajectory } from "../rollout/trajectory.ts";
import type { TurnProtocol } from "../rollout/turn-protocol.ts";
import { playLevels } from "./evaluate/evaluate.ts";
import { playMetrics, playStatistics } from "./play-statistics.ts";
import type { StageRun } from "./stage-run.ts";

type Figures = Record<string, number | undefined>;

/** How a model plays that is being trained. */
interface Validation {
  trajectories: Trajectory[];
  /** Statistics of the play under the names that they have in metrics.jsonl. */
  figures: Figures;
}

/** Lets a model that is being trained play the first `levels` tuning levels, `samples` times each. */
export async function validate(
  run: StageRun,
  model: Model,
  protocol: TurnProtocol,
  { levels, samples }: { levels: number; samples: number },
): Promise<Validation> {
  const { context } = run;
  // A validation belongs to its step: a user who wants to stop waits for it.
  const trajectories = await playLevels({ ...context, signal: undefined }, model, protocol, {
    levels: context.split.tuning.slice(0, levels),
    samples,
    temperature: 1,
    seed: seedOf(context.config.seed, "validate"),
  });
  run.cost.tokensSampled += sampledTokens(trajectories);
  const figures = validationFigures(playMetrics(playStatistics(trajectories, protocol)));
  return { trajectories, figures };
}

/** Figures under the names that they have in metrics.jsonl when they come from a validation. */
export function validationFigures(figures: Figures): Figures {
  return Object.fromEntries(Object.entries(figures).map(([name, value]) => [`validation_${name}`, value]));
}
