// A run within a budget: planned before it starts, kept in the run folder, enforced while it runs.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { planMemory } from "../../lib/memory/plan.ts";
import { createRun, runStage, train, withRun } from "../../lib/pipeline.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { prepareModel } from "../../lib/stages/prepare-model.ts";
import { modelFolder, scheduleStages } from "../../lib/stages/schedule.ts";
import type { SftExample } from "../../lib/stages/sft/examples.ts";
import { sft } from "../../lib/stages/sft/sft.ts";
import { MicroBatchWatch } from "../../lib/stages/training.ts";
import { Role } from "../../lib/text/roles.ts";
import { failure } from "../engine/fixtures.ts";
import { scratchFolder, tinyConfig, tinySettings } from "./tiny-run.ts";

const { rolloutSlots: _, ...engine } = tinySettings.engine;

test("no stage of a run takes more than was planned", async () => {
  const root = scratchFolder();
  const config = tinyConfig({ engine: { rolloutSlots: "auto", memory: "40MB" }, arms: ["spa"] });
  const { shape } = await prepareModel(config);
  const plan = planMemory(config, shape, 40e6);
  expect(plan.fits).toBe(true);
  const run = RunFolder.create(config, { root, name: "planned" });
  await withRun(run.path, {}, async (context) => {
    expect(context.config.engine.rolloutSlots).toBe(plan.settings.rolloutSlots);
    expect((await context.engine.memory()).limit).toBe(40e6);
    const before = (await context.engine.memory()).current;
    for (const stage of scheduleStages(context.config)) {
      await context.engine.resetPeakMemory();
      await runStage(context, stage);
      const taken = (await context.engine.memory()).peak - before;
      const predicted = plan.stages.find((one) => one.stage === stage.kind)!.peak;
      // Episodes are shorter than the context that is planned with.
      expect(taken, stage.id).toBeLessThan(1.1 * predicted);
      if (stage.kind === "ppo") expect(taken).toBeGreaterThan(0.3 * predicted);
    }
  });
});

test("SFT on examples as long as the context takes what was planned, within 10 %", async () => {
  const root = scratchFolder();
  const config = tinyConfig({
    engine: { microBatchTokens: 800 },
    base: { steps: 2 },
    sft: { validationLevels: 0, validationShare: 0 },
    arms: ["spa"],
  });
  const { shape } = await prepareModel(config);
  const plan = planMemory(config, shape, null);
  const run = RunFolder.create(config, { root, name: "full" });
  await withRun(run.path, {}, async (context) => {
    const before = (await context.engine.memory()).current;
    const base = scheduleStages(context.config).find(({ kind }) => kind === "base")!;
    await runStage(context, base);
    const { maxTokens } = config.protocol;
    const examples = Array.from(
      { length: 8 },
      (_, trajectory): SftExample => ({
        trajectory,
        split: "train",
        tokens: new Int32Array(maxTokens).fill(trajectory + 5),
        roles: new Uint8Array(maxTokens).fill(Role.reasoning),
        trainable: new Uint8Array(maxTokens).fill(1),
        changed: new Uint8Array(maxTokens),
        segments: [0],
      }),
    );
    await context.engine.resetPeakMemory();
    await sft(context, { id: "spa/sft", source: modelFolder(context, base.id), examples });
    const { peak: predicted } = plan.stages.find(({ stage }) => stage === "sft")!;
    const ratio = predicted / ((await context.engine.memory()).peak - before);
    expect(ratio).toBeGreaterThan(0.9);
    expect(ratio).toBeLessThan(1.1);
  });
});

test("the run folder keeps the numbers that were chosen", async () => {
  const root = scratchFolder();
  const config = tinyConfig({ engine: { ...engine, rolloutSlots: "auto", memory: 30e6 } });
  await createRun(config, { root, name: "kept" });
  const kept = RunFolder.open(join(root, "kept")).config.engine;
  expect(kept.rolloutSlots).toEqual(expect.any(Number));
  expect(kept.microBatchTokens).toEqual(expect.any(Number));
  expect(kept.activationCheckpointing).toEqual(expect.any(Boolean));
  expect(kept.memory).toBe(30e6);
});

test("a run that cannot fit is refused before there is a folder", async () => {
  const root = scratchFolder();
  const config = tinyConfig({ engine: { memory: "100KB" } });
  const error = await failure(train(config, { root, name: "none" }), "OUT_OF_MEMORY");
  expect(error.message).toContain("engine.memory");
  expect(error.hint).toMatch(/engine\.memory=\d+MB or more/);
  expect(existsSync(join(root, "none"))).toBe(false);
});

test("smaller micro-batches are told of once", () => {
  const notes: string[] = [];
  const progress = {
    stage: () => {},
    tick: () => {},
    note: (text: string) => notes.push(text),
    done: () => {},
  };
  const watch = new MicroBatchWatch(progress, "spa/sft");
  watch.see(1, {});
  watch.see(2, { microBatchTokens: 512 });
  watch.see(3, { microBatchTokens: 512 });
  watch.see(4, { microBatchTokens: 256 });
  expect(notes).toHaveLength(2);
  expect(notes[0]).toContain("spa/sft, step 2");
  expect(notes[0]).toContain("512 tokens");
});
