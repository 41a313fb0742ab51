import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Json } from "../../envs/environment.ts";
import { configSchema } from "../../lib/config/schema.ts";
import { acquireLock } from "../../lib/files/lock.ts";
import { readResults } from "../../lib/run/results.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { results } from "../report/example-run.ts";
import { errorOf } from "../thrown-error.ts";

const config = configSchema.parse({ preset: "test" });
let root: string;
let run: RunFolder;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "spa-foreign-"));
  run = RunFolder.create(config, { root, name: "run" });
  mkdirSync(join(root, "precious", "trainer"), { recursive: true });
  writeFileSync(join(root, "precious", "letter"), "dear");
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function editLedger(change: object): void {
  const ledger = JSON.parse(readFileSync(run.file("run.json"), "utf8"));
  writeFileSync(run.file("run.json"), JSON.stringify({ ...ledger, ...change }));
}

const checkpoint = (name: string, stage = "base", step = 1) => ({ name, stage, step, training: false });

test.each([
  ["../../precious"],
  ["../run/../../precious"],
  ["/tmp"],
  ["."],
  [".."],
  [""],
  ["base-2"],
  ["base-1/../../../precious"],
])("a checkpoint named %j is refused when it is read, and nothing is removed", (name) => {
  editLedger({ checkpoints: [checkpoint(name)] });
  const error = errorOf(() => RunFolder.open(run.path));
  expect(error.code).toBe("BAD_CHECKPOINT");
  expect(error.message).toContain("run.json: checkpoints.0.name: ");
  expect(readdirSync(join(root, "precious"))).toEqual(["letter", "trainer"]);
});

test.each(["..", "../x", "a/../b", "/a", "a//b", "", "a\0b", "a b"])(
  "a stage with the id %j is refused",
  (id) => {
    const stage = { id, state: "done", seconds: 0, tokensSampled: 0, tokensTrained: 0 };
    editLedger({ stages: [stage] });
    expect(errorOf(() => RunFolder.open(run.path)).message).toContain("run.json: stages.0.id: ");
    const whole = RunFolder.create(config, { root, name: "whole" });
    using _lock = whole.lock();
    expect(errorOf(() => whole.beginStage(id)).code).toBe("BAD_ARGUMENT");
  },
);

test("links out of the folder are refused before anything is cut or removed", () => {
  const places: [string, string][] = [
    ["checkpoints", "precious"],
    ["metrics.jsonl", "precious/letter"],
    ["trajectories/base.jsonl", "precious/letter"],
    ["checkpoints/base-1", "precious"],
  ];
  for (const [place, target] of places) {
    const own = `${run.file(place)}.own`;
    if (existsSync(run.file(place))) renameSync(run.file(place), own);
    symlinkSync(join(root, target), run.file(place));
    editLedger({ checkpoints: [checkpoint("base-1")] });
    const error = errorOf(() => run.lock());
    expect([error.code, error.message]).toEqual(["BAD_CHECKPOINT", expect.stringContaining(run.file(place))]);
    expect(readdirSync(join(root, "precious"))).toEqual(["letter", "trainer"]);
    expect(readFileSync(join(root, "precious", "letter"), "utf8")).toBe("dear");
    rmSync(run.file(place));
    if (existsSync(own)) renameSync(own, run.file(place));
  }
  symlinkSync(run.path, join(root, "link"));
  RunFolder.open(join(root, "link")).lock()[Symbol.dispose]();
});

test("a folder whose maker was killed is no run, and goes when the next one is made; one that is being made stays", () => {
  const abandoned = join(root, ".killed.1.partial");
  mkdirSync(abandoned);
  writeFileSync(join(abandoned, "run.json"), JSON.stringify({ created: "2999-01-01T00:00:00Z" }));
  const alive = join(root, ".alive.1.partial");
  mkdirSync(alive);
  using _lock = acquireLock(alive);
  expect(RunFolder.latest(root)).toBe(run.path);
  expect(errorOf(() => RunFolder.open(abandoned)).message).toContain("is unfinished");
  const next = RunFolder.create(config, { root, name: "next" });
  expect(readdirSync(root).sort()).toEqual([".alive.1.partial", "next", "precious", "run"]);
  expect(readdirSync(next.path)).not.toContain("lock.1");
});

test("results of another shape are refused by file and field", () => {
  const file = run.file("results.json");
  expect(readResults(run.path)).toBeUndefined();
  run.writeResults(results as unknown as Json);
  expect(readResults(run.path)).toEqual(results);
  const { spa } = results.evaluations;
  for (const [content, field] of [
    [{ ...results, evaluations: [] }, "evaluations"],
    [{ ...results, evaluations: { spa: null } }, "evaluations.spa"],
    [{ ...results, evaluations: { spa: { ...spa, passAt1: "x" } } }, "evaluations.spa.passAt1"],
    [{ ...results, evaluations: { spa: { ...spa, ci95: {} } } }, "evaluations.spa.ci95.passAt1"],
    [
      { ...results, evaluations: { spa: { ...spa, byDistance: { 1: {} } } } },
      "evaluations.spa.byDistance.1.passAt1",
    ],
    [{ ...results, stages: {} }, "stages"],
    [[], "the content"],
    [null, "the content"],
  ] as const) {
    writeFileSync(file, JSON.stringify(content));
    const error = errorOf(() => readResults(run.path));
    expect([error.code, error.message]).toEqual([
      "BAD_CHECKPOINT",
      expect.stringContaining(`${file}: ${field}: `),
    ]);
  }
  writeFileSync(file, "{");
  expect(errorOf(() => readResults(run.path)).message).toContain("is not JSON");
});
