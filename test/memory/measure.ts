import type { Moments, PhaseName } from "../../lib/addon/addon.ts";
import type { AdapterTarget } from "../../lib/formats/adapter-config.ts";
import { completeModelConfig, type ModelConfigInput } from "../../lib/formats/model-config.ts";
import { createTrainer, Engine, type Model } from "../../lib/index.ts";
import type { MemorySettings } from "../../lib/memory/pass-memory.ts";
import { type StageWork, stageMemory } from "../../lib/memory/stage-memory.ts";
import { pack, someRows } from "../engine/fixtures.ts";

/** A stage's work with full rows, as the memory model sees it and as it is done. */
export interface Case {
  shape: ModelConfigInput;
  dtype: "float32" | "bfloat16";
  critic: "model" | "shared" | "none";
  reference?: boolean;
  activationCheckpointing?: boolean;
  moments?: Moments;
  lora?: { rank: number; targets: AdapterTarget[]; dropout: number };
  microBatchTokens: number;
  row: number;
  rows: number;
  slots: number;
  threads?: number;
}

export interface Measured {
  phase: PhaseName;
  predicted: number;
  actual: number;
  parts: string;
}

function settingsOf(one: Case): MemorySettings {
  return {
    device: "cpu",
    threads: one.threads ?? 1,
    dtype: one.dtype,
    microBatchTokens: one.microBatchTokens,
    rolloutSlots: one.slots,
    activationCheckpointing: one.activationCheckpointing ?? false,
    moments: one.moments ?? "float32",
    lora: one.lora ?? null,
  };
}

function workOf(one: Case): StageWork {
  const own = one.critic === "model" ? 1 : 0;
  return {
    stage: "ppo",
    models: 1 + own + (one.reference ? 1 : 0),
    trained: 1 + own,
    row: one.row,
    updateRows: one.rows,
    scoredRows: one.rows,
    slots: one.slots,
  };
}

/** Does what a PPO step does and returns each phase's peak beside the prediction. */
export async function measure(one: Case): Promise<Measured[]> {
  const shape = completeModelConfig(one.shape);
  const predictions = stageMemory(shape, settingsOf(one), workOf(one)).phases;
  await using engine = await Engine.create({ device: "cpu", threads: one.threads ?? 1 });
  const before = (await engine.memory()).current;
  const results: Measured[] = [];
  const during = async (phase: PhaseName, work: () => Promise<unknown>) => {
    await engine.resetPeakMemory();
    await work();
    const predicted = predictions.find((prediction) => prediction.phase === phase)!;
    const { phase: _, total, ...parts } = predicted;
    const actual = (await engine.memory()).peak - before;
    const shown = Object.entries(parts).map(([name, bytes]) => `${name} ${(bytes / 1e6).toFixed(1)}`);
    results.push({ phase, predicted: total, actual, parts: shown.join(", ") });
  };

  const options = { dtype: one.dtype, seed: 3, valueHead: one.critic === "shared" };
  let actor: Model = await engine.createModel(one.shape, options);
  if (one.lora) {
    const backbone = actor;
    actor = await backbone.addAdapter({ ...one.lora, alpha: 16, valueHead: options.valueHead });
    await backbone.dispose();
  }
  const own = one.critic === "model" ? await actor.clone({ valueHead: true }) : null;
  const reference = one.reference ? await actor.clone() : null;
  const critic = one.critic === "shared" ? "shared" : own;
  const { microBatchTokens } = one;
  const trainer = createTrainer(actor, {
    critic,
    microBatchTokens,
    activationCheckpointing: one.activationCheckpointing ?? false,
    moments: one.moments ?? "float32",
  });
  const batch = pack(someRows(new Array(one.rows).fill(one.row), shape.vocabularySize));
  const count = batch.tokens.length;
  const mask = new Uint8Array(count).fill(1);
  for (let row = 0; row < one.rows; row++) mask[batch.offsets[row]] = 0;
  const zeros = new Float32Array(count);
  const values = { mask, oldValues: zeros, returns: zeros };
  const update = {
    ...batch,
    mask,
    oldLogProbs: zeros,
    advantages: zeros,
    ...(critic !== null && { values }),
  };
  await trainer.step(update, { kind: "ppo" });
  await during("update", () => trainer.step(update, { kind: "ppo" }));
  await during("scoring", () => (reference ?? actor).logProbs(batch));
  await during("sampling", async () => {
    await using session = await actor.openSession({ slots: one.slots, maxTokens: one.row, seed: 1 });
    const slots = Array.from({ length: one.slots }, (_, slot) => slot);
    const prompts = pack(someRows(new Array(one.slots).fill(one.row - 8), shape.vocabularySize));
    await session.extend(slots, prompts);
    await session.generate(slots, { maxNewTokens: 6 });
  });
  return results;
}
