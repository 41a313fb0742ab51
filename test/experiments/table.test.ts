import { expect, test } from "vitest";
import type { ExperimentResults, ResultRow } from "../../lib/experiments/results.ts";
import {
  differenceTable,
  distanceTable,
  perplexityTable,
  resultTable,
  settingsTable,
  shownKs,
  toMarkdown,
} from "../../lib/experiments/table.ts";

const estimate = (mean: number, ...interval: [number, number]) => ({ mean, interval, seeds: [mean] });
const none = { observation: null, prediction: null, predictionChanged: null };

function row(changes: Partial<ResultRow>): ResultRow {
  return {
    name: "random",
    about: "",
    seeds: [1, 2],
    levels: 4,
    samples: 8,
    passAt: {
      "1": estimate(0.125, 0.1, 0.15),
      "2": estimate(0.2, 0.1, 0.3),
      "8": estimate(1, 0.9, 1),
      "64": estimate(1, 1, 1),
    },
    formatRate: estimate(1, 1, 1),
    observation: null,
    prediction: null,
    predictionChanged: null,
    nats: none,
    perplexity: none,
    byDistance: { "1": { passAt1: 0.5, levels: 3 }, "2": { passAt1: 0, levels: 1 } },
    cost: null,
    ...changes,
  };
}

const spa = row({
  name: "spa",
  seeds: [1],
  prediction: estimate(0.5, 0.4, 0.6),
  nats: { ...none, observation: estimate(3.25, 3, 4) },
  perplexity: { ...none, observation: estimate(1.5, 1, 2) },
  cost: { tokensSampled: 1_250_000, tokensTrained: 400_000, seconds: 60 },
});

const results: ExperimentResults = {
  experiment: "main",
  claim: "",
  source: "",
  about: "",
  package: "",
  preset: "",
  settings: [],
  seeds: [1, 2],
  passAt: null,
  rows: [row({}), spa],
  differences: [
    {
      row: "spa",
      against: "random",
      passAt: { "1": { mean: -0.05, interval: [-0.1, 0.01] }, "8": { mean: 0.25, interval: [0.2, 0.3] } },
    },
  ],
  curves: [],
  arms: { spa: { about: "all of it", settings: { "ppo.mask": "answer", "base.also": [1] }, folders: [] } },
  tuning: null,
  missing: [],
};

test("Pass@1 and Pass@8 unless others are asked for", () => {
  expect(shownKs(results)).toEqual([1, 8]);
  expect(shownKs({ ...results, passAt: [2, 64, 3] })).toEqual([2, 64]);
});

test("rates with intervals, dashes for what does not apply, cost in millions", () => {
  const { rows } = resultTable(results, [1, 8]);
  expect(rows).toEqual([
    ["random", ".125 [.100, .150]", "1.000 [.900, 1.000]", "1.000", "–", "–", "–", "–", "2"],
    ["spa", ".125 [.100, .150]", "1.000 [.900, 1.000]", "1.000", "–", ".500", "–", "1.25M + 0.40M", "1"],
  ]);
});

test("differences have signs", () => {
  expect(differenceTable(results, [1, 8]).rows).toEqual([
    ["spa", "random", "-.050 [-.100, .010]", "+.250 [.200, .300]"],
  ]);
});

test("distances with the number of levels", () => {
  expect(distanceTable(results)).toEqual({
    header: ["Pass@1 at distance", "1", "2"],
    rows: [
      ["levels", "3", "1"],
      ["random", ".500", ".000"],
      ["spa", ".500", ".000"],
    ],
  });
});

test("where nothing has been evaluated no table has a row", () => {
  const nothing = { ...results, rows: [], differences: [] };
  expect(shownKs(nothing)).toEqual([]);
  const tables = [resultTable(nothing, []), differenceTable(nothing, []), distanceTable(nothing)];
  expect([...tables, perplexityTable(nothing)].map(({ rows }) => rows)).toEqual([[], [], [], []]);
});

test("perplexity of those that were measured", () => {
  expect(perplexityTable(results).rows).toEqual([["spa", "3.25 (1.50)", "–", "–"]]);
});

test("settings as they are typed, in Markdown", () => {
  expect(toMarkdown(settingsTable(results.arms))).toBe(
    "| arm | what it is | settings of its own |\n| --- | --- | --- |\n| spa | all of it | ppo.mask=answer base.also=[1] |",
  );
});
