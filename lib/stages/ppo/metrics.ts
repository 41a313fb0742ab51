import { type Combination, type StepMetrics, stepMetricEntries } from "../../metrics/step-metrics.ts";

const combine: Readonly<Record<Combination, (values: readonly number[]) => number>> = {
  mean: (values) => sum(values) / values.length,
  max: (values) => Math.max(...values),
  sum,
};

/** The figures of a step's updates as metrics.jsonl has them, and how many updates there were. */
export function updateMetrics(updates: readonly StepMetrics[]): Record<string, number | undefined> {
  const figures = stepMetricEntries.flatMap(([key, { name, over }]) => {
    const values = updates.flatMap((update) => update[key] ?? []);
    return over === undefined || values.length === 0 ? [] : [[name, combine[over](values)] as const];
  });
  const { tokens_trained, ...others } = Object.fromEntries(figures);
  return { ...others, updates: updates.length, tokens_trained };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
