import { expect, test } from "vitest";
import { catalogue } from "../../lib/metrics/catalogue.ts";
import type { Metric } from "../../lib/metrics/metric.ts";
import { chartGroups } from "../../lib/report/chart-groups.ts";

const [ppo, sft, base] = chartGroups.map(({ charts, more }) => ({
  charts: charts.map(({ id }) => id),
  more: more.map(({ id }) => id),
}));

test("every chart has a first line, which no other of the chart claims", () => {
  for (const group of ["ppo", "supervised"] as const) {
    const metrics: readonly Metric[] = Object.values(catalogue).flat();
    const lines = metrics.flatMap(({ charts }) => charts?.[group] ?? []);
    const heads = lines.filter((line) => "title" in line).map(({ chart }) => chart);
    expect(heads).toEqual([...new Set(heads)]);
    expect(new Set(lines.map(({ chart }) => chart))).toEqual(new Set(heads));
  }
});

test("the charts and their order", () => {
  expect(ppo).toEqual({
    charts: [
      "reward",
      "success",
      "pass-at-1",
      "pass-at-{k}",
      "entropy",
      "approx-kl",
      "policy-loss",
      "value-loss",
    ],
    more: [
      "explained-variance",
      "clip-fraction",
      "grad-norm",
      "group-std",
      "groups-equal",
      "repetition",
      "first-actions",
      "reply-information",
      "format",
      "observation",
      "prediction",
      "state-reward",
      "cut",
      "response-length",
      "logprob-difference",
      "speed",
    ],
  });
  expect(sft).toEqual({
    charts: ["loss", "observation", "prediction"],
    more: ["grad-norm", "learning-rate", "speed"],
  });
  expect(base).toEqual(sft);
});

test("a chart's lines: the metric that heads it, then those with names of their own", () => {
  const chart = (id: string) => chartGroups[0].charts.find((definition) => definition.id === id);
  expect(chart("approx-kl")?.metrics).toEqual({ approx_kl: "", kl: "to the reference" });
  expect(Object.keys(chart("approx-kl")?.metrics ?? {})).toEqual(["approx_kl", "kl"]);
  expect(chart("pass-at-{k}")?.metrics).toEqual({ "validation_pass_at_{k}": "" });
  const [, observation] = chartGroups[1].charts;
  expect(observation.metrics).toEqual({ validation_observation_accuracy: "" });
});
