import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { comparisonTable } from "../../lib/cli/compare.ts";
import type { Results } from "../../lib/run/results.ts";
import type { Evaluation } from "../../lib/stages/evaluate.ts";
import { spa } from "./spa.ts";

function evaluation(passAt1: number, passAt8: number, prediction: number | null): Evaluation {
  return {
    passAt1,
    passAt8,
    ci95: { passAt1: [0, 1], passAt8: [0, 1] },
    formatRate: 1,
    observationAccuracy: prediction,
    predictionAccuracy: prediction,
    predictionAccuracyChanged: prediction,
    byDistance: {},
    levels: 2,
    samples: 8,
  };
}

const runs: Results[] = [
  {
    preset: "p",
    seed: 1,
    stages: [],
    evaluations: { spa: evaluation(0.5, 0.75, 0.4), random: evaluation(0.1, 0.2, null) },
  },
  { preset: "p", seed: 2, stages: [], evaluations: { spa: evaluation(0.7, 0.85, 0.6) } },
];

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "spa-compare-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("a line a policy, mean and single runs", () => {
  expect(comparisonTable(runs).split("\n").slice(2)).toEqual([
    "| random | **.100** (.100 / –) | **.200** (.200 / –) | **–** (– / –) | **–** (– / –) | **–** (– / –) |",
    "| spa | **.600** (.500 / .700) | **.800** (.750 / .850) | **.500** (.400 / .600) | **.500** (.400 / .600) | **.500** (.400 / .600) |",
  ]);
});

test("the command reads run folders, and names one without results", async () => {
  mkdirSync(join(folder, "a"));
  writeFileSync(join(folder, "a", "results.json"), JSON.stringify(runs[0]));
  const { code, stdout } = await spa(folder, ["compare", "a"]);
  expect(code).toBe(0);
  expect(stdout).toContain("| spa | **.500** (.500)");
  const missing = await spa(folder, ["compare", "b"]);
  expect(missing.code).toBe(4);
  expect(missing.stderr).toContain("results.json cannot be read");
});
