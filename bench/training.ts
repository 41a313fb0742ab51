import { createTrainer, type Trainer } from "../lib/engine/trainer.ts";
import { forwardFlops, trainingFlops } from "./flops.ts";
import { type BenchContext, type Measurement, measureContest } from "./measurement.ts";
import { rowsOf, type SequenceBatch, sequenceBatch } from "./workload.ts";

const optimizer = { learningRate: 1e-4, betas: [0.9, 0.99], weightDecay: 0.01 } as const;

/** Tokens a second whose log-probs are computed, trajectories of 100 to 500 tokens. */
export async function benchScoring(context: BenchContext): Promise<Measurement> {
  const { model, sizes } = context;
  const batch = sequenceBatch(sizes, model.config.vocabularySize);
  const { tokens, offsets } = batch;
  return await measureContest(context, {
    name: "log-probs",
    unit: "tokens/s",
    amount: batch.tokens.length,
    flops: forwardFlops(model.config, batch.offsets),
    run: () => model.logProbs({ tokens, offsets }),
    peerTask: "score",
    peerBatch: peerBatch(batch, ["mask"]),
  });
}

/** Tokens a second of SFT updates: forward, backward, clipping, AdamW. */
export async function benchSft(context: BenchContext): Promise<Measurement> {
  const batch = sequenceBatch(context.sizes, context.model.config.vocabularySize);
  await using model = await context.model.clone();
  await using trainer = createTrainer(model, { optimizer, gradientClip: 1 });
  const { tokens, offsets, mask } = batch;
  return await measureContest(context, {
    name: "SFT step",
    unit: "tokens/s",
    amount: batch.tokens.length,
    flops: trainingFlops(model.config, batch.offsets),
    run: () => trainer.step({ tokens, offsets, mask }, { kind: "sft" }),
    peerTask: "sft",
    peerBatch: peerBatch(batch, ["mask"]),
  });
}

/** Tokens a second of PPO updates of an actor and a critic of the same size. */
export async function benchPpo(context: BenchContext): Promise<Measurement> {
  const batch = sequenceBatch(context.sizes, context.model.config.vocabularySize);
  await using model = await context.model.clone();
  await using critic = await context.model.clone({ valueHead: true });
  await using trainer = createTrainer(model, { optimizer, gradientClip: 1, critic });
  return await measureContest(context, {
    name: "PPO step",
    unit: "tokens/s",
    amount: batch.tokens.length,
    flops: 2 * trainingFlops(model.config, batch.offsets),
    run: () => ppoStep(trainer, batch),
    peerTask: "ppo",
    peerBatch: peerBatch(batch, ["mask", "oldLogProbs", "advantages", "oldValues", "returns"]),
  });
}

/** An update with clipping 0.2 / 0.28, dual clip 3, entropy 0.001 and value clip 0.5. */
export function ppoStep(trainer: Trainer, batch: SequenceBatch): Promise<unknown> {
  const { tokens, offsets, mask, oldLogProbs, advantages, oldValues, returns } = batch;
  const values = { mask, oldValues, returns };
  return trainer.step(
    { tokens, offsets, mask, oldLogProbs, advantages, values },
    { kind: "ppo", entropyCoefficient: 0.001 },
  );
}

type NumberKey = Exclude<keyof SequenceBatch, "tokens" | "offsets">;

function peerBatch(batch: SequenceBatch, keys: readonly NumberKey[]): object {
  const lists = keys.map((key) => [key, rowsOf(batch[key], batch.offsets)]);
  return { rows: rowsOf(batch.tokens, batch.offsets), ...Object.fromEntries(lists) };
}
