/** What a chart of the report shows. docs/metrics.md explains each metric. */
export interface ChartDefinition {
  id: string;
  title: string;
  /** What it is and what to look for, in a sentence. */
  about: string;
  /**
   * Metrics drawn, and what tells their lines apart; the first gives solid lines, others dashed ones. Where a name holds
   * `{k}` there is a chart for each k above 1 that was logged.
   */
  metrics: Readonly<Record<string, string>>;
  /** Shares are drawn from 0 to 1 and printed as percentages. */
  share?: boolean;
}

/** Charts of the stages whose id matches, in the order in which they are shown; `more` stand behind a fold. */
export interface ChartGroup {
  title: string;
  stages: RegExp;
  charts: readonly ChartDefinition[];
  more: readonly ChartDefinition[];
}

const ppoCharts: readonly ChartDefinition[] = [
  {
    id: "reward",
    title: "Reward",
    about: "Mean total reward of the episodes collected in a step, format penalties included.",
    metrics: { reward_mean: "" },
  },
  {
    id: "success",
    title: "Success while training",
    about:
      "Share of the collected episodes that solved their level; training levels, sampling at temperature.",
    metrics: { success_rate: "" },
    share: true,
  },
  {
    id: "pass-at-1",
    title: "Pass@1 on tuning levels",
    about: "Probability that one attempt at a held-out tuning level succeeds.",
    metrics: { validation_pass_at_1: "" },
    share: true,
  },
  {
    id: "pass-at-{k}",
    title: "Pass@{k} on tuning levels",
    about: "Probability that one of {k} attempts succeeds. It falls when a policy loses its variety.",
    metrics: { "validation_pass_at_{k}": "" },
    share: true,
  },
  {
    id: "entropy",
    title: "Entropy",
    about: "Mean entropy of the policy on trained tokens, in nats. A fast fall to zero is collapse.",
    metrics: { entropy: "" },
  },
  {
    id: "approx-kl",
    title: "KL of an update",
    about: "How far updates move the policy from the one that sampled. Above 0.05 is too far.",
    metrics: { approx_kl: "", kl: "to the reference" },
  },
  {
    id: "policy-loss",
    title: "Policy loss",
    about: "Clipped surrogate objective; near zero by construction, spikes mean trouble.",
    metrics: { policy_loss: "" },
  },
  {
    id: "value-loss",
    title: "Value loss",
    about: "Squared error of the critic, clipped. It falls as the critic learns what states are worth.",
    metrics: { value_loss: "" },
  },
];

const ppoMore: readonly ChartDefinition[] = [
  {
    id: "explained-variance",
    title: "Explained variance",
    about:
      "Share of the returns' variance that the critic explains: 1 is perfect, 0 is no better than the mean.",
    metrics: { explained_variance: "" },
  },
  {
    id: "clip-fraction",
    title: "Clip fraction",
    about: "Share of trained tokens whose ratio was clipped.",
    metrics: { clip_fraction: "", dual_clip_fraction: "dual clip" },
    share: true,
  },
  {
    id: "grad-norm",
    title: "Gradient norm",
    about: "Global norm before clipping; dashed: the critic's.",
    metrics: { grad_norm: "", critic_grad_norm: "critic" },
  },
  {
    id: "group-std",
    title: "Reward deviation within groups",
    about:
      "Standard deviation of reward among episodes of a level, mean over levels. At zero there is nothing to learn.",
    metrics: { group_std: "" },
  },
  {
    id: "format",
    title: "Valid turns",
    about: "Share of turns whose reply was well-formed and named a known action.",
    metrics: { format_rate: "" },
    share: true,
  },
  {
    id: "observation",
    title: "Observations right",
    about: "Share of turns that describe the true state before them.",
    metrics: { observation_accuracy: "" },
    share: true,
  },
  {
    id: "prediction",
    title: "Predictions right",
    about:
      "Share of turns that foretell the true state after them; dashed: over turns that changed the state.",
    metrics: { prediction_accuracy: "", prediction_accuracy_changed: "changed turns" },
    share: true,
  },
  {
    id: "cut",
    title: "Replies cut off",
    about: "Share of turns that ran to the token limit without an end.",
    metrics: { cut_rate: "" },
    share: true,
  },
  {
    id: "response-length",
    title: "Response length",
    about: "Sampled tokens in a turn.",
    metrics: { response_length: "" },
  },
  {
    id: "logprob-difference",
    title: "Rollout against training log-probs",
    about: "Mean absolute difference of the same tokens' log-probs. It must stay at rounding.",
    metrics: { logprob_difference_mean: "" },
  },
  {
    id: "speed",
    title: "Tokens per second",
    about: "Sampled tokens over the time of collecting and updating.",
    metrics: { tokens_per_second: "" },
  },
];

const supervised: readonly ChartDefinition[] = [
  {
    id: "loss",
    title: "Loss",
    about: "Mean negative log-prob of the trained tokens, in nats; dashed: on validation trajectories.",
    metrics: { loss: "", validation_loss: "validation" },
  },
  {
    id: "observation",
    title: "Observations right",
    about: "In play on tuning levels: share of turns that describe the true state before them.",
    metrics: { validation_observation_accuracy: "" },
    share: true,
  },
  {
    id: "prediction",
    title: "Predictions right",
    about:
      "In play on tuning levels: share of turns that foretell the true state; dashed: where the state changed.",
    metrics: { validation_prediction_accuracy: "", validation_prediction_accuracy_changed: "changed turns" },
    share: true,
  },
];

const supervisedMore: readonly ChartDefinition[] = [
  {
    id: "grad-norm",
    title: "Gradient norm",
    about: "Global norm before clipping.",
    metrics: { grad_norm: "" },
  },
  { id: "learning-rate", title: "Learning rate", about: "Of each update.", metrics: { learning_rate: "" } },
  {
    id: "speed",
    title: "Tokens per second",
    about: "Tokens through the model.",
    metrics: { tokens_per_second: "" },
  },
];

/** Every chart that a report may hold; those without data are left out. */
export const chartGroups: readonly ChartGroup[] = [
  { title: "PPO", stages: /\/ppo$/, charts: ppoCharts, more: ppoMore },
  { title: "World-model fine-tuning", stages: /\/sft(-\d+)?$/, charts: supervised, more: supervisedMore },
  { title: "Base", stages: /^base$/, charts: supervised, more: supervisedMore },
];
