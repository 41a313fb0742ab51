import { z } from "zod";
import { fraction, gradientClip, optimizer, positive, schedule } from "./fields.ts";
import { type LossSettings, lossSetting, runLossFields } from "./loss-fields.ts";

const rewardNormalizations = ["none", "mean", "mean-std", "asymmetric-clip"] as const;
const rewardGroupings = ["state", "batch", "tag"] as const;

const weight = (standard: number) => z.number().min(0).default(standard);

const rewards = z
  .strictObject({
    task: weight(1).describe("factor on the environment's reward; format penalties stay as they are"),
    observation: weight(0).describe(
      "added to the reward of a well-formed turn whose observation is the true state before it, for training only; the control arm, which writes none, has 0",
    ),
    prediction: weight(0).describe(
      "the same for a prediction that is the true state after the turn (VAGEN; RWML, arXiv 2602.05842)",
    ),
    placement: z
      .enum(["trajectory", "turn"])
      .default("trajectory")
      .describe(
        "reward on the last token, or each turn's at its end (nothing to grpo and rloo; turn is what gigpo's paper means)",
      ),
    normalization: z
      .enum(rewardNormalizations)
      .default("none")
      .describe("of trajectory rewards within a grouping; comparisons of grpo, rloo and gigpo come after it"),
    grouping: z
      .enum(rewardGroupings)
      .default("state")
      .describe("state: same level; tag: same environment; batch: all"),
    scale: z.number().positive().default(1).describe("factor on all rewards before advantages"),
  })
  .prefault({});

const filter = z
  .strictObject({
    kind: z
      .enum(["none", "ratio", "top-p"])
      .default("ratio")
      .describe("which groups are trained on, by standard deviation of reward"),
    value: fraction()
      .default(0.25)
      .describe("ratio: share of groups kept; top-p: share of the summed deviation kept"),
  })
  .prefault({});

/** How the advantage of a sampled token comes about. */
interface EstimatorEntry {
  about: string;
  /** A critic's values enter it. */
  takesCritic: boolean;
  /** It compares trajectories of the same level. */
  compares: boolean;
  /** Its advantages are whitened unless the setting says otherwise. */
  whitens: boolean;
}

const estimators = ["gae", "bi-level", "grpo", "rloo", "reinforce++", "gigpo"] as const;
export type AdvantageEstimator = (typeof estimators)[number];

export const advantageEstimators: Readonly<Record<AdvantageEstimator, EstimatorEntry>> = {
  gae: {
    about: "generalised advantage estimation",
    takesCritic: true,
    compares: false,
    whitens: true,
  },
  "bi-level": {
    about: "the same over turns, then within each",
    takesCritic: true,
    compares: false,
    whitens: true,
  },
  grpo: {
    about: "a trajectory's reward less the mean of its level's, by their deviation",
    takesCritic: false,
    compares: true,
    whitens: false,
  },
  rloo: {
    about: "its reward less the mean of the others",
    takesCritic: false,
    compares: true,
    whitens: false,
  },
  "reinforce++": {
    about: "returns, whitened; its variant with baseline takes ppo.rewards.normalization=mean",
    takesCritic: false,
    compares: false,
    whitens: true,
  },
  gigpo: {
    about: "grpo, and the same for returns of a level's turns that began in the same state",
    takesCritic: false,
    compares: true,
    whitens: false,
  },
};

const advantage = z
  .strictObject({
    estimator: z
      .enum(estimators)
      .default("gae")
      .describe(estimators.map((name) => `${name}: ${advantageEstimators[name].about}`).join("; ")),
    gamma: fraction().default(1).describe("discount between tokens (gae, bi-level, reinforce++)"),
    lambda: fraction()
      .default(1)
      .describe("weight of longer returns against the critic: 1 is Monte Carlo, 0 one step (gae, bi-level)"),
    highLevelGamma: fraction().default(0.95).describe("discount between turns (bi-level, gigpo)"),
    divideByDeviation: z
      .boolean()
      .default(true)
      .describe("divide what is above the mean by the standard deviation (grpo, gigpo); false: Dr. GRPO"),
    stepWeight: z
      .number()
      .min(0)
      .default(1)
      .describe("weight of the comparison of turns beside that of trajectories (gigpo's omega)"),
    whiten: z
      .union([z.literal("auto"), z.boolean()])
      .default("auto")
      .describe(
        "centre and scale advantages over the batch's trained tokens; auto: with gae, bi-level and reinforce++, not on top of a comparison within groups (grpo, rloo, gigpo)",
      ),
  })
  .prefault({});

const policyLoss = z
  .strictObject(Object.fromEntries(runLossFields.map((name) => [name, lossSetting(name)])) as LossSettings)
  .prefault({});

const interaction = z
  .strictObject({
    maxTurns: positive()
      .nullable()
      .default(null)
      .describe("turns that an episode may take in the first step's collection; null: protocol.maxTurns"),
    annealTo: positive()
      .nullable()
      .default(null)
      .describe(
        "to this they fall linearly, so that the agent must foresee more (WMAct, arXiv 2511.23476); null: they stay",
      ),
    over: positive().nullable().default(null).describe("step from which they are that few; null: the last"),
  })
  .prefault({})
  .describe("turns of training episodes; validation and evaluation play with protocol.maxTurns");

const curriculum = z
  .strictObject({
    fromDistance: positive()
      .nullable()
      .default(null)
      .describe(
        "longest shortest solution of the first step's training levels, in actions; from there it rises linearly to levels.maxDistance; null: it is that from the start",
      ),
    over: positive().nullable().default(null).describe("step from which it is that; null: the last"),
  })
  .prefault({})
  .describe("training levels that grow harder; validation and evaluation play all");

export const ppoSchema = z
  .strictObject({
    steps: positive().default(50).describe("PPO steps: one collection and its updates each"),
    groups: positive().default(32).describe("levels per step"),
    groupSize: positive().default(8).describe("trajectories per level"),
    temperature: z.number().positive().default(1).describe("sampling temperature"),
    mask: z.enum(["answer", "response"]).default("response").describe("tokens that carry the policy loss"),
    epochs: positive().default(1).describe("passes over the collected batch"),
    minibatch: positive().default(32).describe("trajectories in an update"),
    criticWarmup: z.int().min(0).default(0).describe("first steps that train only the critic"),
    targetKl: z
      .number()
      .positive()
      .nullable()
      .default(null)
      .describe("a step's updates stop when approx_kl exceeds this"),
    critic: z
      .enum(["model", "shared", "none"])
      .default("model")
      .describe("model: a copy of the actor with a value head; shared: one backbone"),
    optimizer: optimizer(3e-4, [0.9, 0.99], 0),
    criticOptimizer: optimizer(1e-3, [0.9, 0.99], 0),
    schedule: schedule("constant", 0, 1),
    gradientClip: gradientClip(),
    loss: policyLoss,
    advantage,
    rewards,
    filter,
    interaction,
    curriculum,
    validateEvery: z
      .int()
      .min(0)
      .default(10)
      .describe("steps between validations on tuning levels; 0: never"),
    validationLevels: positive().default(32).describe("tuning levels that a validation plays"),
    validationSamples: positive().default(4).describe("episodes on each of them"),
    tokenBudget: positive()
      .nullable()
      .default(null)
      .describe(
        "end the stage, and keep its model, with the step in which its tokens, sampled (in validation too) and trained, come to so many; null: after its steps",
      ),
    informationLevels: z
      .int()
      .min(0)
      .default(0)
      .describe(
        "validation levels on which reply_information is measured, which scores each one's first reply behind each one's prompt (16 is enough); 0: it is not",
      ),
    stopOnCollapse: z
      .boolean()
      .default(false)
      .describe("end the stage, and keep its model, with the first warning of collapse (docs/metrics.md)"),
  })
  .prefault({});

export const control = z
  .strictObject({
    optimizer: optimizer(3e-4, [0.9, 0.99], 0),
    criticOptimizer: optimizer(1e-3, [0.9, 0.99], 0),
    mask: z.enum(["answer", "response"]).default("response").describe("tokens that carry the policy loss"),
    entropyCoefficient: lossSetting("entropyCoefficient"),
  })
  .prefault({})
  .describe("the control's own tuned PPO settings; everything else is the same as SPA's");
