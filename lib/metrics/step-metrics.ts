import type { Metric } from "./metric.ts";

/** How the figures of several updates become one. */
export type Combination = "mean" | "max" | "sum";

/** A figure of one update of a trainer. The engine gives it under `name`. */
export interface StepMetric extends Metric {
  /** Every loss has it. */
  always?: true;
  /** How a step of PPO logs its updates; absent: it does not. */
  over?: Combination;
}

/**
 * Figures of an update, as of before it, by their names in {@link StepMetrics}; in the order in which PPO logs them.
 * StepMetrics, the lines of metrics.jsonl, the report's charts and docs/metrics.md come from this table.
 */
export const stepMetrics = {
  loss: {
    name: "loss",
    always: true,
    over: "mean",
    meaning:
      "`policy_loss` − `entropyCoefficient` · entropy + `klCoefficient` · KL + `valueCoefficient` · `value_loss` + `supervisedCoefficient` · `supervised_loss` + `environmentCoefficient` · `environment_loss`",
    healthy: "says little by itself",
  },
  policyLoss: {
    name: "policy_loss",
    over: "mean",
    meaning: String.raw`mean of $\max(-\hat A_t r_t,\; -\hat A_t \operatorname{clip}(r_t, 1 - \epsilon_\text{low}, 1 + \epsilon_\text{high}))$, for $\hat A_t < 0$ at most $-\hat A_t c$ (dual clip)`,
    healthy: "near 0, for advantages are centred; it does not measure progress",
    charts: {
      ppo: {
        chart: "policy-loss",
        title: "Policy loss",
        about: "Clipped surrogate objective; near zero by construction, spikes mean trouble.",
      },
    },
  },
  valueLoss: {
    name: "value_loss",
    over: "mean",
    meaning: String.raw`mean of $\tfrac12 \max((V_t - R_t)^2, (V^\text{clip}_t - R_t)^2)$, $V^\text{clip}_t$ within ${"`valueClip`"} of the old value`,
    healthy: "falls in the first steps, then stays",
    charts: {
      ppo: {
        chart: "value-loss",
        title: "Value loss",
        about: "Squared error of the critic, clipped. It falls as the critic learns what states are worth.",
      },
    },
  },
  entropy: {
    name: "entropy",
    over: "mean",
    meaning: String.raw`mean over trained tokens of $-\sum_v \pi_\theta(v) \log \pi_\theta(v)$ at ${"`ppo.temperature`"}`,
    healthy: "falls slowly; a plunge to 0 is collapse (raise `entropyCoefficient`), a steady rise is drift",
    charts: {
      ppo: {
        chart: "entropy",
        title: "Entropy",
        about: "Mean entropy of the policy on trained tokens, in nats. A fast fall to zero is collapse.",
      },
    },
  },
  kl: {
    name: "kl",
    over: "mean",
    meaning:
      "mean of the penalty against the policy at PPO's start, by `klEstimator`; present when `klCoefficient` > 0",
    healthy: "grows slowly; explodes when reward is bought with gibberish",
    charts: { ppo: { chart: "approx-kl", line: "to the reference" } },
  },
  approxKl: {
    name: "approx_kl",
    over: "mean",
    meaning: String.raw`mean of $\log \pi_\text{old}(a_t) - \log \pi_\theta(a_t)$ (k1)`,
    healthy:
      "0 at the first update of a step, then below 0.02; above 0.05 the updates go too far (`ppo.targetKl` stops them)",
    range: { high: 0.05 },
    charts: {
      ppo: {
        chart: "approx-kl",
        title: "KL of an update",
        about: "How far updates move the policy from the one that sampled. Above 0.05 is too far.",
      },
    },
  },
  clipFraction: {
    name: "clip_fraction",
    over: "mean",
    meaning: "share of trained tokens whose clipped term is the larger, so that they have no gradient",
    healthy: "below 0.2",
    range: { high: 0.2 },
    charts: {
      ppo: {
        chart: "clip-fraction",
        title: "Clip fraction",
        about: "Share of trained tokens whose ratio was clipped.",
        share: true,
      },
    },
  },
  dualClipFraction: {
    name: "dual_clip_fraction",
    over: "mean",
    meaning: "share held by the dual clip",
    healthy: "0 or nearly",
    charts: { ppo: { chart: "clip-fraction", line: "dual clip" } },
  },
  valueClipFraction: {
    name: "value_clip_fraction",
    over: "mean",
    meaning: "share of values whose clipped error is the larger",
    healthy: "below 0.2",
    range: { high: 0.2 },
  },
  explainedVariance: {
    name: "explained_variance",
    over: "mean",
    meaning: String.raw`$1 - \operatorname{Var}(R - V) / \operatorname{Var}(R)$ over sampled tokens`,
    healthy: "from about 0 to 0.3 and above; below 0 the critic is worse than a constant",
    range: { low: 0 },
    charts: {
      ppo: {
        chart: "explained-variance",
        title: "Explained variance",
        about:
          "Share of the returns' variance that the critic explains: 1 is perfect, 0 is no better than the mean.",
      },
    },
  },
  gradientNorm: {
    name: "grad_norm",
    always: true,
    over: "mean",
    meaning: "norm of the actor's gradient before clipping",
    healthy: "0.05 to 2; always at the clip: lower the learning rate",
    charts: {
      ppo: {
        chart: "grad-norm",
        title: "Gradient norm",
        about: "Global norm before clipping; dashed: the critic's.",
      },
    },
  },
  criticGradientNorm: {
    name: "critic_grad_norm",
    over: "mean",
    meaning: "norm of the critic's gradient, where it is a model of its own",
    healthy: "the same",
    charts: { ppo: { chart: "grad-norm", line: "critic" } },
  },
  learningRate: {
    name: "learning_rate",
    always: true,
    over: "mean",
    meaning: "the actor's",
    healthy: "as the schedule says",
  },
  ratioMean: {
    name: "ratio_mean",
    over: "mean",
    meaning: "mean of $r_t$",
    healthy: "1 ± 0.02",
  },
  supervisedLoss: {
    name: "supervised_loss",
    over: "mean",
    meaning: String.raw`mean of $-\log \pi_\theta$ of the true states of the same episodes; present when ${"`supervisedCoefficient`"} > 0`,
    healthy: "falls or stays",
  },
  environmentLoss: {
    name: "environment_loss",
    over: "mean",
    meaning: String.raw`mean of $-\log \pi_\theta$ of the states that prompts show after the first, what the environment answered; present when ${"`environmentCoefficient`"} > 0`,
    healthy: "falls, the faster the more the next state follows from state and actions",
  },
  microBatchTokens: {
    name: "micro_batch_tokens",
    over: "mean",
    meaning: "only once memory ran out: tokens that micro-batches have been lowered to",
    healthy: "absent",
  },
  ratioMax: {
    name: "ratio_max",
    over: "max",
    meaning: "largest $r_t$",
    healthy: "near 1; above 10 at the first update means that rollout and training disagree",
  },
  tokens: {
    name: "tokens_trained",
    always: true,
    over: "sum",
    meaning: "tokens through the trainer, prompts and environment text included",
  },
  maskedTokens: {
    name: "masked_tokens",
    always: true,
    meaning: "tokens with loss",
  },
} as const satisfies Record<string, StepMetric>;

type Table = typeof stepMetrics;
export type StepMetricKey = keyof Table;
type Always = {
  [Key in StepMetricKey]: Table[Key] extends { always: true } ? Key : never;
}[StepMetricKey];

/**
 * Figures of one update, as of before it; docs/metrics.md explains them under their names in metrics.jsonl. Those that
 * the loss says nothing about are absent.
 */
export type StepMetrics = { [Key in keyof Pick<Table, Always>]: number } & {
  [Key in keyof Omit<Table, Always>]?: number;
};

/** The figures of an update, with names; the table's own types are too narrow to be asked alike. */
export const stepMetricEntries = Object.entries(stepMetrics) as [StepMetricKey, StepMetric][];
