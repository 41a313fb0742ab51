import { z } from "zod";
import { type ArmName, allArms, armNames } from "./arms.ts";
import { checkpoints, engine, model } from "./sections/engine.ts";
import { environment, evaluation, levels, protocol } from "./sections/episode.ts";
import { lora } from "./sections/lora.ts";
import { control, ppoSchema } from "./sections/ppo.ts";
import { base, selfPlay, sft } from "./sections/supervised.ts";

// All settings of a run. Every field has a default and a description: docs/configuration.md is generated from this file and
// its sections, `--help` and error messages quote it, and the resolved configuration is written into the run folder.

export const settings = z.strictObject({
  preset: z.string().default("custom").describe("name of the preset that this started from"),
  seed: z.int().min(0).default(1).describe("every random choice follows from it"),
  arms: z
    .union([z.literal("all").transform((): ArmName[] => [...allArms]), z.array(z.enum(armNames))])
    .default(["spa", "control"])
    .describe(
      "spa: self-play, SFT, PPO; control: the same base, plain prompt, PPO; format-only: world-model format without SFT; world-model: self-play and SFT without PPO; all: the first three; []: the base alone",
    ),
  trackers: z
    .array(z.enum(["jsonl", "tensorboard", "wandb", "mlflow", "trackio"]))
    .default(["jsonl", "tensorboard"])
    .describe(
      "programs that are told what the run logs (docs/metrics.md); jsonl: metrics.jsonl, which is always written; tensorboard: event files in the run folder",
    ),
  engine,
  model,
  lora,
  environment,
  protocol,
  levels,
  base,
  selfPlay,
  sft,
  ppo: ppoSchema,
  control,
  evaluation,
  checkpoints,
});

export type Config = z.infer<typeof settings>;
export type PpoConfig = z.infer<typeof ppoSchema>;
