import { type Advantages, biLevelGae, gae, whiten } from "../../addon/advantage.ts";
import type { PpoConfig } from "../../config/schema.ts";
import { type AdvantageEstimator, advantageEstimators } from "../../config/sections/ppo.ts";
import type { TrajectoryBatch } from "../../rollout/batch.ts";
import { type ComparedTrajectories, gigpo, grpo, onTokens, rloo } from "../../rollout/relative-advantages.ts";
import type { TokenRewards } from "../../rollout/rewards.ts";

type AdvantageSettings = PpoConfig["advantage"];

/** What advantages are estimated from. */
interface Evidence extends ComparedTrajectories, TokenRewards {
  batch: TrajectoryBatch;
  /** [tokens]; zeros without a critic. */
  values: Float32Array;
}

type Estimate = (evidence: Evidence, settings: AdvantageSettings) => Advantages;

const estimates: Readonly<Record<AdvantageEstimator, Estimate>> = {
  gae: (evidence, settings) => gae(rowsOf(evidence, settings)),
  "bi-level": (evidence, settings) => {
    const { turnEnds } = evidence;
    return biLevelGae({ ...rowsOf(evidence, settings), turnEnds, highLevelGamma: settings.highLevelGamma });
  },
  grpo: (evidence, settings) => sharedByTurns(evidence, grpo(evidence, settings)),
  rloo: (evidence) => sharedByTurns(evidence, rloo(evidence)),
  // Returns alone; what REINFORCE++ adds to REINFORCE is that they are whitened over the batch.
  "reinforce++": (evidence, settings) => gae({ ...rowsOf(evidence, settings), lambda: 1 }),
  gigpo: (evidence, settings) => {
    const { divideByDeviation, highLevelGamma: gamma, stepWeight } = settings;
    return sharedByTurns(evidence, gigpo(evidence, { divideByDeviation, gamma, stepWeight }));
  },
};

/** Advantages and returns of all sampled tokens, [tokens]; advantages whitened over `mask` where the settings say so. */
export function estimateAdvantages(
  evidence: Evidence,
  mask: Uint8Array,
  settings: AdvantageSettings,
): Advantages {
  const { advantages, returns } = estimates[settings.estimator](evidence, settings);
  const whitens =
    settings.whiten === "auto" ? advantageEstimators[settings.estimator].whitens : settings.whiten;
  return { advantages: whitens ? whiten({ values: advantages, mask }) : advantages, returns };
}

function rowsOf({ batch, rewards, values }: Evidence, { gamma, lambda }: AdvantageSettings) {
  return { rewards, values, mask: batch.sampled, offsets: batch.trajectoryOffsets, gamma, lambda };
}

function sharedByTurns({ turns, batch }: Evidence, ofTurns: readonly number[]): Advantages {
  const advantages = onTokens(turns, ofTurns, batch.tokens.length);
  return { advantages, returns: advantages };
}
