// A budget that is enforced, and work that goes on within it.
import { afterEach, expect, test } from "vitest";
import { createTrainer, Engine, type Model } from "../../lib/index.ts";
import { expectClose, failure, pack, scratchFolder, someRows } from "./fixtures.ts";

/** Too large to run side by side; 9 million parameters. */
const shape = {
  vocabularySize: 70_000,
  hiddenSize: 128,
  intermediateSize: 256,
  layers: 6,
  heads: 4,
  keyValueHeads: 2,
  maxPositions: 512,
};

let engine: Engine | undefined;
afterEach(async () => {
  await engine?.dispose();
  engine = undefined;
});

async function engineWith(memoryLimit?: number): Promise<Engine> {
  engine = await Engine.create({
    device: "cpu",
    threads: 1,
    ...(memoryLimit !== undefined && { memoryLimit }),
  });
  return engine;
}

/** Bytes at most while `work` runs, in an engine of its own, beside what it has made before. */
async function peakOf(work: (model: Model) => Promise<unknown>): Promise<number> {
  const own = await engineWith();
  const model = await own.createModel(shape, { seed: 3 });
  await own.resetPeakMemory();
  await work(model);
  const { peak } = await own.memory();
  await own.dispose();
  return peak;
}

const rows = pack(someRows([150, 150, 150, 150], 70_000));
const batch = { ...rows, mask: new Uint8Array(600).fill(1) };

test("what passes the limit is OUT_OF_MEMORY, and the engine goes on", async () => {
  const limited = await engineWith(64 * 2 ** 20);
  expect((await limited.memory()).limit).toBe(64 * 2 ** 20);
  const error = await failure(limited.createModel({ ...shape, hiddenSize: 512 }), "OUT_OF_MEMORY");
  expect(error.message).toContain("the limit is 64 MiB");
  const model = await limited.createModel(shape);
  expect((await limited.memory()).current).toBeGreaterThan(4 * model.parameterCount);
  await model.dispose();
  await limited.dispose();
  // The limit goes with the engine.
  const free = await engineWith();
  expect((await free.memory()).limit).toBeNull();
  await free.createModel({ ...shape, hiddenSize: 512 });
});

test("settings of memory are checked", async () => {
  for (const memoryLimit of [0, -1, 1.5, "24GB" as unknown as number])
    await failure(Engine.create({ device: "cpu", threads: 1, memoryLimit }), "BAD_ARGUMENT");
  const own = await engineWith();
  const model = await own.createModel({ ...shape, vocabularySize: 64 });
  const wrong = [{ moments: "int4" }, { activationCheckpointing: 1 }] as object[];
  for (const options of wrong) await failure(() => createTrainer(model, options), "BAD_ARGUMENT");
});

test("two engines of a process cannot want different limits", async () => {
  const first = await engineWith(2 ** 30);
  const error = await failure(
    Engine.create({ device: "cpu", threads: 1, memoryLimit: 2 ** 29 }),
    "BAD_ARGUMENT",
  );
  expect(error.message).toContain("memoryLimit");
  const second = await Engine.create({ device: "cpu", threads: 1 });
  expect((await second.memory()).limit).toBe(2 ** 30);
  await second.dispose();
  expect(first.disposed).toBe(false);
});

test("the limit goes with the last engine that asked for it, whichever engines are left", async () => {
  const limit = 64 * 2 ** 20;
  const options = { device: "cpu", threads: 1 } as const;
  const limited = await engineWith(limit);
  await using same = await Engine.create({ ...options, memoryLimit: limit });
  await using free = await Engine.create(options);
  await limited.dispose();
  expect((await free.memory()).limit).toBe(limit);
  await same.dispose();
  expect((await free.memory()).limit).toBeNull();
  await free.createModel({ ...shape, hiddenSize: 512 });

  await using other = await Engine.create({ ...options, memoryLimit: 2 ** 30 });
  expect((await other.memory()).limit).toBe(2 ** 30);
});

test("the peak of a new engine is its own, and that of engines side by side goes on", async () => {
  const first = await engineWith();
  await (await first.createModel(shape)).dispose();
  const { peak } = await first.memory();
  expect(peak).toBeGreaterThan(4 * 9e6);
  await using beside = await Engine.create({ device: "cpu", threads: 1 });
  expect((await beside.memory()).peak).toBe(peak);
  await beside.dispose();
  await first.dispose();

  const next = await engineWith();
  expect((await next.memory()).peak).toBeLessThan(2 ** 20);
});

test("a step that runs out of memory halves its micro-batches and makes the same update", async () => {
  const step = async (model: Model, microBatchTokens: number) =>
    createTrainer(model, { microBatchTokens }).step(batch, { kind: "sft" });
  const whole = await peakOf((model) => step(model, 8192));
  const half = await peakOf((model) => step(model, 300));
  expect(half).toBeLessThan(whole - 5 * 2 ** 20);

  const limited = await engineWith(Math.round((half + whole) / 2));
  const model = await limited.createModel(shape, { seed: 3 });
  const metrics = await step(model, 8192);
  expect(metrics.microBatchTokens).toBe(298);
  const probabilities = await model.logProbs(rows);
  await limited.dispose();

  const free = await engineWith();
  const other = await free.createModel(shape, { seed: 3 });
  const expected = await step(other, 298);
  expect(expected.microBatchTokens).toBeUndefined();
  expect(metrics.loss).toBe(expected.loss);
  expect(metrics.gradientNorm).toBe(expected.gradientNorm);
  expect(probabilities).toEqual(await other.logProbs(rows));
});

test("a step that never fits is OUT_OF_MEMORY with a remedy and changes nothing", async () => {
  const step = (model: Model) => createTrainer(model).step(batch, { kind: "sft" });
  const weights = 4 * 9.5e6;
  const limited = await engineWith(Math.round(4.1 * weights));
  const model = await limited.createModel(shape, { seed: 3 });
  const before = await model.logProbs(rows);
  const error = await failure(step(model), "OUT_OF_MEMORY");
  expect(error.message).toContain("weights and optimiser are as before");
  expect(error.hint).toContain("engine.activationCheckpointing");
  expect(await model.logProbs(rows)).toEqual(before);
  expect(model.version).toBe(1);
});

test("sampling that runs out of memory says what to lower", async () => {
  const limited = await engineWith(80 * 2 ** 20);
  const model = await limited.createModel(shape);
  const session = await model.openSession({ slots: 64, maxTokens: 512 });
  const prompt = pack(someRows([20, 20], 70_000));
  const error = await failure(session.extend([0, 1], prompt), "OUT_OF_MEMORY");
  expect(error.hint).toContain("engine.rolloutSlots");
  const fewer = await model.openSession({ slots: 2, maxTokens: 128 });
  await fewer.extend([0, 1], prompt);
  expect((await fewer.generate([0, 1], { maxNewTokens: 4 })).tokens.length).toBe(8);
});

test("a session's cache goes when all its slots are released", async () => {
  const own = await engineWith();
  const model = await own.createModel(shape, { dtype: "bfloat16" });
  const session = await model.openSession({ slots: 16, maxTokens: 512 });
  const prompt = pack(someRows([20, 20], 70_000));
  await session.extend([0, 1], prompt);
  await session.release([0, 1]);
  const { current } = await own.memory();
  await session.extend([0, 1], prompt);
  const cache = 16 * 512 * 2 * 6 * 2 * 32 * 2;
  expect((await own.memory()).current - current).toBeGreaterThanOrEqual(cache);
  await session.release([1]);
  expect((await own.memory()).current - current).toBeGreaterThanOrEqual(cache);
  await session.releaseAll();
  expect((await own.memory()).current).toBe(current);
});

test("activation checkpointing changes no bit", async () => {
  const own = await engineWith();
  const results = [];
  for (const activationCheckpointing of [false, true]) {
    const model = await own.createModel(shape, { seed: 3, dtype: "bfloat16" });
    const trainer = createTrainer(model, { activationCheckpointing });
    const { loss, gradientNorm } = await trainer.step(batch, { kind: "sft" });
    results.push([loss, gradientNorm, await model.logProbs(rows)]);
  }
  expect(results[1]).toEqual(results[0]);
});

test("8-bit moments train closely to float32 ones, and are saved and restored exactly", async () => {
  const own = await engineWith();
  const small = { ...shape, vocabularySize: 64, hiddenSize: 32, heads: 2, keyValueHeads: 1, layers: 2 };
  const data = pack(someRows([40, 40, 40], 64));
  const sft = { ...data, mask: new Uint8Array(120).fill(1) };
  const losses = async (moments: "float32" | "int8") => {
    const model = await own.createModel(small, { seed: 3 });
    const trainer = createTrainer(model, { moments, optimizer: { learningRate: 3e-3 } });
    const result: number[] = [];
    for (let i = 0; i < 60; i++) result.push((await trainer.step(sft, { kind: "sft" })).loss);
    return { model, trainer, result };
  };
  const exact = await losses("float32");
  const quantised = await losses("int8");
  expect(exact.result[59]).toBeLessThan(0.75 * exact.result[0]);
  expectClose(quantised.result, exact.result, 0.05);

  const folder = scratchFolder();
  await quantised.trainer.saveState(folder);
  await quantised.model.save(folder);
  const model = await own.loadModel(folder);
  const trainer = createTrainer(model, { moments: "int8", optimizer: { learningRate: 3e-3 } });
  await trainer.loadState(folder);
  for (let i = 0; i < 3; i++) {
    expect((await trainer.step(sft, { kind: "sft" })).loss).toBe(
      (await quantised.trainer.step(sft, { kind: "sft" })).loss,
    );
  }
  const other = createTrainer(model);
  const error = await failure(other.loadState(folder), "BAD_CHECKPOINT");
  expect(error.message).toContain("saved with int8 moments");
});
