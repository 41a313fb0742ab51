import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Environment } from "../../envs/environment.ts";
import { createEnvironment, registerEnvironment } from "../../envs/index.ts";
import { checkConfig, loadConfig } from "../../lib/config/load.ts";
import type { Config } from "../../lib/config/schema.ts";
import { createRun, estimate, resume, train } from "../../lib/pipeline.ts";
import { renderPage } from "../../lib/report/page.ts";
import { latestCheckpoint } from "../../lib/run/checkpoint.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { openSourceStage } from "../../lib/stages/source-stage.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";
import { rejection } from "../thrown-error.ts";
import { outcomeOf, scratchFolder, tinyConfig, tinySettings, watchingProgress } from "./tiny-run.ts";

const root = mkdtempSync(join(tmpdir(), "spa-start-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** The run that others start from: its critic shares the policy's weights, so its PPO stage ends with a value head. */
let source: string;
beforeAll(async () => {
  const ppo = { steps: 2, validateEvery: 0, critic: "shared" };
  const settings = { arms: ["spa"], ppo, sft: { epochs: 1, validationLevels: 0 } };
  source = (await train(tinyConfig(settings), { root, name: "source" })).folder;
});

const tokenizer = nanoTokenizer();
const short = { ppo: { steps: 2, validateEvery: 0 }, levels: { testLevels: 2, tuningLevels: 2 } };

function startedConfig(stage: string | null, changes: Record<string, unknown> = {}, run = source): Config {
  return tinyConfig({ ...short, model: { kind: "stage", run, stage }, ...changes });
}

/** Frozen lakes with symbols of their own. */
function garden(): Environment {
  const lake = createEnvironment("frozen-lake", { size: 3, slippery: false });
  const planted = (text: string) => text.replaceAll("O", "♣");
  return {
    name: "garden",
    actions: lake.actions,
    instructions: () => "Go.",
    reset: async ({ level, ...options } = {}) =>
      planted(await lake.reset({ ...options, ...(level && { level: level.replaceAll("♣", "O") }) })),
    step: async (action) => {
      const result = await lake.step(action);
      return { ...result, observation: planted(result.observation) };
    },
    render: (mode) => planted(lake.render(mode)),
    state: () => lake.state(),
    restore: (state) => lake.restore(state),
  };
}

registerEnvironment("garden", garden);

const larger = { environment: { name: "frozen-lake", options: { size: 4, slippery: false } } };

describe("a run that starts from another run's stage", () => {
  it("begins every arm there, on larger levels, and notes where", async () => {
    const config = startedConfig("spa/sft", { ...larger, arms: ["control", "format-only"] });
    const { folder, results } = await train(config, { root, name: "arms" });
    const run = RunFolder.open(folder);
    const { state } = RunFolder.open(source).checkpoints.find(({ stage }) => stage === "spa/sft")!;
    expect(run.config.model).toEqual({ kind: "stage", run: source, stage: "spa/sft", digest: state!.sha256 });
    expect(run.stages.map(({ id }) => id)).toEqual([
      "evaluate/random",
      "evaluate/base",
      "evaluate/baseWorldModel",
      "control/ppo",
      "evaluate/control",
      "format-only/ppo",
      "evaluate/formatOnly",
    ]);
    // The two arms differ in the form of their turns alone.
    const said = (stage: string) => tokenizer.decode(run.trajectories(stage).read()[0].tokens);
    expect(said("format-only/ppo")).toContain("user\nPredict the next state and act");
    expect(said("control/ppo")).toContain("user\nThink and act");
    expect(renderPage(run, results)).toContain(`starts from spa/sft of ${source}`);
    const estimated = await estimate(run.config);
    expect(estimated.stages.map(({ id }) => id)).toEqual(run.stages.map(({ id }) => id));
  });

  it("must know what the environment writes", async () => {
    const garden = { environment: { name: "garden" } };
    const refused = await rejection(createRun(startedConfig("base", garden), { root, name: "garden" }));
    const message = `the vocabulary of ${source} lacks "♣", "(♣)", "holes", which garden writes`;
    expect([refused.code, refused.message]).toEqual(["BAD_TOKENIZER", message]);
    const wide = { environment: { name: "frozen-lake", options: { size: 12, slippery: false } } };
    const protocol = { ...tinySettings.protocol, maxTokens: 1000, maxNewTokens: 500 };
    const notes: string[] = [];
    const progress = { ...watchingProgress(() => {}), note: (text: string) => notes.push(text) };
    await createRun(startedConfig("base", { ...wide, protocol }), { root, name: "wide", progress });
    expect(notes.join()).toMatch(/warning: the vocabulary of .* lacks .*, which frozen-lake writes/);
  });

  it("takes the policy of a stage without its critic", async () => {
    const config = startedConfig("spa/ppo", { arms: ["format-only"] });
    const run = RunFolder.open((await train(config, { root, name: "policy" })).folder);
    const hasHead = (folder: RunFolder, stage: string) =>
      readFileSync(join(latestCheckpoint(folder, stage)!.folder, "model.safetensors")).includes("value_head");
    expect(hasHead(RunFolder.open(source), "spa/ppo")).toBe(true);
    expect(hasHead(run, "format-only/ppo")).toBe(false);
  });

  it("trains adapters on it", async () => {
    const config = startedConfig("base", { arms: ["format-only"], lora: { rank: 2 } });
    const run = RunFolder.open((await train(config, { root, name: "lora" })).folder);
    const { folder } = latestCheckpoint(run, "format-only/ppo")!;
    const adapter = JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8"));
    const base = latestCheckpoint(RunFolder.open(source), "base")!;
    expect(adapter.base_model_name_or_path).toBe(base.folder);
    const refused = await rejection(createRun(startedConfig("format-only/ppo", {}, run.path), { root }));
    expect(refused).toMatchObject({
      code: "UNSUPPORTED",
      hint: expect.stringContaining(`spa export ${run.path} --stage format-only/ppo`),
    });
  });

  it("goes on after a stop to the same numbers, and not from another checkpoint", async () => {
    const copy = join(scratchFolder(), "copy");
    cpSync(source, copy, { recursive: true });
    const config = startedConfig("base", { arms: ["format-only"] }, copy);
    const whole = outcomeOf((await train(config, { root, name: "whole" })).folder);
    const controller = new AbortController();
    const progress = watchingProgress((id, done) => {
      if (id === "format-only/ppo" && done === 1) controller.abort();
    });
    const stopped = train(config, { root, name: "stopped", progress, signal: controller.signal });
    expect((await rejection(stopped)).code).toBe("ABORTED");
    const folder = join(root, "stopped");
    renameSync(copy, `${copy}-moved`);
    expect(await rejection(resume(folder))).toMatchObject({
      code: "BAD_CHECKPOINT",
      message: `the run starts from base of ${copy}, which does not exist`,
      hint: expect.stringContaining("model.run"),
    });
    // Another base in its place.
    const other = await train(tinyConfig({ ...short, seed: 6, arms: ["format-only"] }), {
      root,
      name: "other",
    });
    cpSync(other.folder, copy, { recursive: true });
    const message = expect.stringContaining("is not the checkpoint that the run started from");
    expect(await rejection(resume(folder))).toMatchObject({ code: "BAD_CHECKPOINT", message });
    rmSync(copy, { recursive: true });
    renameSync(`${copy}-moved`, copy);
    await resume(folder);
    expect(outcomeOf(folder)).toMatchObject({ metrics: whole.metrics, evaluations: whole.evaluations });
  });
});

describe("the stage to start from", () => {
  const open = (run: string, stage: string | null) => () =>
    openSourceStage({ kind: "stage", run, stage, digest: null });

  it("is named by run folder and stage, in place of a model", () => {
    const model = { kind: "stage", run: "runs/a#1", stage: "spa/sft", digest: null };
    expect(loadConfig("nano-sokoban", ["start=runs/a#1#spa/sft"]).model).toEqual(model);
    expect(checkConfig({ start: "runs/a#1#spa/sft" }).model).toEqual(model);
    expect(loadConfig("nano-sokoban", ["start=runs/a"]).model).toMatchObject({ run: "runs/a", stage: null });
    expect(() => loadConfig("nano-sokoban", ["start=3"])).toThrow(
      "start=3: model.run is 3; it must be a text",
    );
    expect(() => checkConfig({ start: "runs/a#base", model: "Qwen/Qwen3-0.6B" })).toThrow(
      "start stands beside model",
    );
  });

  it("must be finished, and named", () => {
    const stages = `finished stages: base, spa/sft, spa/ppo; write start=${source}#spa/ppo`;
    expect(open(source, null)).toThrow(
      expect.objectContaining({
        code: "UNKNOWN_NAME",
        message: `a run starts from a stage of ${source}, and none is named`,
        hint: stages,
      }),
    );
    expect(open(source, "spa/stf")).toThrow(
      expect.objectContaining({
        message: `${source} has not finished a stage "spa/stf" with a checkpoint; did you mean "spa/sft"?`,
        hint: stages,
      }),
    );
    expect(open(source, "spa/self-play")).toThrow("has not finished a stage");
    expect(open(join(root, "none"), "base")).toThrow("which does not exist");
    expect(open(root, "base")).toThrow("is no run folder");
  });
});
