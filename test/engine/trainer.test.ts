import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadAddon } from "../../lib/addon/loader.ts";
import { checkLoss, checkTrainBatch } from "../../lib/engine/train-batch.ts";
import {
  createTrainer,
  type Engine,
  type Model,
  type PpoBatch,
  type SftBatch,
  type TrainerOptions,
} from "../../lib/index.ts";
import { stepMetrics } from "../../lib/metrics/step-metrics.ts";
import { expectClose, failure, fingerprint, makeEngine, pack, smallShape, someRows } from "./fixtures.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await makeEngine();
});
afterAll(() => engine.dispose());

const rows = pack(someRows([9, 4, 15, 7]));
const length = rows.tokens.length;
const isFirst = (k: number) => rows.offsets.includes(k);
/** Two of three tokens, never a row's first. */
const mask = Uint8Array.from({ length }, (_, k) => Number(k % 3 !== 0 && !isFirst(k)));
/** From 0 to 3; of every sixth token 0. */
const weights = Float32Array.from({ length }, (_, k) => (k % 6 === 1 ? 0 : 0.5 + (k % 7) / 2.8));
const masked = (values: ArrayLike<number>, by: Uint8Array = mask) =>
  Array.from(values).filter((_, k) => by[k]);
const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;

const make = (options: { valueHead?: boolean; dtype?: "float32" | "bfloat16"; seed?: number } = {}) =>
  engine.createModel(smallShape, { seed: 3, initialization: "nano", ...options });

async function ppoBatch(model: Model, change: Partial<PpoBatch> = {}): Promise<PpoBatch> {
  return {
    ...rows,
    mask,
    oldLogProbs: await model.logProbs(rows),
    advantages: Float32Array.from({ length }, (_, k) => Math.sin(k)),
    ...change,
  };
}

describe("sft", () => {
  test("the loss is the mean negative log-prob over the mask, before the update", async () => {
    const model = await make();
    const trainer = createTrainer(model);
    const expected = -mean(masked(await model.logProbs(rows)));
    const metrics = await trainer.step({ ...rows, mask }, { kind: "sft" });
    expect(metrics.loss).toBeCloseTo(expected, 5);
    expect(metrics.tokens).toBeGreaterThanOrEqual(length - 4);
    expect(metrics.maskedTokens).toBe(mask.reduce((a, b) => a + b));
    expect(metrics.learningRate).toBe(1e-3);
    expect(Object.keys(metrics).sort()).toEqual([
      "gradientNorm",
      "learningRate",
      "loss",
      "maskedTokens",
      "tokens",
    ]);
    expect(trainer.stepCount).toBe(1);
    for (let i = 0; i < 60; i++) await trainer.step({ ...rows, mask }, { kind: "sft" });
    expect(-mean(masked(await model.logProbs(rows)))).toBeLessThan(expected / 4);
  });

  test.each(["token-mean", "seq-mean-token-mean", "seq-mean-token-sum"] as const)(
    "aggregation %s",
    async (aggregation) => {
      const model = await make();
      const losses = Float32Array.from(await model.logProbs(rows), (x) => -x);
      const expected = loadAddon().aggregate(losses, mask, rows.offsets, aggregation);
      const { loss } = await createTrainer(model).step({ ...rows, mask }, { kind: "sft", aggregation });
      expect(loss).toBeCloseTo(expected, 4);
    },
  );

  test("micro-batches change nothing but rounding", async () => {
    const results = [];
    for (const microBatchTokens of [8192, 16, 1]) {
      const model = await make();
      const trainer = createTrainer(model, { microBatchTokens });
      const first = await trainer.step(
        { ...rows, mask },
        { kind: "sft", aggregation: "seq-mean-token-mean" },
      );
      results.push({ first, after: await fingerprint(model) });
    }
    for (const { first, after } of results.slice(1)) {
      expect(first.loss).toBeCloseTo(results[0].first.loss, 5);
      expect(first.gradientNorm).toBeCloseTo(results[0].first.gradientNorm, 4);
      expectClose(after, results[0].after, 2e-3);
    }
  });

  test("a first token in the mask does not count", async () => {
    const withFirst = mask.slice();
    for (const begin of rows.offsets.subarray(0, -1)) withFirst[begin] = 1;
    const [a, b] = [createTrainer(await make()), createTrainer(await make())];
    const first = await a.step({ ...rows, mask: withFirst }, { kind: "sft" });
    expect(first).toEqual(await b.step({ ...rows, mask }, { kind: "sft" }));
    expect(withFirst[0]).toBe(1);
  });

  test("weights make the mean a weighted one, and the update that of the weighted loss", async () => {
    const model = await make();
    const weightedLoss = async () => {
      const logProbs = await model.logProbs(rows);
      let [sum, total] = [0, 0];
      for (let k = 0; k < length; k++) {
        if (mask[k] === 0) continue;
        sum -= weights[k] * logProbs[k];
        total += weights[k];
      }
      return sum / total;
    };
    const before = await weightedLoss();
    // AdamW's first update with such an epsilon is -learningRate / epsilon times the gradient.
    const optimizer = { learningRate: 10, epsilon: 1e3, weightDecay: 0 };
    const trainer = createTrainer(model, { optimizer, gradientClip: null });
    const metrics = await trainer.step({ ...rows, mask, weights }, { kind: "sft" });
    expect(metrics.loss).toBeCloseTo(before, 5);
    expect(metrics.maskedTokens).toBe(mask.filter((entry, k) => entry === 1 && weights[k] > 0).length);
    const expected = (optimizer.learningRate / optimizer.epsilon) * metrics.gradientNorm ** 2;
    expect((before - (await weightedLoss())) / expected).toBeCloseTo(1, 1);
    const plain = await createTrainer(await make()).step({ ...rows, mask }, { kind: "sft" });
    expect(Math.abs(plain.loss - metrics.loss)).toBeGreaterThan(1e-3);
  });

  test("a weight of 0 is a mask of 0, weights of 1 are none, and only their ratios count", async () => {
    const update = async (batch: Omit<SftBatch, "tokens" | "offsets">) => {
      const model = await make();
      const metrics = await createTrainer(model).step({ ...rows, ...batch }, { kind: "sft" });
      return { metrics, weights: await fingerprint(model) };
    };
    const ones = new Float32Array(length).fill(1);
    expect(await update({ mask, weights: ones })).toEqual(await update({ mask }));
    const rest = mask.map((entry, k) => (weights[k] === 0 ? 0 : entry));
    expect(await update({ mask, weights: Array.from(weights, Math.sign) })).toEqual(
      await update({ mask: rest }),
    );
    const eightfold = weights.map((weight) => 8 * weight);
    expect(await update({ mask, weights: eightfold })).toEqual(await update({ mask, weights }));
  });
});

describe("ppo", () => {
  test("arrays may be changed once an update has begun", async () => {
    const update = async (disturbs: boolean) => {
      const model = await make();
      const { tokens, offsets } = pack(someRows([6, 9]));
      const floats = () => new Float32Array(tokens.length).fill(-0.5);
      const batch = {
        tokens,
        offsets,
        mask: Uint8Array.from(tokens, (_, k) => Number(!offsets.includes(k))),
        oldLogProbs: floats(),
        advantages: floats(),
      };
      const updating = createTrainer(model).step(batch, { kind: "ppo" });
      if (disturbs) for (const array of Object.values(batch)) array.fill(2 ** 31 - 1);
      const metrics = await updating;
      return { metrics, logProbs: await model.logProbs(rows) };
    };
    expect(await update(true)).toEqual(await update(false));
  });

  test("memory that threads share is copied", async () => {
    const model = await make();
    const shared = new Int32Array(new SharedArrayBuffer(4 * length));
    shared.set(rows.tokens);
    expect(await model.logProbs({ ...rows, tokens: shared })).toEqual(await model.logProbs(rows));
  });

  test("metrics equal the losses on plain arrays", async () => {
    const model = await make();
    const logProbs = await model.logProbs(rows);
    const entropy = await model.entropy(rows);
    const oldLogProbs = logProbs.map((x, k) => (x === 0 ? 0 : x + 0.4 * Math.cos(3 * k)));
    const referenceLogProbs = logProbs.map((x, k) => (x === 0 ? 0 : x + 0.3 * Math.sin(5 * k)));
    const batch = await ppoBatch(model, { oldLogProbs, referenceLogProbs });
    const trainer = createTrainer(model);
    const metrics = await trainer.step(batch, {
      kind: "ppo",
      klCoefficient: 0.1,
      klEstimator: "k3",
      entropyCoefficient: 0.02,
    });
    const advantages = Float32Array.from(batch.advantages!);
    const policy = loadAddon().policyLoss(
      { logProbs, oldLogProbs, advantages, mask, offsets: rows.offsets },
      checkLoss({ kind: "ppo", clipLow: 0.2, clipHigh: 0.28, dualClip: 3 }, false),
    ).figures;
    expect(metrics.policyLoss).toBeCloseTo(policy.policy_loss, 5);
    expect(metrics.clipFraction).toBeCloseTo(policy.clip_fraction, 6);
    expect(metrics.clipFraction).toBeGreaterThan(0);
    expect(metrics.dualClipFraction).toBeCloseTo(policy.dual_clip_fraction, 6);
    expect(metrics.approxKl).toBeCloseTo(policy.approx_kl, 5);
    expect(metrics.entropy).toBeCloseTo(mean(masked(entropy)), 4);
    const kl = mean(masked(loadAddon().klPenalty(logProbs, referenceLogProbs, "k3").kl));
    expect(metrics.kl).toBeCloseTo(kl, 5);
    const ratios = masked(logProbs.map((x, k) => Math.exp(x - oldLogProbs[k])));
    expect(metrics.ratioMean).toBeCloseTo(mean(ratios), 4);
    expect(metrics.ratioMax).toBeCloseTo(Math.max(...ratios), 4);
    expect(metrics.loss).toBeCloseTo(policy.policy_loss + 0.1 * kl - 0.02 * mean(masked(entropy)), 4);
    expect(metrics.valueLoss).toBeUndefined();
  });

  test("with advantage 1 on the policy that sampled, the update is the one of sft", async () => {
    const [a, b] = [await make(), await make()];
    const advantages = new Float32Array(length).fill(1);
    const ppo = await createTrainer(a).step(await ppoBatch(a, { advantages }), { kind: "ppo" });
    const sft = await createTrainer(b).step({ ...rows, mask }, { kind: "sft" });
    expect(ppo.gradientNorm).toBeCloseTo(sft.gradientNorm, 4);
    expect(ppo.policyLoss).toBeCloseTo(-1, 5);
    expectClose(await fingerprint(a), await fingerprint(b), 2e-3);
  });

  test("temperature divides the logits", async () => {
    const model = await make();
    const oldLogProbs = await model.logProbs({ ...rows, temperature: 0.5 });
    const batch = await ppoBatch(model, { oldLogProbs });
    const metrics = await createTrainer(model).step(batch, { kind: "ppo", temperature: 0.5 });
    expect(metrics.approxKl).toBeCloseTo(0, 5);
    expect(metrics.ratioMax).toBeCloseTo(1, 4);
  });

  test("an auxiliary cross-entropy alone is sft on its mask", async () => {
    const [a, b] = [await make(), await make()];
    const supervisedMask = Uint8Array.from({ length }, (_, k) => Number(k % 2 === 0 && !isFirst(k)));
    const advantages = new Float32Array(length);
    const loss = { kind: "ppo", supervisedCoefficient: 1 } as const;
    const metrics = await createTrainer(a).step(await ppoBatch(a, { advantages, supervisedMask }), loss);
    const sft = await createTrainer(b).step({ ...rows, mask: supervisedMask }, { kind: "sft" });
    expect(metrics.supervisedLoss).toBeCloseTo(sft.loss, 5);
    expect(metrics.gradientNorm).toBeCloseTo(sft.gradientNorm, 4);
    expectClose(await fingerprint(a), await fingerprint(b), 2e-3);
  });

  test.each([1, 0.7])(
    "cross-entropies of supervised and environment tokens, at temperature %s",
    async (temperature) => {
      const environmentMask = Uint8Array.from({ length }, (_, k) => Number(k % 3 === 0 && !isFirst(k)));
      const supervisedMask = Uint8Array.from({ length }, (_, k) => Number(k % 4 === 1 && !isFirst(k)));
      const [model, alone] = [await make(), await make()];
      const logProbs = await model.logProbs(rows);
      const change = { oldLogProbs: logProbs.map((x, k) => (x === 0 ? 0 : x + 0.4 * Math.cos(3 * k))) };
      const batch = await ppoBatch(model, change);
      const plain = await createTrainer(alone).step(batch, { kind: "ppo", temperature });
      const metrics = await createTrainer(model).step(
        { ...batch, environmentMask, supervisedMask, supervisedWeights: weights },
        { kind: "ppo", temperature, environmentCoefficient: 0.3, supervisedCoefficient: 0.2 },
      );
      // The terms are at temperature 1.
      const environment = -mean(masked(logProbs, environmentMask));
      expect(metrics.environmentLoss).toBeCloseTo(environment, 5);
      const weighted = masked(
        logProbs.map((x, k) => x * weights[k]),
        supervisedMask,
      );
      const total = masked(weights, supervisedMask).reduce((a, b) => a + b);
      const supervised = -weighted.reduce((a, b) => a + b) / total;
      expect(metrics.supervisedLoss).toBeCloseTo(supervised, 5);
      expect(metrics.loss).toBeCloseTo(plain.loss + 0.3 * environment + 0.2 * supervised, 5);
      const { environmentLoss: _, supervisedLoss: __, loss: ___, gradientNorm, ...policy } = metrics;
      expect(plain).toMatchObject(policy);
      expect(gradientNorm).not.toBeCloseTo(plain.gradientNorm, 4);
    },
  );

  test.each([1, 0.7])(
    "a cross-entropy of the environment alone is sft on its mask, at temperature %s",
    async (temperature) => {
      const [a, b] = [await make(), await make()];
      const environmentMask = Uint8Array.from({ length }, (_, k) => Number(k % 3 === 0 && !isFirst(k)));
      const advantages = new Float32Array(length);
      const loss = { kind: "ppo", temperature, environmentCoefficient: 1 } as const;
      await createTrainer(a).step(await ppoBatch(a, { advantages, environmentMask }), loss);
      await createTrainer(b).step({ ...rows, mask: environmentMask }, { kind: "sft" });
      expectClose(await fingerprint(a), await fingerprint(b), 2e-3);
    },
  );

  test("the entropy bonus raises entropy", async () => {
    const model = await make();
    const trainer = createTrainer(model, { optimizer: { weightDecay: 0 } });
    const advantages = new Float32Array(length);
    const before = mean(masked(await model.entropy(rows)));
    for (let i = 0; i < 5; i++) {
      await trainer.step(await ppoBatch(model, { advantages }), { kind: "ppo", entropyCoefficient: 1 });
    }
    expect(mean(masked(await model.entropy(rows)))).toBeGreaterThan(before);
  });
});

describe("critic", () => {
  const valueMask = Uint8Array.from({ length }, (_, k) => Number(!isFirst(k)));
  const returns = Float32Array.from({ length }, (_, k) => 1 + Math.cos(k / 3));

  test("a new value head says 0; a critic of its own learns, the actor as if alone", async () => {
    const [model, alone] = [await make(), await make()];
    const critic = await model.clone({ valueHead: true });
    expect(critic.hasValueHead).toBe(true);
    expect(critic.parameterCount).toBeGreaterThan(model.parameterCount);
    const oldValues = await critic.values(rows);
    expect(oldValues.every((v) => v === 0)).toBe(true);
    const trainer = createTrainer(model, { critic, criticOptimizer: { learningRate: 3e-3 } });
    const values = { mask: valueMask, oldValues, returns };
    const metrics = await trainer.step(await ppoBatch(model, { values }), { kind: "ppo", valueClip: null });
    const reference = await createTrainer(alone).step(await ppoBatch(alone), { kind: "ppo" });
    expectClose(
      [metrics.policyLoss!, metrics.gradientNorm],
      [reference.policyLoss!, reference.gradientNorm],
      1e-6,
    );
    expect(await fingerprint(model)).toEqual(await fingerprint(alone));
    const expected = loadAddon().valueLoss(
      { values: oldValues, oldValues, returns, mask: valueMask, offsets: rows.offsets },
      checkLoss({ kind: "value", valueClip: null }, true),
    );
    expect(metrics.valueLoss).toBeCloseTo(expected.figures.value_loss, 5);
    expect(metrics.criticGradientNorm).toBeGreaterThan(0);
    expect(metrics.explainedVariance).toBeCloseTo(0, 4);
    expect(critic.version).toBeGreaterThan(1);
  });

  test("the value loss alone leaves the actor as it is", async () => {
    const model = await make();
    const critic = await model.clone({ valueHead: true });
    const trainer = createTrainer(model, { critic, criticOptimizer: { learningRate: 1e-2 } });
    const before = await fingerprint(model);
    const { version } = model;
    let last = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 30; i++) {
      const values = { mask: valueMask, oldValues: await critic.values(rows), returns };
      const metrics = await trainer.step({ ...rows, values }, { kind: "value" });
      last = metrics.valueLoss!;
      expect(metrics.policyLoss).toBeUndefined();
    }
    expect(last).toBeLessThan(0.1);
    expect(await fingerprint(model)).toEqual(before);
    expect(model.version).toBe(version);
  });

  test("a shared critic trains the one backbone on both", async () => {
    const model = await make({ valueHead: true });
    const trainer = createTrainer(model, { critic: "shared", optimizer: { learningRate: 5e-3 } });
    const step = async () => {
      const values = { mask: valueMask, oldValues: await model.values(rows), returns };
      return trainer.step(await ppoBatch(model, { values }), { kind: "ppo" });
    };
    const first = await step();
    for (let i = 0; i < 40; i++) await step();
    const last = await step();
    expect(last.valueLoss!).toBeLessThan(first.valueLoss! / 4);
    expect(last.explainedVariance!).toBeGreaterThan(0.5);
  });
});

test("every figure that the engine gives is in the table of step metrics, and the other way round", async () => {
  const model = await make({ valueHead: true });
  const critic = await model.clone({ valueHead: true });
  const trainer = createTrainer(model, { critic });
  const oldLogProbs = Float32Array.from(await model.logProbs(rows));
  const returns = Float32Array.from({ length }, (_, k) => Math.cos(k));
  const values = { mask, oldValues: await critic.values(rows), returns };
  const change = {
    referenceLogProbs: oldLogProbs,
    supervisedMask: mask,
    environmentMask: mask,
    values,
  };
  const batch = await ppoBatch(model, change);
  const loss = {
    kind: "ppo",
    klCoefficient: 0.1,
    supervisedCoefficient: 0.1,
    environmentCoefficient: 0.1,
  } as const;
  const checked = checkLoss(loss, true);
  const { figures } = await trainer.native.step(
    checkTrainBatch(batch, checked, model.config, true),
    checked,
    undefined,
  ).promise;
  const always = new Set(Object.values(stepMetrics).map(({ name }) => name));
  always.delete("micro_batch_tokens");
  expect(new Set(Object.keys(figures))).toEqual(always);
  const keys = Object.keys(stepMetrics).filter((key) => key !== "microBatchTokens");
  expect(Object.keys(await trainer.step(batch, loss)).sort()).toEqual(keys.sort());
});

test("schedules", async () => {
  const rates = async (schedule: TrainerOptions["schedule"], count: number) => {
    const trainer = createTrainer(await make(), {
      optimizer: { learningRate: 0.01 },
      ...(schedule && { schedule }),
    });
    const result = [];
    for (let i = 0; i < count; i++) {
      const announced = trainer.learningRate;
      const { learningRate } = await trainer.step({ ...rows, mask }, { kind: "sft" });
      expect(learningRate).toBe(announced);
      result.push(learningRate / 0.01);
    }
    return result;
  };
  expectClose(await rates(undefined, 2), [1, 1], 1e-9);
  expectClose(await rates({ kind: "constant", warmupSteps: 4 }, 6), [0.25, 0.5, 0.75, 1, 1, 1], 1e-9);
  const cosine = await rates({ kind: "cosine", totalSteps: 4, minimumRatio: 0.1 }, 6);
  expect(cosine[0]).toBeCloseTo(1, 6);
  expect(cosine[2]).toBeCloseTo(0.55, 6);
  expectClose(cosine.slice(4), [0.1, 0.1], 1e-6);
  const linear = await rates({ kind: "linear", totalSteps: 4 }, 5);
  expectClose(linear, [1, 0.75, 0.5, 0.25, 0], 1e-6);
});

describe("numbers that are not finite", () => {
  test("an overflowing gradient is NOT_FINITE and leaves everything as it was", async () => {
    const model = await make();
    const trainer = createTrainer(model, { gradientClip: null });
    const twin = createTrainer(await make(), { gradientClip: null });
    // Ratios of e^15 times such advantages pass float32.
    const advantages = new Float32Array(length).fill(-3e38);
    const oldLogProbs = (await model.logProbs(rows)).map((x) => x - 15);
    const before = await fingerprint(model);
    const { version } = model;
    const batch = await ppoBatch(model, { advantages, oldLogProbs });
    const error = await failure(trainer.step(batch, { kind: "ppo", dualClip: null }), "NOT_FINITE");
    expect(error.message).toMatch(/loss|gradient/);
    expect(await fingerprint(model)).toEqual(before);
    expect(model.version).toBe(version);
    expect(trainer.stepCount).toBe(0);
    // The optimiser too: the next step is the one of a trainer that has seen nothing.
    expect(await trainer.step({ ...rows, mask }, { kind: "sft" })).toEqual(
      await twin.step({ ...rows, mask }, { kind: "sft" }),
    );
  });

  test("weights that run away are NOT_FINITE at the next step", async () => {
    const model = await make();
    const trainer = createTrainer(model, { optimizer: { learningRate: 1e37 } });
    await failure(
      (async () => {
        for (let i = 0; i < 3; i++) await trainer.step({ ...rows, mask }, { kind: "sft" });
      })(),
      "NOT_FINITE",
    );
  });
});

test("a frozen copy serves the old weights until it is refreshed", async () => {
  const model = await make();
  const frozen = await model.clone();
  const before = await fingerprint(model);
  const trainer = createTrainer(model);
  await trainer.step({ ...rows, mask }, { kind: "sft" });
  expect(await fingerprint(frozen)).toEqual(before);
  expect(await fingerprint(model)).not.toEqual(before);
  await frozen.copyFrom(model);
  expect(await fingerprint(frozen)).toEqual(await fingerprint(model));
  expect(frozen.version).toBeGreaterThan(1);
});
