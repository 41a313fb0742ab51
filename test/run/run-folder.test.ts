import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { configSchema } from "../../lib/config/schema.ts";
import { SpaError } from "../../lib/errors.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";

const config = configSchema.parse({ preset: "test" });
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "spa-run-"));
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof SpaError) return error.code;
    throw error;
  }
  return "none";
}

test("a new folder holds the resolved configuration and an empty ledger, and opens again", () => {
  const run = RunFolder.create(config, { root });
  expect(run.name).toMatch(/^test-\d{8}-\d{6}$/);
  expect(readdirSync(run.path).sort()).toEqual([
    "checkpoints",
    "config.yaml",
    "data",
    "metrics.jsonl",
    "run.json",
    "trajectories",
  ]);
  const again = RunFolder.open(run.path);
  expect(again.config).toEqual(config);
  expect(again.stages).toEqual([]);
});

test("runs of the same second get folders of their own, and the last is found", () => {
  const paths = [1, 2, 3].map(() => RunFolder.create(config, { root }).path);
  expect(new Set(paths).size).toBe(3);
  expect(RunFolder.latest(root)).toBe(paths[2]);
  expect(RunFolder.latest(join(root, "none"))).toBeUndefined();
});

test("a given name is taken as it is, once", () => {
  expect(RunFolder.create(config, { root, name: "first" }).path).toBe(join(root, "first"));
  expect(codeOf(() => RunFolder.create(config, { root, name: "first" }))).toBe("BAD_ARGUMENT");
  for (const name of ["", "a/b", "..", ".hidden"]) {
    expect(codeOf(() => RunFolder.create(config, { root, name }))).toBe("BAD_ARGUMENT");
  }
});

test("the ledger records stages, and only under the lock", () => {
  const run = RunFolder.create(config, { root });
  expect(codeOf(() => run.beginStage("base"))).toBe("INTERNAL");
  {
    using _lock = run.lock();
    run.beginStage("base");
    run.beginStage("base");
    run.completeStage("base", { seconds: 3.5, tokensSampled: 0, tokensTrained: 100, loss: 0.25 });
    run.beginStage("spa/ppo");
  }
  const again = RunFolder.open(run.path);
  expect(again.stages).toEqual([
    { id: "base", state: "done", seconds: 3.5, tokensSampled: 0, tokensTrained: 100, result: { loss: 0.25 } },
    { id: "spa/ppo", state: "running", seconds: 0, tokensSampled: 0, tokensTrained: 0 },
  ]);
});

test("forgetting a stage removes its record and logs, and those of no other", () => {
  const run = RunFolder.create(config, { root });
  using _lock = run.lock();
  for (const stage of ["base", "spa/ppo"]) {
    run.beginStage(stage);
    run.metrics.append({ stage, step: 1, loss: 1 });
  }
  run.forgetStage("spa/ppo");
  expect(run.stages.map((stage) => stage.id)).toEqual(["base"]);
  expect(run.metrics.read().map((row) => row.stage)).toEqual(["base"]);
});

test("locking clears away what a killed process left", () => {
  const run = RunFolder.create(config, { root });
  writeFileSync(run.file("run.json.99.partial"), "{");
  writeFileSync(run.file("metrics.jsonl"), '{"stage":"base","step":1}\n{"stage":"ba');
  using _lock = run.lock();
  expect(existsSync(run.file("run.json.99.partial"))).toBe(false);
  expect(readFileSync(run.file("metrics.jsonl"), "utf8")).toBe('{"stage":"base","step":1}\n');
});

test("what is no run folder, a damaged one, or one of another version is refused by name", () => {
  const run = RunFolder.create(config, { root });
  const ledger = run.file("run.json");
  const whole = readFileSync(ledger, "utf8");
  expect(codeOf(() => RunFolder.open(join(root, "none")))).toBe("BAD_CHECKPOINT");
  expect(codeOf(() => RunFolder.open(root))).toBe("BAD_CHECKPOINT");
  writeFileSync(ledger, whole.slice(0, 40));
  expect(codeOf(() => RunFolder.open(run.path))).toBe("BAD_CHECKPOINT");
  writeFileSync(ledger, whole.replace('"format": 1', '"format": 2'));
  expect(codeOf(() => RunFolder.open(run.path))).toBe("RUN_VERSION");
  writeFileSync(ledger, whole.replace('"stages": []', '"stages": 7'));
  expect(codeOf(() => RunFolder.open(run.path))).toBe("BAD_CHECKPOINT");
  writeFileSync(ledger, whole);
  writeFileSync(run.file("config.yaml"), "ppo:\n  steps: ten\n");
  expect(() => RunFolder.open(run.path)).toThrow(/config\.yaml: ppo\.steps/);
});
