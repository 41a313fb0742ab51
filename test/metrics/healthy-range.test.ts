import { expect, test } from "vitest";
import { catalogue } from "../../lib/metrics/catalogue.ts";
import { describeRange, isHealthy, type Metric } from "../../lib/metrics/metric.ts";

test("the bounds of a range are those that the documentation names", () => {
  const metrics: readonly Metric[] = Object.values(catalogue).flat();
  const ranged = metrics.filter(({ range }) => range !== undefined);
  expect(ranged.length).toBeGreaterThan(10);
  for (const { name, range, healthy } of ranged) {
    const named = Array.from(healthy?.matchAll(/\d+(\.\d+)?(e-?\d+)?/g) ?? [], ([text]) => Number(text));
    for (const bound of [range?.low, range?.high]) {
      if (bound !== undefined) expect(named, name).toContain(bound);
    }
  }
});

test("bounds are within the range; a bound that is left out is none", () => {
  expect([0.05, 0.051, -9].map((value) => isHealthy(value, { high: 0.05 }))).toEqual([true, false, true]);
  expect([1, 2, 3, 0].map((value) => isHealthy(value, { low: 1, high: 2 }))).toEqual([
    true,
    true,
    false,
    false,
  ]);
  expect([{ high: 0.2 }, { low: 0.95 }, { low: 1, high: 2 }].map(describeRange)).toEqual([
    "below 0.2",
    "above 0.95",
    "1 to 2",
  ]);
});
