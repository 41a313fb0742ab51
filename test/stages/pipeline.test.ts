import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEnvironment } from "../../envs/index.ts";
import { Engine } from "../../lib/engine/engine.ts";
import { catalogue } from "../../lib/metrics/catalogue.ts";
import type { Metric } from "../../lib/metrics/metric.ts";
import { estimate, train } from "../../lib/pipeline.ts";
import { LevelStream } from "../../lib/rollout/levels.ts";
import { latestCheckpoint } from "../../lib/run/checkpoint.ts";
import { type Results, readResults } from "../../lib/run/results.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { LevelStarts, writtenStates } from "../../lib/stages/held-states.ts";
import { examplesFile, rowsFile } from "../../lib/stages/self-play/self-play.ts";
import { readExamples } from "../../lib/stages/sft/files.ts";
import { rejection } from "../thrown-error.ts";
import { tinyConfig } from "./tiny-run.ts";

const root = mkdtempSync(join(tmpdir(), "spa-pipeline-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let run: RunFolder;
let results: Results;
beforeAll(async () => {
  const config = tinyConfig({ arms: "all", selfPlay: { rounds: 2 }, ppo: { steps: 2, validateEvery: 1 } });
  run = RunFolder.open((await train(config, { root, name: "all" })).folder);
  results = JSON.parse(readFileSync(run.file("results.json"), "utf8"));
});

describe("a whole run", () => {
  it("goes through its stages in order, and each is done", () => {
    expect(run.stages.map(({ id }) => id)).toEqual([
      "evaluate/random",
      "base",
      "evaluate/base",
      "evaluate/baseWorldModel",
      "spa/self-play",
      "spa/sft",
      "spa/self-play-2",
      "spa/sft-2",
      "evaluate/sft",
      "spa/ppo",
      "evaluate/spa",
      "control/ppo",
      "evaluate/control",
      "format-only/ppo",
      "evaluate/formatOnly",
    ]);
    expect(run.stages.every(({ state }) => state === "done")).toBe(true);
  });

  it("writes results.json in its published form", () => {
    expect(Object.keys(results)).toEqual(["preset", "seed", "levels", "evaluations", "stages"]);
    expect(Object.keys(results.evaluations).sort()).toEqual([
      "base",
      "baseWorldModel",
      "control",
      "formatOnly",
      "random",
      "sft",
      "spa",
    ]);
    const { test, tuning } = results.levels!;
    expect([test.count, tuning.count]).toEqual([4, 3]);
    for (const evaluation of Object.values(results.evaluations)) {
      expect(Object.keys(evaluation).filter((key) => key !== "worldModel")).toEqual([
        "passAt1",
        "passAtK",
        "passAt",
        "k",
        "ci95",
        "formatRate",
        "observationAccuracy",
        "predictionAccuracy",
        "predictionAccuracyChanged",
        "byDistance",
        "levels",
        "samples",
        "successes",
      ]);
      expect(evaluation).toMatchObject({ k: 2, levels: 4, samples: 2 });
      const solved = evaluation.successes?.reduce((sum, count) => sum + count, 0) ?? Number.NaN;
      expect([evaluation.successes?.length, solved / 8]).toEqual([4, evaluation.passAt1]);
      expect(evaluation.passAt).toEqual({ 1: evaluation.passAt1, 2: evaluation.passAtK });
      for (const name of ["passAt1", "passAtK"] as const) {
        const [low, high] = evaluation.ci95[name];
        expect(low).toBeLessThanOrEqual(evaluation[name]);
        expect(high).toBeGreaterThanOrEqual(evaluation[name]);
      }
      const distances = Object.values(evaluation.byDistance);
      expect(distances.reduce((sum, { levels }) => sum + levels, 0)).toBe(4);
      const counts = Object.entries(evaluation.byDistance).map(([distance, { levels }]) => [
        distance,
        levels,
      ]);
      expect(test.distances).toEqual(Object.fromEntries(counts));
    }
    for (const stage of results.stages) {
      expect(Object.keys(stage)).toEqual(["name", "seconds", "tokensSampled", "tokensTrained"]);
    }
  });

  it("says what only the world-model format can say only there", () => {
    for (const policy of ["random", "base", "control"]) {
      expect(results.evaluations[policy].observationAccuracy).toBeNull();
      expect(results.evaluations[policy].predictionAccuracy).toBeNull();
      expect(results.evaluations[policy].worldModel).toBeUndefined();
    }
    for (const policy of ["baseWorldModel", "sft", "spa", "formatOnly"]) {
      const { worldModel, ...evaluation } = results.evaluations[policy];
      expect(evaluation.observationAccuracy).not.toBeNull();
      expect(worldModel?.observation.all.share).toBe(evaluation.observationAccuracy);
      expect(worldModel?.prediction.all.share).toBe(evaluation.predictionAccuracy);
      expect(worldModel?.prediction.changed.share).toBe(evaluation.predictionAccuracyChanged);
      expect(Object.keys(worldModel?.prediction.parts ?? {}).sort()).toEqual(["goal", "hole", "player"]);
    }
  });

  it("counts what was sampled and trained", () => {
    const cost = new Map(
      run.stages.map(({ id, tokensSampled, tokensTrained }) => [id, [tokensSampled, tokensTrained]]),
    );
    const rows = run.metrics.read();
    for (const arm of ["spa", "control", "format-only"]) {
      const trained = rows
        .filter(({ stage }) => stage === `${arm}/ppo`)
        .map((row) => Number(row.tokens_trained ?? 0));
      expect(cost.get(`${arm}/ppo`)?.[1]).toBe(trained.reduce((sum, tokens) => sum + tokens, 0));
    }
    expect(cost.get("base")?.[0]).toBe(0);
    expect(cost.get("spa/self-play")?.[1]).toBe(0);
  });

  it("logs no metric that the catalogue does not explain", () => {
    const metrics: readonly Metric[] = Object.values(catalogue).flat();
    const known = metrics.map(({ name }) => name);
    const logged = run.metrics.read().flatMap(({ stage, step, ...figures }) => Object.keys(figures));
    const explained = (name: string) =>
      known.includes(name) || known.includes(name.replace(/^pass_at_\d+$/, "pass_at_{k}"));
    expect(logged.length).toBeGreaterThan(100);
    expect(logged.filter((name) => !explained(name) && !explained(name.replace(/^validation_/, "")))).toEqual(
      [],
    );
  });

  it("gives every arm's PPO the same levels, in the same order", () => {
    const seeds = (stage: string) =>
      run
        .trajectories(stage)
        .read()
        .map(({ step, seed }) => [step, seed]);
    expect(seeds("control/ppo").length).toBeGreaterThan(0);
    expect(seeds("control/ppo")).toEqual(seeds("spa/ppo"));
  });

  it("writes self-play twice: token by token, and in SPA's columns", async () => {
    const examples = await readExamples(examplesFile(run, "spa/self-play"));
    expect(examples.length).toBeGreaterThan(0);
    const rows = await parquetReadObjects({
      file: await asyncBufferFromFile(rowsFile(run, "spa/self-play")),
    });
    expect(rows.length).toBeGreaterThanOrEqual(examples.length);
    for (const row of rows) {
      expect(row.data_source).toBe("frozen-lake");
      expect(row.response).toMatch(/^<think><observation>[\s\S]*<\/answer>$/);
      expect(row.response).toContain(`<prediction>${row.reward_model.ground_truth}</prediction>`);
    }
    // Both episodes of a level are on the same side.
    const sides = new Map<number, Set<string>>();
    for (const { trajectory, split } of examples) {
      const level = Math.floor(trajectory / 2);
      sides.set(level, (sides.get(level) ?? new Set()).add(split));
    }
    for (const side of sides.values()) expect(side.size).toBe(1);
  });

  it("leaves models that load and tell the same as in the run", async () => {
    await using engine = await Engine.create({ device: "cpu", threads: 1 });
    const folder = latestCheckpoint(run, "spa/ppo")?.folder ?? "";
    await using model = await engine.loadModel(folder);
    const [logged] = run.trajectories("evaluate/spa").read();
    const tokens = Int32Array.from(logged.tokens);
    const logProbs = await model.logProbs({ tokens, offsets: [0, tokens.length] });
    const sampled = logged.pieces.flatMap(([, isSampled, count]) => new Array<number>(count).fill(isSampled));
    const trained = [...logProbs].filter((_, index) => sampled[index] === 1);
    for (const [index, value] of trained.entries()) expect(value).toBeCloseTo(logged.logProbs[index], 2);
  });

  it("can be trained on a file in place of self-play", async () => {
    const data = rowsFile(run, "spa/self-play");
    const model = { kind: "pretrained", path: latestCheckpoint(run, "base")?.folder };
    const config = tinyConfig({ arms: ["spa"], model, sft: { data, epochs: 1 }, ppo: { steps: 1 } });
    const { folder } = await train(config, { root, name: "from-file" });
    const ids = RunFolder.open(folder).stages.map(({ id }) => id);
    expect(ids).toContain("spa/sft");
    expect(ids).not.toContain("spa/self-play");
    expect(ids).not.toContain("base");
  });
});

describe("test levels that fine-tuning has seen", () => {
  it("are counted, and their trajectories left out on request", async () => {
    const model = { kind: "pretrained", path: latestCheckpoint(run, "base")?.folder };
    const shared = {
      arms: ["spa"],
      model,
      levels: { testLevels: 60, tuningLevels: 3 },
      selfPlay: { policy: "random" },
      evaluation: { samples: 1, references: [] },
      ppo: { steps: 1, validateEvery: 0 },
    };
    const levels = await new LevelStream(
      createEnvironment("frozen-lake", { size: 3, slippery: false }),
      123,
    ).take(60);
    const starts = new LevelStarts(levels);
    const seenIn = async (name: string, excludeHeldStates: boolean) => {
      const config = tinyConfig({ ...shared, sft: { epochs: 1, validationLevels: 0, excludeHeldStates } });
      const { folder, results: written } = await train(config, { root, name });
      const file = await asyncBufferFromFile(rowsFile(RunFolder.open(folder), "spa/self-play"));
      const rows = await parquetReadObjects({ file });
      const seen = starts.among(writtenStates(rows.map(({ response }) => response)));
      expect(written.levels?.test.seenInTraining).toBe(seen.length);
      expect(readResults(folder)?.levels?.test.seenInTraining).toBe(seen.length);
      return { seen: seen.length, rows: rows.length };
    };
    const [all, some] = [await seenIn("seen", false), await seenIn("unseen", true)];
    expect(all.seen).toBeGreaterThan(0);
    expect(some.seen).toBe(0);
    expect(some.rows).toBeLessThan(all.rows);
  });
});

describe("ablations", () => {
  it("play self-play at random", async () => {
    const model = { kind: "pretrained", path: latestCheckpoint(run, "base")?.folder };
    const selfPlay = { policy: "random" };
    const config = tinyConfig({ arms: ["spa"], model, selfPlay, sft: { epochs: 1 }, ppo: { steps: 1 } });
    const { folder } = await train(config, { root, name: "random" });
    const [row] = RunFolder.open(folder)
      .metrics.read()
      .filter(({ stage }) => stage === "spa/self-play");
    expect(row).toMatchObject({
      format_rate: 1,
      observation_accuracy: 1,
      prediction_accuracy: 0,
      examples: 24,
    });
  });

  it("write other states of the environment into the data, the same each time", async () => {
    const model = { kind: "pretrained", path: latestCheckpoint(run, "base")?.folder };
    const config = tinyConfig({
      arms: ["spa"],
      model,
      selfPlay: { policy: "random" },
      sft: { states: "random", epochs: 1 },
      ppo: { steps: 1 },
    });
    const examplesOf = async (name: string) => {
      const { folder } = await train(config, { root, name });
      return readExamples(examplesFile(RunFolder.open(folder), "spa/self-play"));
    };
    const examples = await examplesOf("random-states");
    expect(examples).toHaveLength(24);
    expect(await examplesOf("random-states-again")).toEqual(examples);
  });
});

describe("what is no configuration", () => {
  it.each([train, estimate] as ((given: unknown) => Promise<unknown>)[])(
    "is refused by %o",
    async (begin) => {
      expect((await rejection(begin("nano-sokoban"))).code).toBe("BAD_ARGUMENT");
      expect((await rejection(begin({ seed: -1 }))).message).toContain(
        "seed is -1; it must be a whole number",
      );
    },
  );
});

describe("estimate", () => {
  it("comes near what the run took", async () => {
    const { stages, parameters, memory } = await estimate(run.config);
    expect(stages.map(({ id }) => id)).toEqual(run.stages.map(({ id }) => id));
    await using engine = await Engine.create({ device: "cpu", threads: 1 });
    await using model = await engine.loadModel(latestCheckpoint(run, "base")?.folder ?? "");
    expect(parameters).toBe(model.parameterCount);
    expect(memory.stages.map(({ stage }) => stage)).toEqual(["base", "self-play", "sft", "ppo", "evaluate"]);
    expect(memory.peak).toBeGreaterThan(4 * parameters);
    const base = run.stage("base")?.tokensTrained ?? 0;
    const estimated = stages.find(({ id }) => id === "base")?.tokensTrained ?? 0;
    expect(estimated / base).toBeGreaterThan(0.5);
    expect(estimated / base).toBeLessThan(2);
  });
});
