// Passes that are measured before a run, and what follows from them, on the CPU.
import { expect, test } from "vitest";
import { createTrainer, Engine } from "../../lib/index.ts";
import { type MeasuredModel, measureStage } from "../../lib/memory/measure.ts";
import { planMemory, stagesWithSettings } from "../../lib/memory/plan.ts";
import { isMeasured, warmUp } from "../../lib/memory/warm-up.ts";
import { prepareModel } from "../../lib/stages/prepare-model.ts";
import { pack, someRows } from "../engine/fixtures.ts";
import { tinyConfig } from "../stages/tiny-run.ts";

const auto = { rolloutSlots: "auto", microBatchTokens: "auto", activationCheckpointing: "auto" };
const open = tinyConfig({ engine: { ...auto, memory: "1GB" } });
const { shape } = await prepareModel(open);

/** A model on an engine of its own; with `layers`, of more of them than is planned with. */
async function measured(
  engine: Engine,
  layers = shape.layers,
): Promise<MeasuredModel & { created: () => number }> {
  let created = 0;
  const createModel = () => {
    created++;
    return engine.createModel({ ...shape, layers }, { seed: 3 });
  };
  return { engine, shape, createModel, created: () => created };
}

test("a run is measured on a GPU, where something depends on it", () => {
  expect(isMeasured(open, "cpu")).toBe(false);
  expect(isMeasured(open, "cuda")).toBe(true);
  expect(isMeasured(tinyConfig({ engine: auto }), "cuda")).toBe(true);
  const fixed = { rolloutSlots: 4, microBatchTokens: 900, activationCheckpointing: false };
  expect(isMeasured(tinyConfig({ engine: fixed }), "cuda")).toBe(false);
  expect(isMeasured(tinyConfig({ engine: { ...fixed, memory: "1GB" } }), "cuda")).toBe(true);
});

test("where the prediction holds, the plan stays, and a note has both", async () => {
  await using engine = await Engine.create({ device: "cpu", threads: 1 });
  const notes: string[] = [];
  const plan = planMemory(open, shape, 1e9);
  const config = await warmUp(open, await measured(engine), (text) => notes.push(text));
  const { microBatchTokens, rolloutSlots, activationCheckpointing } = plan.settings;
  expect(config.engine).toMatchObject({ microBatchTokens, rolloutSlots, activationCheckpointing });
  expect(notes).toHaveLength(1);
  expect(notes[0]).toMatch(/ppo while updating: predicted [\d.]+ MB, measured [\d.]+ MB/);
});

test("what takes more than predicted gets smaller settings, until it stays within the budget", async () => {
  const { peak } = planMemory(open, shape, null);
  const budget = Math.round(1.1 * peak);
  const tight = tinyConfig({ engine: { ...auto, memory: budget } });
  const plan = planMemory(tight, shape, budget);
  expect(plan.fits).toBe(true);
  await using engine = await Engine.create({ device: "cpu", threads: 1 });
  const notes: string[] = [];
  const model = await measured(engine, 3 * shape.layers);
  const config = await warmUp(tight, model, (text) => notes.push(text));
  expect(config.engine.rolloutSlots).toBeLessThan(plan.settings.rolloutSlots);
  expect(notes[1]).toContain(`in place of ${plan.settings.rolloutSlots}`);
  expect(model.created()).toBeGreaterThan(1);
  const { rolloutSlots, microBatchTokens, activationCheckpointing } = config.engine;
  const settings = { ...plan.settings, rolloutSlots, microBatchTokens, activationCheckpointing };
  for (const one of stagesWithSettings(tight, settings)) {
    for (const { measured: taken } of await measureStage(model, one.settings, one.work)) {
      expect(taken).toBeLessThanOrEqual(budget);
    }
  }
});

test("a device that has less than is planned with is seen to run out, and planned with as it is", async () => {
  const free = tinyConfig({ engine: auto });
  const plan = planMemory(free, shape, null);
  const limit = Math.round(0.7 * plan.peak);
  await using engine = await Engine.create({ device: "cpu", threads: 1, memoryLimit: limit });
  const notes: string[] = [];
  const config = await warmUp(free, await measured(engine), (text) => notes.push(text));
  expect(notes[0]).toContain("ran out at");
  expect(notes.at(-1)).not.toContain("ran out at");
  const { microBatchTokens, rolloutSlots } = config.engine;
  expect(microBatchTokens * rolloutSlots).toBeLessThan(
    plan.settings.microBatchTokens * plan.settings.rolloutSlots,
  );
});

test("measuring changes no number of what is on the same engine", async () => {
  const rows = pack(someRows([40, 30, 20], shape.vocabularySize));
  const batch = { ...rows, mask: new Uint8Array(rows.tokens.length).fill(1) };
  for (const begin of rows.offsets.slice(0, -1)) batch.mask[begin] = 0;
  const train = async (between: (engine: Engine) => Promise<unknown>) => {
    await using engine = await Engine.create({ device: "cpu", threads: 1, seed: 7 });
    const model = await engine.createModel(shape);
    const trainer = createTrainer(model);
    const before = await trainer.step(batch, { kind: "sft" });
    await between(engine);
    const after = await trainer.step(batch, { kind: "sft" });
    const session = await model.openSession({ slots: 2, maxTokens: 64 });
    await session.extend([0, 1], pack(someRows([10, 12], shape.vocabularySize)));
    const { tokens } = await session.generate([0, 1], { maxNewTokens: 20 });
    return { losses: [before.loss, after.loss], logProbs: await model.logProbs(rows), tokens };
  };
  const plain = await train(async () => {});
  const disturbed = await train(async (engine) => warmUp(open, await measured(engine), () => {}));
  expect(disturbed).toEqual(plain);
});
