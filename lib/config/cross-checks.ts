import { advantageEstimators } from "./sections/ppo.ts";
import type { Config } from "./settings.ts";

/** A rule between settings that are right each on its own. */
export interface CrossCheck {
  /** The setting that the message is about. */
  path: string[];
  message: string;
  isBroken(config: Config): boolean;
}

const estimatorOf = ({ ppo }: Config) => advantageEstimators[ppo.advantage.estimator];

/** Parts of a reply that a mask of SFT selects (lib/text/masks.ts), by their weights. */
const weighedParts: Record<Config["sft"]["mask"], readonly (keyof Config["sft"]["weights"])[]> = {
  full: ["think", "observation", "prediction", "answer"],
  response: ["think", "observation", "prediction", "answer"],
  answer: ["answer"],
  "no-state": ["think", "answer"],
  "state-only": ["observation", "prediction"],
};

/** What must hold between settings; the schema reports the ones that do not. */
export const crossChecks: readonly CrossCheck[] = [
  {
    path: ["arms"],
    message: "an arm is named twice",
    isBroken: ({ arms }) => new Set(arms).size < arms.length,
  },
  {
    path: ["arms"],
    message: "world-model is a part of spa: leave it out",
    isBroken: ({ arms }) => arms.includes("spa") && arms.includes("world-model"),
  },
  {
    path: ["arms"],
    message: "nothing is trained and nothing evaluated: name an arm, or a policy in evaluation.references",
    isBroken: ({ arms, model, evaluation }) =>
      arms.length === 0 && evaluation.references.length === 0 && model.kind !== "nano",
  },
  {
    path: ["evaluation", "references"],
    message: "a policy is named twice",
    isBroken: ({ evaluation: { references } }) => new Set(references).size < references.length,
  },
  {
    path: ["model", "keyValueHeads"],
    message: "it must divide model.heads",
    isBroken: ({ model }) => model.kind === "nano" && model.heads % model.keyValueHeads !== 0,
  },
  {
    path: ["model", "headDimension"],
    message: "it must be even, for rotary positions turn pairs of numbers",
    isBroken: ({ model }) => model.kind === "nano" && model.headDimension % 2 !== 0,
  },
  {
    path: ["protocol", "maxNewTokens"],
    message: "it must be less than protocol.maxTokens, or no reply fits the context",
    isBroken: ({ protocol }) => protocol.maxNewTokens >= protocol.maxTokens,
  },
  {
    path: ["base", "actionCounts"],
    message: "one weight must be greater than 0",
    isBroken: ({ base }) => base.actionCounts.every((weight) => weight === 0),
  },
  {
    path: ["selfPlay", "rounds"],
    message: "there must be a trajectory for each round (selfPlay.trajectories)",
    isBroken: ({ selfPlay }) => selfPlay.rounds > selfPlay.trajectories,
  },
  {
    path: ["ppo", "criticWarmup"],
    message: "it must be less than ppo.steps, or the policy is never trained",
    isBroken: ({ ppo }) => ppo.criticWarmup >= ppo.steps,
  },
  {
    path: ["ppo", "critic"],
    message: "ppo.advantage.estimator has no use for a critic: set ppo.critic=none",
    isBroken: (config) => !estimatorOf(config).takesCritic && config.ppo.critic !== "none",
  },
  {
    path: ["ppo", "criticWarmup"],
    message: "there is no critic to warm up (ppo.critic=none): set it to 0",
    isBroken: ({ ppo }) => ppo.critic === "none" && ppo.criticWarmup > 0,
  },
  {
    path: ["ppo", "groupSize"],
    message: "ppo.advantage.estimator compares trajectories of the same level: set 2 or more",
    isBroken: (config) => estimatorOf(config).compares && config.ppo.groupSize === 1,
  },
  {
    path: ["ppo", "rewards", "task"],
    message:
      "0 leaves only right states to be rewarded: set ppo.rewards.observation or ppo.rewards.prediction above 0, and leave out the control arm, which writes none",
    isBroken: ({ arms, ppo: { rewards } }) =>
      rewards.task === 0 &&
      (arms.includes("control") || (rewards.observation === 0 && rewards.prediction === 0)),
  },
  {
    path: ["ppo", "interaction", "annealTo"],
    message:
      "turns fall: it must be at most ppo.interaction.maxTurns, or protocol.maxTurns where that is null",
    isBroken: ({ ppo: { interaction }, protocol }) =>
      (interaction.annealTo ?? 1) > (interaction.maxTurns ?? protocol.maxTurns),
  },
  {
    path: ["ppo", "curriculum", "fromDistance"],
    message: "distances rise to levels.maxDistance: set that, to as much or more",
    isBroken: ({ ppo: { curriculum }, levels }) =>
      curriculum.fromDistance !== null && curriculum.fromDistance > (levels.maxDistance ?? 0),
  },
  {
    path: ["ppo", "loss", "environmentCoefficient"],
    message:
      "no sequence holds an answer of the environment: it needs protocol.context=episode and protocol.maxTurns above 1",
    isBroken: ({ ppo, protocol }) =>
      ppo.loss.environmentCoefficient > 0 && (protocol.context === "turn" || protocol.maxTurns === 1),
  },
  {
    path: ["sft", "weights"],
    message: "no token that sft.mask selects has a weight above 0",
    isBroken: ({ sft: { mask, weights } }) => weighedParts[mask].every((part) => weights[part] === 0),
  },
  {
    path: ["ppo", "filter"],
    message:
      "top-p keeps no group where none differs: it needs a value above 0 and groups of more than one (ppo.groupSize)",
    isBroken: ({ ppo }) => ppo.filter.kind === "top-p" && (ppo.filter.value === 0 || ppo.groupSize === 1),
  },
  {
    path: ["ppo", "validationLevels"],
    message: "there are fewer tuning levels (levels.tuningLevels)",
    isBroken: ({ ppo, levels }) => ppo.validateEvery > 0 && ppo.validationLevels > levels.tuningLevels,
  },
  {
    path: ["ppo", "informationLevels"],
    message:
      "replies are compared between levels of a validation: it needs ppo.validateEvery, and 2 to ppo.validationLevels of them",
    isBroken: ({ ppo: { informationLevels, validationLevels, validateEvery } }) =>
      informationLevels > 0 &&
      (validateEvery === 0 || informationLevels === 1 || informationLevels > validationLevels),
  },
  {
    path: ["sft", "gate", "stop"],
    message: "without validation there is nothing to go by (sft.validationLevels)",
    isBroken: ({ sft }) => sft.gate.stop && sft.validationLevels === 0,
  },
  {
    path: ["sft", "validationLevels"],
    message: "there are fewer tuning levels (levels.tuningLevels)",
    isBroken: ({ sft, levels }) => sft.validationLevels > levels.tuningLevels,
  },
];
