import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { comparisonTable } from "../../lib/cli/compare.ts";
import { type Evaluation, kOf, nameRates } from "../../lib/run/evaluation.ts";
import type { Results } from "../../lib/run/results.ts";
import { errorOf } from "../thrown-error.ts";
import { spa } from "./spa.ts";

function evaluation(passAt1: number, passAtK: number, prediction: number | null, samples = 8): Evaluation {
  const k = kOf(samples);
  return {
    ...nameRates(passAt1, passAtK, k),
    k,
    ci95: nameRates([0, 1], [0, 1], k),
    formatRate: 1,
    observationAccuracy: prediction,
    predictionAccuracy: prediction,
    predictionAccuracyChanged: prediction,
    byDistance: {},
    levels: 2,
    samples,
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

const ofSpa = (seed: number, spa: Evaluation): Results => ({
  preset: "p",
  seed,
  stages: [],
  evaluations: { spa },
});

test("a column for each k, with a dash for runs of another", () => {
  const different = [
    evaluation(0.5, 0.75, null),
    evaluation(0.7, 0.9, null, 4),
    evaluation(0.3, 0.3, null, 1),
  ];
  const [header, , row] = comparisonTable(different.map((spa, index) => ofSpa(index, spa))).split("\n");
  expect(header).toContain("| policy | Pass@1 | Pass@4 | Pass@8 | observation |");
  expect(row).toContain(
    "| spa | **.500** (.500 / .700 / .300) | **.900** (– / .900 / –) | **.750** (.750 / – / –) |",
  );
});

test("results that call every k 8 are read by their samples", () => {
  const { passAtK, k: _, ...rest } = evaluation(0.5, 0.75, null, 2);
  const earlier = { ...rest, passAt8: passAtK } as Evaluation;
  const [header, , row] = comparisonTable([ofSpa(1, earlier)]).split("\n");
  expect(header).toContain("| Pass@1 | Pass@2 | observation |");
  expect(row).toContain("| **.500** (.500) | **.750** (.750) |");
});

test("columns for the ks that are asked for, one error for a k that no run has", () => {
  const spa = { ...evaluation(0.5, 0.75, null, 3), passAt: { 1: 0.5, 2: 0.625, 3: 0.75 } };
  const [header, , row] = comparisonTable([ofSpa(1, spa), runs[1]], [2, 3, 8]).split("\n");
  expect(header).toContain("| policy | Pass@2 | Pass@3 | Pass@8 | observation |");
  expect(row).toContain("| spa | **.625** (.625 / –) | **.750** (.750 / –) | **.850** (– / .850) |");
  expect(errorOf(() => comparisonTable([ofSpa(1, spa)], [4]))).toMatchObject({
    code: "BAD_ARGUMENT",
    message: "--pass-at 4: none of the runs has Pass@4",
    hint: expect.stringContaining("k = 1, 2, 3;"),
  });
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
