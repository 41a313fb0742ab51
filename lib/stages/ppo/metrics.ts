import type { StepMetrics } from "../../engine/trainer.ts";

/** The trainer's figures under the names that they have in metrics.jsonl. */
const names: Partial<Record<keyof StepMetrics, string>> = {
  loss: "loss",
  policyLoss: "policy_loss",
  valueLoss: "value_loss",
  entropy: "entropy",
  kl: "kl",
  approxKl: "approx_kl",
  clipFraction: "clip_fraction",
  dualClipFraction: "dual_clip_fraction",
  valueClipFraction: "value_clip_fraction",
  explainedVariance: "explained_variance",
  gradientNorm: "grad_norm",
  criticGradientNorm: "critic_grad_norm",
  learningRate: "learning_rate",
  ratioMean: "ratio_mean",
  supervisedLoss: "supervised_loss",
  microBatchTokens: "micro_batch_tokens",
};

/** Means over the updates of a step; of `ratio_max` the largest, of `updates` and `tokens_trained` the sums. */
export function updateMeans(updates: readonly StepMetrics[]): Record<string, number | undefined> {
  const means: Record<string, number | undefined> = {};
  for (const [key, name] of Object.entries(names)) {
    const values = updates.flatMap((update) => update[key as keyof StepMetrics] ?? []);
    means[name] =
      values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length;
  }
  const ratios = updates.flatMap(({ ratioMax }) => ratioMax ?? []);
  return {
    ...means,
    ratio_max: ratios.length === 0 ? undefined : Math.max(...ratios),
    updates: updates.length,
    tokens_trained: updates.reduce((sum, { tokens }) => sum + tokens, 0),
  };
}
