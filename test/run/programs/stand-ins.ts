// What a checkpoint holds, as plain files of known content: the tests of the run folder need no native addon.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Bytes that depend on `seed` in every place. */
export function content(seed: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (seed * 31 + index * 7 + (index >> 8)) & 255);
}

/** A model, tokenizer, critic and trainer as of `step`. */
export function checkpointParts(step: number, length = 20_000) {
  const saving = (name: string, seed: number) => ({
    async save(folder: string) {
      writeFileSync(join(folder, name), content(seed, length));
      writeFileSync(join(folder, "config.json"), "{}");
    },
  });
  return {
    model: saving("model.safetensors", step),
    tokenizer: saving("tokenizer.json", 0),
    critic: saving("model.safetensors", step + 1),
    trainer: {
      async saveState(folder: string) {
        mkdirSync(folder, { recursive: true });
        writeFileSync(join(folder, "optimizer.safetensors"), content(step + 2, 2 * length));
      },
    },
  };
}

/** A trajectory of three tokens. */
export function trajectory(id: number) {
  return {
    id,
    group: 0,
    seed: id,
    tokens: Int32Array.of(id, 1, 2),
    roles: Uint8Array.of(0, 7, 7),
    sampled: Uint8Array.of(0, 1, 1),
    logProbs: Float32Array.of(0, -0.12345, -2),
    segments: [0],
    turns: [],
    totalReward: 1,
    success: true,
    finish: "terminated" as const,
    distance: 2,
  };
}
