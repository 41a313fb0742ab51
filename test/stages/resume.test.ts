import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { resume, train } from "../../lib/pipeline.ts";
import { latestCheckpoint } from "../../lib/run/checkpoint.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { outcomeOf, snapshotRun, tinyConfig, watchingProgress } from "./tiny-run.ts";

const root = mkdtempSync(join(tmpdir(), "spa-resume-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** What a run without interruption comes to. */
let whole: Record<string, unknown>;
beforeAll(async () => {
  whole = outcomeOf((await train(tinyConfig(), { root, name: "whole" })).folder);
});

/** Stops a run during the step `at` of `stage`, goes on with it, and returns what it came to. */
async function interrupted(name: string, stage: string, at: number): Promise<Record<string, unknown>> {
  const controller = new AbortController();
  const progress = watchingProgress((id, done) => {
    if (id === stage && done >= at) controller.abort();
  });
  const run = train(tinyConfig(), { root, name, progress, signal: controller.signal });
  await expect(run).rejects.toMatchObject({ code: "ABORTED" });
  const folder = join(root, name);
  expect(RunFolder.open(folder).stage(stage)?.state).toBe("running");
  await resume(folder);
  return outcomeOf(folder);
}

describe("a run that was killed and goes on", () => {
  const kills: [stage: string, step: number][] = [
    ["base", 40],
    ["spa/sft", 3],
    ["spa/ppo", 1],
    ["spa/ppo", 5],
    ["control/ppo", 4],
  ];
  it("comes to the same numbers from what stood on the disk at any step", async () => {
    const folder = join(root, "killed");
    const copies: string[] = [];
    const progress = watchingProgress((stage, done) => {
      if (!kills.some(([id, step]) => id === stage && step === done)) return;
      const copy = join(root, `killed-${stage.replace("/", "-")}-${done}`);
      snapshotRun(folder, copy);
      copies.push(copy);
    });
    await train(tinyConfig(), { root, name: "killed", progress });
    expect(outcomeOf(folder)).toEqual(whole);
    expect(copies).toHaveLength(kills.length);
    for (const copy of copies) {
      await resume(copy);
      expect(outcomeOf(copy)).toEqual(whole);
    }
  });
});

describe("a run that was stopped and goes on", () => {
  const stops: [stage: string, step: number][] = [
    ["base", 10],
    ["spa/self-play", 5],
    ["spa/sft", 4],
    ["spa/ppo", 3],
    ["control/ppo", 1],
    ["evaluate/sft", 1],
  ];
  for (const [stage, step] of stops) {
    it(`comes to the same numbers when it was stopped in ${stage}`, async () => {
      const outcome = await interrupted(stage.replace("/", "-"), stage, step);
      expect(outcome).toMatchObject({
        metrics: whole.metrics,
        evaluations: whole.evaluations,
        costs: whole.costs,
        trajectories: whole.trajectories,
      });
      // A stop adds a checkpoint of its own: those that both runs have are the same.
      const weights = new Map(outcome.weights as [string, string][]);
      const shared = (whole.weights as [string, string][]).filter(([name]) => weights.has(name));
      expect(shared.length).toBeGreaterThan(3);
      for (const [name, digest] of shared) expect([name, weights.get(name)]).toEqual([name, digest]);
    });
  }

  it("saves the step that was under way", async () => {
    const controller = new AbortController();
    const progress = watchingProgress((id, done) => {
      if (id === "base" && done === 9) controller.abort();
    });
    const name = "saved";
    await expect(
      train(tinyConfig(), { root, name, progress, signal: controller.signal }),
    ).rejects.toMatchObject({
      code: "ABORTED",
      message: "stopped after step 9 of base, which is saved",
    });
    expect(latestCheckpoint(RunFolder.open(join(root, name)), "base")?.step).toBe(9);
  });

  it("does nothing again that is done", async () => {
    const seen: string[] = [];
    await resume(join(root, "whole"), { progress: watchingProgress((id) => seen.push(id)) });
    expect(seen).toEqual([]);
    expect(outcomeOf(join(root, "whole"))).toEqual(whole);
  });
});
