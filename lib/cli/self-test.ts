// A few seconds of everything that training needs of the addon, on a model of 20,000 parameters.

import type { Device } from "../addon/addon.ts";
import { Engine } from "../engine/engine.ts";
import type { Model } from "../engine/model.ts";
import { createTrainer } from "../engine/trainer.ts";

/** The outcome of one check. */
export interface SelfTestResult {
  name: string;
  passed: boolean;
  /** The figure that decides, in words. */
  detail: string;
}

const vocabularySize = 64;
const shape = {
  vocabularySize,
  hiddenSize: 32,
  intermediateSize: 64,
  layers: 2,
  heads: 4,
  keyValueHeads: 2,
  headDimension: 8,
};

/** Rows of a pattern that a model can learn in a few updates: each token is the one before plus the row's stride. */
function patternBatch(rows: number, length: number) {
  const tokens = Int32Array.from({ length: rows * length }, (_, index) => {
    const row = Math.floor(index / length);
    return (row + (index % length) * (1 + (row % 3))) % vocabularySize;
  });
  const offsets = Uint32Array.from({ length: rows + 1 }, (_, row) => row * length);
  const mask = Uint8Array.from(tokens, (_, index) => (index % length === 0 ? 0 : 1));
  return { tokens, offsets, mask };
}

async function checkForward(model: Model): Promise<SelfTestResult> {
  const logProbs = await model.logProbs(patternBatch(4, 16));
  const finite = logProbs.every((value) => Number.isFinite(value) && value <= 0);
  const mean = -logProbs.reduce((sum, value) => sum + value, 0) / (4 * 15);
  return {
    name: "forward",
    passed: finite && mean < 20,
    detail: `mean negative log-prob ${mean.toFixed(3)}`,
  };
}

/** Log-probs taken while sampling against those of a packed forward pass over the same tokens. */
async function checkParity(model: Model): Promise<SelfTestResult[]> {
  const { tokens: prompts, offsets } = patternBatch(8, 12);
  const slots = Int32Array.from({ length: 8 }, (_, row) => row);
  const session = await model.openSession({ slots: 8, maxTokens: 64, seed: 1 });
  await session.extend(slots, { tokens: prompts, offsets });
  const generated = await session.generate(slots, { maxNewTokens: 24 });
  await session.dispose();
  const rows = [...slots].map((row) => [
    ...prompts.subarray(offsets[row], offsets[row + 1]),
    ...generated.tokens.subarray(generated.offsets[row], generated.offsets[row + 1]),
  ]);
  const ends = [0];
  for (const row of rows) ends.push(ends.at(-1)! + row.length);
  const scored = await model.logProbs({
    tokens: Int32Array.from(rows.flat()),
    offsets: Uint32Array.from(ends),
  });
  let difference = 0;
  for (const row of slots) {
    const sampled = generated.logProbs.subarray(generated.offsets[row], generated.offsets[row + 1]);
    const again = scored.subarray(ends[row] + 12, ends[row + 1]);
    for (const [index, value] of sampled.entries())
      difference = Math.max(difference, Math.abs(value - again[index]));
  }
  const count = generated.tokens.length;
  return [
    { name: "sampling", passed: count === 8 * 24, detail: `${count} tokens` },
    {
      name: "rollout against training log-probs",
      passed: difference < 1e-4,
      detail: `largest difference ${difference.toExponential(1)}`,
    },
  ];
}

async function checkTraining(model: Model): Promise<SelfTestResult> {
  const trainer = createTrainer(model, { optimizer: { learningRate: 1e-2 } });
  const batch = patternBatch(24, 16);
  const losses: number[] = [];
  for (let step = 0; step < 60; step++) {
    losses.push((await trainer.step(batch, { kind: "sft" })).loss);
  }
  await trainer.dispose();
  const [first, last] = [losses[0], losses.at(-1)!];
  return {
    name: "training",
    passed: last < first / 2,
    detail: `loss ${first.toFixed(3)} -> ${last.toFixed(3)} in 60 steps`,
  };
}

/** Runs the checks on a device; those after one that throws are left out. */
export async function selfTest(device: Device): Promise<SelfTestResult[]> {
  const results: SelfTestResult[] = [];
  try {
    await using engine = await Engine.create({ device, seed: 1 });
    const model = await engine.createModel(shape, { initialization: "nano", seed: 1 });
    results.push(await checkForward(model), ...(await checkParity(model)), await checkTraining(model));
  } catch (error) {
    results.push({
      name: "run",
      passed: false,
      detail: error instanceof Error ? error.message : String(error),
    });
  }
  return results;
}
