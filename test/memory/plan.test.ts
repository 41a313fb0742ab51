// Plans of published shapes, and budgets that are kept.
import { expect, test } from "vitest";
import { loadConfig } from "../../lib/config/load.ts";
import { type Config, configSchema } from "../../lib/config/schema.ts";
import { formatSize, parseSize } from "../../lib/files/size.ts";
import { completeModelConfig } from "../../lib/formats/model-config.ts";
import { knownModels } from "../../lib/hub/known-models.ts";
import { planMemory } from "../../lib/memory/plan.ts";
import { resolveMemory } from "../../lib/memory/resolve.ts";
import { stagesWork } from "../../lib/memory/stage-memory.ts";
import { parameterCount } from "../../lib/stages/estimate.ts";
import { failure } from "../engine/fixtures.ts";

function shapeOf(id: string) {
  const known = knownModels[id];
  return completeModelConfig({ ...known, endTokens: [...known.endTokens] });
}

/** A run of a published model on a GPU with turns of full prompts. */
function llm(model: string, changes: Record<string, unknown> = {}): Config {
  const { engine, ...others } = changes as { engine?: object };
  return configSchema.parse({
    model,
    engine: { device: "cuda", dtype: "bfloat16", ...engine },
    protocol: { style: "full", maxTurns: 3, maxNewTokens: 400, maxTokens: 2048 },
    ...others,
  });
}

const half = "Qwen/Qwen2.5-0.5B-Instruct";
const one = "Qwen/Qwen2.5-1.5B-Instruct";
const three = "Qwen/Qwen2.5-3B-Instruct";

test.each([
  [half, 494_032_768],
  [one, 1_543_714_304],
  [three, 3_085_938_688],
  ["Qwen/Qwen3-0.6B", 596_049_920],
  ["Qwen/Qwen3-1.7B", 1_720_574_976],
  ["meta-llama/Llama-3.2-1B-Instruct", 1_235_814_400],
  ["meta-llama/Llama-3.2-3B-Instruct", 3_212_749_824],
])("%s has its published number of weights", (id, count) => {
  expect(parameterCount(shapeOf(id))).toBe(count);
});

test("sizes are read and written", () => {
  expect(["24GB", "16 GiB", "500mb", "1.5GB", "12B"].map(parseSize)).toEqual([
    24e9,
    16 * 2 ** 30,
    5e8,
    1.5e9,
    12,
  ]);
  expect(parseSize(1024)).toBe(1024);
  expect([1.98e9, 24e9, 3.2e6, 123_456_789_012, 1000, 0].map(formatSize)).toEqual([
    "1.98 GB",
    "24.0 GB",
    "3.20 MB",
    "123 GB",
    "1.00 KB",
    "0 KB",
  ]);
  for (const wrong of ["24", "GB", "-1GB", "0GB", "24TB"])
    expect(() => parseSize(wrong)).toThrow(/no size of memory/);
});

test("0.5B with a critic of its own fits 24 GB in full", () => {
  const config = llm(half);
  const plan = planMemory(config, shapeOf(half), 24e9);
  expect(plan.fits).toBe(true);
  const update = plan.stages
    .find(({ stage }) => stage === "ppo")!
    .phases.find(({ phase }) => phase === "update")!;
  // bf16 weights, float32 gradients, master weights and both moments, of actor and critic.
  const count = 494_032_768;
  expect(update.weights).toBeGreaterThan(2 * 2 * count);
  expect(update.gradients).toBe(2 * 4 * count);
  expect(update.master).toBe(2 * 4 * count);
  expect(update.moments).toBe(2 * 8 * count);
  expect(plan.settings.rolloutSlots).toBeGreaterThanOrEqual(64);
  expect(plan.peak).toBeLessThan(plan.usable!);
});

test("1.5B fits 80 GB in full, and not 24 GB, where LoRA does", () => {
  const config = llm(one);
  expect(planMemory(config, shapeOf(one), 80e9).fits).toBe(true);
  const plan = planMemory(config, shapeOf(one), 24e9);
  expect(plan.fits).toBe(false);
  expect(plan.alternatives.join("; ")).toContain("lora={}");
  expect(plan.needed).toBeGreaterThan(24e9);
  expect(plan.needed).toBeLessThan(80e9);
});

test("3B fits 24 GB with LoRA: one backbone, gradients and moments of the adapters only", () => {
  const config = llm(three, { lora: {}, ppo: { loss: { klCoefficient: 0.01 } } });
  const plan = planMemory(config, shapeOf(three), 24e9);
  expect(plan.fits).toBe(true);
  const update = plan.stages
    .find(({ stage }) => stage === "ppo")!
    .phases.find(({ phase }) => phase === "update")!;
  expect(update.weights).toBeGreaterThan(2 * 3_085_938_688);
  expect(update.weights).toBeLessThan(2.1 * 3_085_938_688);
  expect(update.moments).toBeLessThan(1e9);
});

test.each([
  ["qwen2.5-0.5b-sokoban", half, 24e9, []],
  ["qwen2.5-1.5b-sokoban", one, 80e9, []],
  ["qwen2.5-3b-sokoban", three, 24e9, ["lora={}"]],
])("the preset %s fits", (preset, model, budget, settings) => {
  const config = loadConfig(preset, ["engine.device=cuda", ...settings]);
  const plan = planMemory(config, shapeOf(model), budget);
  expect(plan.fits).toBe(true);
  expect(plan.settings.moments).toBe("float32");
  expect(plan.settings.rolloutSlots).toBeGreaterThanOrEqual(64);
});

test("every row and slot of a stage counts: turns with prompts of their own, validation, true states beside rollouts", () => {
  const ppoOf = (changes: Record<string, unknown>) =>
    stagesWork(llm(half, changes), 256).find(({ stage }) => stage === "ppo")!;
  const ppo = { groups: 4, groupSize: 2, minibatch: 8, validationLevels: 16, validationSamples: 4 };
  expect(ppoOf({ ppo: { ...ppo, validateEvery: 0 } })).toMatchObject({
    slots: 8,
    updateRows: 8,
    scoredRows: 8,
  });
  expect(ppoOf({ ppo: { ...ppo, validateEvery: 5 } }).slots).toBe(64);
  const protocol = { style: "full", context: "turn", maxTurns: 3, maxNewTokens: 400, maxTokens: 2048 };
  expect(ppoOf({ ppo, protocol })).toMatchObject({ updateRows: 24, scoredRows: 24 });
  const longer = { ...ppo, interaction: { maxTurns: 5, annealTo: 2 } };
  expect(ppoOf({ ppo: longer, protocol })).toMatchObject({ updateRows: 40, scoredRows: 40 });
  expect(ppoOf({ ppo: { ...ppo, loss: { supervisedCoefficient: 0.1 } } }).updateRows).toBe(16);
});

test("less memory leads to smaller micro-batches and fewer slots; what is fixed stays", () => {
  const plans = [80e9, 40e9, 24e9].map((budget) => planMemory(llm(half), shapeOf(half), budget));
  for (const [larger, smaller] of [plans.slice(0, 2), plans.slice(1)]) {
    expect(smaller.settings.microBatchTokens).toBeLessThanOrEqual(larger.settings.microBatchTokens);
    expect(smaller.settings.rolloutSlots).toBeLessThanOrEqual(larger.settings.rolloutSlots);
    expect(smaller.peak).toBeLessThanOrEqual(larger.peak);
  }
  const fixed = llm(half, {
    engine: { rolloutSlots: 7, microBatchTokens: 3000, activationCheckpointing: false },
  });
  expect(planMemory(fixed, shapeOf(half), 80e9).settings).toMatchObject({
    rolloutSlots: 7,
    microBatchTokens: 3000,
    activationCheckpointing: false,
  });
  const plan = planMemory(
    { ...llm(half), engine: { ...fixed.engine, rolloutSlots: 4000 } },
    shapeOf(half),
    24e9,
  );
  expect(plan.fits).toBe(false);
  expect(plan.alternatives[0]).toContain("engine.rolloutSlots=auto");
});

test("a configuration with a budget is resolved by its plan, or refused with what would fit", async () => {
  const resolved = resolveMemory(llm(half, { engine: { memory: "24GB" } }), shapeOf(half));
  expect(resolved.engine.memory).toBe(24e9);
  const { microBatchTokens, rolloutSlots, activationCheckpointing } = planMemory(
    llm(half),
    shapeOf(half),
    24e9,
  ).settings;
  expect(resolved.engine).toMatchObject({ microBatchTokens, rolloutSlots, activationCheckpointing });
  const error = await failure(
    () => resolveMemory(llm(three, { engine: { memory: "24GB" } }), shapeOf(three)),
    "OUT_OF_MEMORY",
  );
  expect(error.message).toMatch(/ppo takes [\d.]+ GB while updating \(moments/);
  expect(error.hint).toContain("lora={}");
  const open = resolveMemory(llm(half), shapeOf(half));
  expect(open.engine).toMatchObject({
    microBatchTokens: 8192,
    rolloutSlots: 256,
    activationCheckpointing: false,
  });
});

test("a run without arms plans with no PPO", () => {
  const nano = configSchema.parse({ arms: [] });
  expect(stagesWork(nano, 256).map(({ stage }) => stage)).toEqual(["base", "evaluate"]);
  expect(stagesWork(llm(half, { arms: [] }), 256).map(({ stage }) => stage)).toEqual(["evaluate"]);
});
