import type { Metric } from "./metric.ts";
import { groupMetrics, passMetrics, playMetrics } from "./play-metrics.ts";
import { type StepMetric, stepMetricEntries } from "./step-metrics.ts";
import { worldModelMetrics } from "./world-model-metrics.ts";

const supervised: readonly Metric[] = [
  {
    name: "loss",
    meaning: String.raw`mean of $-\log \pi_\theta(a_t)$ over trained tokens, before the update`,
    healthy:
      "falls; its floor is what cannot be foretold: the actions, which are random in `base` and sampled in self-play",
    charts: {
      supervised: {
        chart: "loss",
        title: "Loss",
        about: "Mean negative log-prob of the trained tokens, in nats; dashed: on validation trajectories.",
      },
    },
  },
  {
    name: "validation_loss",
    meaning: "the same, weights included, over the trajectories that SFT keeps apart (`sft.validationShare`)",
    healthy: "follows `loss`; when it rises while `loss` falls, there are too many epochs for the data",
    charts: { supervised: { chart: "loss", line: "validation" } },
  },
  {
    name: "grad_norm",
    meaning: "Euclidean norm of the whole gradient before it is clipped to `gradientClip`",
    healthy: "0.1 to 2 after warm-up; spikes of ten times that are a bad batch or too high a learning rate",
    charts: {
      supervised: { chart: "grad-norm", title: "Gradient norm", about: "Global norm before clipping." },
    },
  },
  {
    name: "learning_rate",
    meaning: "of the update",
    healthy: "as the schedule says",
    charts: { supervised: { chart: "learning-rate", title: "Learning rate", about: "Of each update." } },
  },
  { name: "epoch", meaning: "updates done / updates in an epoch (SFT)" },
  { name: "tokens", meaning: "tokens that went through the model" },
  {
    name: "micro_batch_tokens",
    meaning: "only once memory ran out: tokens that micro-batches have been lowered to",
    healthy: "absent",
  },
  {
    name: "tokens_per_second",
    meaning: "`tokens` over the time of the update",
    healthy: "steady",
    charts: {
      supervised: { chart: "speed", title: "Tokens per second", about: "Tokens through the model." },
    },
  },
  {
    name: "examples_too_long",
    meaning: "trajectories left out because the true states make them longer than `protocol.maxTokens`",
    healthy: "0; a note says how long they are",
  },
  {
    name: "examples",
    meaning: "trajectories that self-play hands to SFT",
    healthy: "nearly as many as were played: only malformed turns drop out",
  },
  { name: "example_tokens", meaning: "their tokens" },
];

const ppo: readonly (Metric & Pick<StepMetric, "over">)[] = [
  {
    name: "state_reward",
    meaning:
      "mean over episodes of what right states add to the reward that is trained on (`ppo.rewards.observation`, `ppo.rewards.prediction`); only where they are set",
    healthy:
      "rises with the accuracies; alone, without `success_rate`, the policy dawdles to be paid for states",
    charts: {
      ppo: {
        chart: "state-reward",
        title: "Reward for states",
        about: "What right observations and predictions add to an episode's reward in training, on average.",
      },
    },
  },
  ...stepMetricEntries.map(([, metric]) => metric).filter(({ over }) => over !== undefined),
  {
    name: "turn_limit",
    meaning: "turns that an episode of the step may take; only where `ppo.interaction` sets them",
    healthy: "falls as it was asked to; `success_rate` should follow it slowly",
  },
  {
    name: "distance_limit",
    meaning: "longest shortest solution among the step's levels; only where `ppo.curriculum` sets it",
    healthy: "rises as it was asked to; `success_rate` should fall with it only a little",
  },
  {
    name: "updates",
    meaning: "optimiser updates in the step; fewer than planned when `targetKl` stopped them",
  },
  {
    name: "logprob_difference_mean",
    meaning: String.raw`mean of $\lvert \log \pi_\text{rollout}(a_t) - \log \pi_\text{train}(a_t) \rvert$ of sampled tokens, before the first update, over eight trajectories`,
    healthy: "float32: below 1e-5; bfloat16: below 2e-2. More is a defect: please report it",
    range: { high: 2e-2 },
    charts: {
      ppo: {
        chart: "logprob-difference",
        title: "Rollout against training log-probs",
        about: "Mean absolute difference of the same tokens' log-probs. It must stay at rounding.",
      },
    },
  },
  {
    name: "logprob_difference_max",
    meaning: "the largest of these differences",
    healthy: "float32: below 1e-4",
  },
];

const cost: readonly Metric[] = [
  { name: "time", meaning: "seconds that the stage has worked, interruptions apart" },
  {
    name: "tokens_seen",
    meaning: "tokens that the stage has sampled and trained on so far, prompts included in the latter",
  },
  { name: "tokens_sampled", meaning: "tokens sampled in the step" },
  { name: "rollout_seconds", meaning: "time of collecting" },
  { name: "train_seconds", meaning: "time of values, advantages and updates" },
  {
    name: "tokens_per_second",
    meaning: "`tokens_sampled` over the sum of both times",
    charts: {
      ppo: {
        chart: "speed",
        title: "Tokens per second",
        about: "Sampled tokens over the time of collecting and updating.",
      },
    },
  },
];

/** Every metric of metrics.jsonl, and of `worldModel` in results.json, by the tables of docs/metrics.md. */
export const catalogue = {
  play: playMetrics,
  "pass-rates": passMetrics,
  "world-model": worldModelMetrics,
  supervised,
  groups: groupMetrics,
  ppo,
  cost,
};

export type CatalogueTable = keyof typeof catalogue;
