// The engine against transformers, on models with random weights (see ../fixtures/README.md).
import { cpSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTrainer, type Engine, type Model } from "../../lib/index.ts";
import { readParts } from "../formats/safetensors-file.ts";
import {
  copyOfModel,
  expectClose,
  expectedOf,
  fixture,
  makeEngine,
  pack,
  row,
  scratchFolder,
  tinyModels,
} from "./fixtures.ts";

/** Eager and sdpa attention of transformers themselves differ by 1.1e-5 on logits of size 10. */
const tolerance = 2e-4;

let engine: Engine;
beforeAll(async () => {
  engine = await makeEngine();
});
afterAll(() => engine.dispose());

describe.each(tinyModels)("%s", (name) => {
  const expected = expectedOf(name);
  let model: Model;
  beforeAll(async () => {
    model = await engine.loadModel(fixture(name));
  });

  test("log-probs of all tokens, also far into a sequence, in one ragged batch", async () => {
    const batch = pack([expected.input_ids, expected.long.input_ids, ...expected.rows.map(({ ids }) => ids)]);
    const logProbs = await model.logProbs(batch);
    const references = [expected.logprobs, expected.long.logprobs, ...expected.rows.map((r) => r.logprobs)];
    for (const [i, reference] of references.entries()) {
      const values = row(logProbs, batch.offsets, i);
      expect(values[0]).toBe(0);
      expectClose(values.subarray(1), reference, tolerance);
    }
  });

  test("entropy of the distributions that predict tokens", async () => {
    const entropy = await model.entropy(pack([expected.input_ids]));
    expect(entropy[0]).toBe(0);
    expectClose(entropy.subarray(1), expected.entropy.slice(0, -1), tolerance);
  });

  test("one forward pass gives the same as separate ones", async () => {
    const batch = pack([expected.input_ids]);
    const both = await model.score(batch, { logProbs: true, entropy: true });
    expect(both.logProbs).toEqual(await model.logProbs(batch));
    expect(both.entropy).toEqual(await model.entropy(batch));
    expect(both.values).toBeUndefined();
  });

  test("the greedy continuation", async () => {
    const session = await model.openSession({ slots: 1, maxTokens: 64 });
    await session.extend([0], pack([expected.greedy.prompt]));
    const { tokens } = await session.generate([0], { maxNewTokens: 20, temperature: 0 });
    expect([...tokens]).toEqual(expected.greedy.continuation);
    await session.dispose();
  });

  test("the likeliest next token of rows of several lengths", async () => {
    const session = await model.openSession({ slots: 4, maxTokens: 64 });
    await session.extend([0, 1, 2, 3], pack(expected.rows.map(({ ids }) => ids)));
    const { tokens } = await session.generate([0, 1, 2, 3], { maxNewTokens: 1, temperature: 0 });
    expect([...tokens]).toEqual(expected.rows.map((r) => r.argmax_next));
    await session.dispose();
  });

  test.each([
    { clip: null, microBatchTokens: 8192 },
    { clip: null, microBatchTokens: 16 },
    { clip: 1, microBatchTokens: 8192 },
  ])("losses of AdamW steps, clip norm $clip, micro-batches of $microBatchTokens tokens", async (options) => {
    const trained = await model.clone();
    const trainer = createTrainer(trained, {
      optimizer: {
        learningRate: expected.train.adamw.lr,
        betas: [0.9, 0.999],
        weightDecay: 0.01,
        epsilon: 1e-8,
      },
      gradientClip: options.clip,
      microBatchTokens: options.microBatchTokens,
    });
    const batch = pack(expected.rows.map(({ ids }) => ids));
    const mask = new Uint8Array(batch.tokens.length).fill(1);
    const step = () => trainer.step({ ...batch, mask }, { kind: "sft" });
    const first = await step();
    expect(first.loss).toBeCloseTo(expected.train.loss0, 4);
    expect(Math.abs(first.gradientNorm - expected.train.grad_total_norm)).toBeLessThan(2e-3);
    expect(first.maskedTokens).toBe(batch.tokens.length - expected.rows.length);
    const losses = [(await step()).loss, (await step()).loss, (await step()).loss];
    if (options.clip === null) expectClose(losses, expected.train.adamw.loss_after_step, 5e-4);
    else expectClose(losses.slice(0, 1), [expected.train.adamw_clip1.loss_after_step1], 5e-4);
    await trained.dispose();
  });

  test("gradient norms of every parameter", async () => {
    const trained = await model.clone();
    const trainer = createTrainer(trained, {
      optimizer: { learningRate: 1e-3, betas: [0.9, 0.999] },
      gradientClip: null,
    });
    const batch = pack(expected.rows.map(({ ids }) => ids));
    await trainer.step({ ...batch, mask: new Uint8Array(batch.tokens.length).fill(1) }, { kind: "sft" });
    const folder = scratchFolder();
    await trainer.saveState(folder);
    const { header, data } = readParts(join(folder, "optimizer.safetensors"));
    const names = Object.keys(expected.train.grad_norms);
    expect(names.length).toBe(Object.keys(header).filter((name) => name.startsWith("exp_avg.")).length);
    for (const name of names) {
      // After the first step the first moment is (1 - beta1) times the gradient.
      const [begin, end] = header[`exp_avg.${name}`].data_offsets;
      const moment = new Float32Array(data.buffer.slice(data.byteOffset + begin, data.byteOffset + end));
      const norm = Math.sqrt(moment.reduce((sum, value) => sum + value * value, 0)) / (1 - 0.9);
      const relative = Math.abs(norm / expected.train.grad_norms[name] - 1);
      expect(relative, `${name}: ${norm}`).toBeLessThan(1e-3);
    }
    await trainer.dispose();
    await trained.dispose();
  });

  test.each([
    ["float32", { max: 1e-4, mean: 2e-5 }],
    ["bfloat16", { max: 1, mean: 2e-2 }],
  ] as const)("%s: prefill, decode, fork and packed scoring agree", async (dtype, allowed) => {
    const used = await engine.loadModel(fixture(name, ...(dtype === "bfloat16" ? ["bf16"] : [])), { dtype });
    const session = await used.openSession({ slots: 4, maxTokens: 256 });
    const prompt = expected.long.input_ids.slice(0, 100);
    const chunk = async (slot: number, ...ends: number[]) => {
      for (const [i, end] of ends.entries())
        await session.extend([slot], pack([prompt.slice(ends[i - 1] ?? 0, end)]));
    };
    await chunk(0, 100);
    await chunk(1, 1, 2, 3, 40, 41, 64, 65, 100);
    await session.fork(0, [2]);
    await chunk(3, ...Array.from({ length: 100 }, (_, i) => i + 1));
    const options = { maxNewTokens: 60, temperature: 1, streams: [7, 7, 7, 8] };
    const { tokens, logProbs, offsets } = await session.generate([0, 1, 2, 3], options);
    expect(row(tokens, offsets, 2)).toEqual(row(tokens, offsets, 0));
    expect(row(logProbs, offsets, 2)).toEqual(row(logProbs, offsets, 0));
    const whole = pack([0, 1, 2, 3].map((slot) => [...prompt, ...row(tokens, offsets, slot)]));
    const scored = await used.logProbs(whole);
    for (const slot of [0, 1, 2, 3]) {
      const sampled = row(logProbs, offsets, slot);
      const packed = row(scored, whole.offsets, slot).subarray(prompt.length);
      const differences = Array.from(sampled, (value, i) => Math.abs(value - packed[i]));
      const mean = differences.reduce((sum, value) => sum + value, 0) / differences.length;
      expect(Math.max(...differences)).toBeLessThan(allowed.max);
      expect(mean).toBeLessThan(allowed.mean);
    }
    await session.dispose();
    await used.dispose();
  });

  test("a configuration in the style of transformers 4 is the same model", async () => {
    const folder = copyOfModel(name);
    cpSync(join(folder, "config.transformers4.json"), join(folder, "config.json"));
    const older = await engine.loadModel(folder);
    expect(older.config).toEqual(model.config);
    const batch = pack([expected.long.input_ids]);
    expect(await older.logProbs(batch)).toEqual(await model.logProbs(batch));
    await older.dispose();
  });

  test("bfloat16 files computed in float32", async () => {
    const rounded = await engine.loadModel(fixture(name, "bf16"), { dtype: "float32" });
    const logProbs = await rounded.logProbs(pack([expected.input_ids]));
    expectClose(logProbs.subarray(1), expected.bf16_weights_fp32_math.logprobs, tolerance);
    await rounded.dispose();
  });

  test("bfloat16 files computed in bfloat16", async () => {
    const rounded = await engine.loadModel(fixture(name, "bf16"), { dtype: "bfloat16" });
    const logProbs = await rounded.logProbs(pack([expected.input_ids]));
    // Two ways of rounding in every operation: each is about 0.5 from the float32 logits at worst.
    expectClose(logProbs.subarray(1), expected.bf16.logprobs, 1);
    const exact = expected.bf16_weights_fp32_math.logprobs;
    const mean = exact.reduce((sum, value, i) => sum + Math.abs(logProbs[i + 1] - value), 0) / exact.length;
    expect(mean).toBeLessThan(0.15);
    await rounded.dispose();
  });
});
