// What the memory model predicts against what the engine's allocator counts, phase by phase.
import { describe, expect, test } from "vitest";
import type { Moments } from "../../lib/addon/addon.ts";
import type { AdapterTarget } from "../../lib/formats/adapter-config.ts";
import { completeModelConfig, type ModelConfigInput } from "../../lib/formats/model-config.ts";
import { Engine } from "../../lib/index.ts";
import { measureStage } from "../../lib/memory/measure.ts";
import type { MemorySettings } from "../../lib/memory/pass-memory.ts";
import type { StageWork } from "../../lib/memory/stage-memory.ts";

/** A PPO stage's work with full rows. */
interface Case {
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

/** Too large to run side by side: each is one forward and backward pass over all threads. */
const large = {
  vocabularySize: 40_000,
  hiddenSize: 256,
  intermediateSize: 1024,
  layers: 6,
  heads: 4,
  keyValueHeads: 2,
  maxPositions: 1024,
};

/** As the nano model: rows side by side, weights also packed. */
const small = {
  ...large,
  vocabularySize: 1000,
  hiddenSize: 64,
  intermediateSize: 176,
  layers: 4,
};

const all = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"] as const;
const rows = { microBatchTokens: 2048, row: 256, rows: 16, slots: 32 };

const cases: Record<string, Case> = {
  "float32, no critic": { shape: large, dtype: "float32", critic: "none", ...rows },
  "float32, critic, checkpointing": {
    shape: large,
    dtype: "float32",
    critic: "model",
    activationCheckpointing: true,
    ...rows,
  },
  "bfloat16, critic": { shape: large, dtype: "bfloat16", critic: "model", ...rows },
  "bfloat16, shared critic, checkpointing": {
    shape: large,
    dtype: "bfloat16",
    critic: "shared",
    activationCheckpointing: true,
    ...rows,
  },
  "bfloat16, untied, int8 moments, reference": {
    shape: { ...large, tiedEmbeddings: false },
    dtype: "bfloat16",
    critic: "model",
    moments: "int8",
    reference: true,
    ...rows,
    rows: 8,
  },
  "Qwen3, untied": {
    shape: { ...large, architecture: "qwen3", headDimension: 64, tiedEmbeddings: false },
    dtype: "bfloat16",
    critic: "none",
    microBatchTokens: 1024,
    row: 512,
    rows: 4,
    slots: 4,
  },
  "LoRA in bfloat16, critic, reference": {
    shape: large,
    dtype: "bfloat16",
    critic: "model",
    lora: { rank: 8, targets: [...all], dropout: 0 },
    reference: true,
    ...rows,
  },
  "LoRA in float32, shared critic, checkpointing": {
    shape: large,
    dtype: "float32",
    critic: "shared",
    activationCheckpointing: true,
    lora: { rank: 8, targets: ["q_proj", "v_proj"], dropout: 0 },
    ...rows,
  },
  "LoRA with dropout and checkpointing, many tokens on few weights": {
    shape: { ...large, vocabularySize: 1024, hiddenSize: 512, intermediateSize: 2048, layers: 3 },
    dtype: "bfloat16",
    critic: "none",
    activationCheckpointing: true,
    lora: { rank: 8, targets: [...all], dropout: 0.1 },
    ...rows,
    microBatchTokens: 4096,
  },
  "small, critic": { shape: small, dtype: "float32", critic: "model", ...rows, row: 200, slots: 64 },
  // Its threads seldom peak at the same moment: here the prediction bounds what is counted.
  "small, shared critic, two threads": {
    shape: small,
    dtype: "float32",
    critic: "shared",
    threads: 2,
    ...rows,
    row: 200,
    rows: 32,
    slots: 64,
  },
  "small in bfloat16": {
    shape: small,
    dtype: "bfloat16",
    critic: "shared",
    ...rows,
    row: 400,
    slots: 64,
  },
  "the widths of Qwen2.5-0.5B, two layers": {
    shape: {
      vocabularySize: 151_936,
      hiddenSize: 896,
      intermediateSize: 4864,
      layers: 2,
      heads: 14,
      keyValueHeads: 2,
      maxPositions: 1024,
    },
    dtype: "bfloat16",
    critic: "none",
    moments: "int8",
    microBatchTokens: 256,
    row: 256,
    rows: 2,
    slots: 8,
  },
};

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

describe("predictions are within 10 % of the counted peak", () => {
  test.each(Object.entries(cases))(
    "%s",
    async (_, one) => {
      await using engine = await Engine.create({ device: "cpu", threads: one.threads ?? 1 });
      const shape = completeModelConfig(one.shape);
      const createModel = () => engine.createModel(shape, { dtype: one.dtype, seed: 3 });
      const phases = await measureStage({ engine, shape, createModel }, settingsOf(one), workOf(one), {
        sharedCritic: one.critic === "shared",
      });
      expect(phases.map(({ phase }) => phase)).toEqual(["update", "scoring", "sampling"]);
      for (const { phase, predicted, measured, ranOut } of phases) {
        const ratio = predicted / measured;
        const found = `${phase}: ${predicted} predicted, ${measured} counted`;
        expect(ranOut, found).toBe(false);
        expect(ratio, found).toBeGreaterThan(0.9);
        expect(ratio, found).toBeLessThan(one.threads === 2 ? 1.35 : 1.1);
      }
    },
    300_000,
  );
});
