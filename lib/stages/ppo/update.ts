import type { PpoConfig } from "../../config/schema.ts";
import type { Trainer } from "../../engine/trainer.ts";
import type { StepMetrics } from "../../metrics/step-metrics.ts";
import type { SeededGenerator } from "../../rollout/seeded-generator.ts";
import type { SftExample } from "../sft/examples.ts";
import type { SftWeights } from "../sft/loss-weights.ts";
import { minibatches, type PpoData, trainBatch } from "./batch.ts";
import { withSupervision } from "./supervision.ts";

interface UpdateOptions {
  settings: PpoConfig;
  /** What the order of an epoch's minibatches is drawn from. */
  orderOf: (epoch: number) => SeededGenerator;
  /** The policy stays as it is. */
  trainsCriticAlone?: boolean;
  /** True states of the same rollouts that are learnt besides; without rows there are none. */
  supervision?: { rows: readonly (SftExample | undefined)[] | undefined; weights: SftWeights };
}

/** Updates on what was collected: epochs over minibatches, until the policy has moved too far. */
export async function updatePolicy(
  trainer: Trainer,
  data: PpoData,
  { settings, orderOf, trainsCriticAlone = false, supervision }: UpdateOptions,
): Promise<StepMetrics[]> {
  const { targetKl, loss, temperature } = settings;
  const { valueClip, valueCoefficient } = loss;
  const metrics: StepMetrics[] = [];
  for (let epoch = 0; epoch < settings.epochs; epoch++) {
    for (const indices of minibatches(data.trajectories.length, settings.minibatch, orderOf(epoch))) {
      const batch = trainBatch(data, indices, trainer.critic !== null);
      if (trainsCriticAlone || !batch.mask.includes(1)) {
        if (trainer.critic === null) continue;
        metrics.push(await trainer.step(batch, { kind: "value", valueClip, valueCoefficient }));
        continue;
      }
      const { rows, weights } = supervision ?? {};
      const isSupervised = rows !== undefined && weights !== undefined;
      const whole = isSupervised ? withSupervision(batch, rows, indices, weights) : batch;
      const terms = isSupervised ? loss : { ...loss, supervisedCoefficient: 0 };
      metrics.push(await trainer.step(whole, { kind: "ppo", ...terms, temperature }));
      if (targetKl !== null && (metrics[metrics.length - 1].approxKl ?? 0) > targetKl) return metrics;
    }
  }
  return metrics;
}
