import { createHash } from "node:crypto";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { onTestFinished } from "vitest";
import { type Config, configSchema } from "../../lib/config/schema.ts";
import type { Progress } from "../../lib/run/progress.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";

/** A whole run in seconds: a model that learns just enough to answer in form. */
export const tinySettings = {
  seed: 5,
  arms: ["spa", "control"],
  engine: { device: "cpu", threads: 1, rolloutSlots: 16 },
  model: {
    kind: "nano",
    hidden: 32,
    layers: 2,
    heads: 2,
    keyValueHeads: 1,
    headDimension: 16,
    intermediate: 48,
  },
  environment: { name: "frozen-lake", options: { size: 3, slippery: false } },
  protocol: { maxTurns: 2, maxActionsPerTurn: 3, maxActions: 5, maxNewTokens: 100, maxTokens: 400 },
  levels: { testLevels: 4, tuningLevels: 3 },
  base: {
    steps: 80,
    batchSize: 10,
    levels: 50,
    turnDecay: 0.3,
    worldModelShare: 0.7,
    corruptionProbability: 0.05,
    tokenDropProbability: 0,
    optimizer: { learningRate: 1e-2 },
  },
  selfPlay: { trajectories: 24, groupSize: 2 },
  sft: { epochs: 2, batchSize: 4, validationShare: 0.2, validationLevels: 2 },
  ppo: {
    steps: 5,
    groups: 4,
    groupSize: 3,
    minibatch: 6,
    filter: { kind: "ratio", value: 0.5 },
    validateEvery: 2,
    validationLevels: 2,
    validationSamples: 2,
  },
  evaluation: { samples: 2, bootstrap: 50 },
  checkpoints: { every: 2, everyUpdates: 17, keep: 2 },
};

/** A model over the nano vocabulary that takes no time. */
export const tinyShape = {
  vocabularySize: nanoTokenizer().vocabularySize,
  hiddenSize: 32,
  intermediateSize: 48,
  layers: 2,
  heads: 2,
  maxPositions: 1024,
};

/** {@link tinySettings} with some settings replaced, section by section. */
export function tinyConfig(changes: Record<string, unknown> = {}): Config {
  const merged = Object.entries(changes).map(([section, value]) => {
    const known = (tinySettings as Record<string, unknown>)[section];
    const mergeable = typeof known === "object" && !Array.isArray(known) && section !== "model";
    return [section, mergeable ? { ...(known as object), ...(value as object) } : value];
  });
  return configSchema.parse({ ...tinySettings, ...Object.fromEntries(merged) });
}

/** A folder that goes with the test. */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "spa-stages-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Copies a run folder as it is while it is worked in: what a process that is killed at that moment leaves behind, its lock apart. */
export function snapshotRun(from: string, to: string): void {
  cpSync(from, to, { recursive: true, filter: (path) => !basename(path).startsWith("lock.") });
}

/** A progress display that shows nothing and calls `onTick` with the stage and its units done. */
export function watchingProgress(onTick: (stage: string, done: number) => void): Progress {
  let stage = "";
  return {
    stage: (id) => {
      stage = id;
    },
    tick: (done) => onTick(stage, done),
    note: () => {},
    done: () => {},
  };
}

const timings = ["time", "tokens_per_second", "rollout_seconds", "train_seconds"];

/** Everything that a run came to, times apart: metrics, evaluations, trajectories and the digests of all weights. */
export function outcomeOf(folder: string): Record<string, unknown> {
  const run = RunFolder.open(folder);
  const digest = (file: string) =>
    createHash("sha256")
      .update(readFileSync(run.file(file)))
      .digest("hex");
  const results = JSON.parse(readFileSync(run.file("results.json"), "utf8"));
  return {
    metrics: run.metrics
      .read()
      .map((row) => Object.fromEntries(Object.entries(row).filter(([name]) => !timings.includes(name)))),
    evaluations: results.evaluations,
    costs: run.stages.map(({ id, tokensSampled, tokensTrained }) => [id, tokensSampled, tokensTrained]),
    weights: run.checkpoints.map(({ name }) => {
      const files = readdirSync(run.file("checkpoints", name)).filter((file) =>
        file.endsWith(".safetensors"),
      );
      return [name, ...files.sort().map((file) => digest(`checkpoints/${name}/${file}`))];
    }),
    trajectories: run.stages.map(({ id }) => run.trajectories(id).read()),
  };
}
