import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Config } from "../../lib/config/schema.ts";
import { stagesWork } from "../../lib/memory/stage-memory.ts";
import { resume, train } from "../../lib/pipeline.ts";
import { latestCheckpoint } from "../../lib/run/checkpoint.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { outcomeOf, snapshotRun, tinyConfig, tinySettings, watchingProgress } from "./tiny-run.ts";

const root = mkdtempSync(join(tmpdir(), "spa-critic-free-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const stage = "format-only/ppo";

/** The folder of a base model that answers in form. */
let base: string;
beforeAll(async () => {
  const settings = { arms: ["format-only"], ppo: { steps: 1, validateEvery: 0 } };
  const { folder } = await train(tinyConfig(settings), { root, name: "base" });
  base = latestCheckpoint(RunFolder.open(folder), "base")?.folder ?? "";
});

function configOf(advantage: Record<string, unknown>): Config {
  const ppo = { steps: 3, validateEvery: 0, critic: "none", advantage, rewards: { placement: "turn" } };
  return tinyConfig({
    arms: ["format-only"],
    model: { kind: "pretrained", path: base },
    levels: { testLevels: 2, tuningLevels: 2 },
    ppo: { ...tinySettings.ppo, ...ppo },
  });
}

describe.each([
  { estimator: "grpo" },
  { estimator: "grpo", divideByDeviation: false },
  { estimator: "rloo" },
  { estimator: "reinforce++" },
  { estimator: "gigpo" },
])("a whole run with $estimator", (advantage) => {
  it("trains without a critic, and comes to the same numbers when it was killed and goes on", async () => {
    const name = Object.values(advantage).join("-").replaceAll("+", "p");
    const folder = join(root, name);
    const copy = join(root, `${name}-killed`);
    const progress = watchingProgress((id, done) => {
      if (id === stage && done === 3) snapshotRun(folder, copy);
    });
    await train(configOf(advantage), { root, name, progress });
    const rows = RunFolder.open(folder)
      .metrics.read()
      .filter((row) => row.stage === stage);
    expect(rows).toHaveLength(3);
    for (const row of rows) {
      expect(row.updates).toBeGreaterThan(0);
      expect(row.value_loss).toBeUndefined();
    }
    expect(rows.some(({ grad_norm: norm }) => (norm as number) > 0)).toBe(true);
    const checkpoint = latestCheckpoint(RunFolder.open(folder), stage);
    expect(checkpoint?.criticFolder).toBeUndefined();
    expect(existsSync(join(checkpoint?.folder ?? "", "trainer", "critic-optimizer.safetensors"))).toBe(false);

    await resume(copy);
    expect(outcomeOf(copy)).toEqual(outcomeOf(folder));
  });
});

it("plans the memory of the policy alone", () => {
  const work = stagesWork(configOf({ estimator: "grpo" }), 16).find(({ stage }) => stage === "ppo");
  expect(work).toMatchObject({ models: 1, trained: 1 });
});
