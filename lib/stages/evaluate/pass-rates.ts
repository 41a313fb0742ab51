import type { SeededGenerator } from "../../rollout/seeded-generator.ts";
import type { Interval } from "../../run/evaluation.ts";

/**
 * The unbiased estimate of Pass@k from n samples of which c succeeded: 1 - C(n - c, k) / C(n, k), the probability that
 * a random choice of k of the samples holds a success (Chen et al. 2021, arXiv 2107.03374, equation 1).
 *
 * @throws RangeError unless 0 <= c <= n and 1 <= k <= n
 */
export function passAtK(n: number, c: number, k: number): number {
  if (!(c >= 0 && c <= n && k >= 1 && k <= n)) throw new RangeError(`passAtK(${n}, ${c}, ${k})`);
  let allFail = 1;
  for (let i = 0; i < k; i++) allFail *= Math.max(0, n - c - i) / (n - i);
  return 1 - allFail;
}

/** Pass@k of n samples of which c succeeded, for k from 1 to n; errors as of {@link passAtK}. */
export function passCurve(n: number, c: number): number[] {
  return Array.from({ length: n }, (_, index) => (index === 0 ? c / n : passAtK(n, c, index + 1)));
}

/**
 * Percentile bootstrap of the mean: draws as many values as there are with replacement, `resamples` times.
 *
 * @param rows rows of values, one value a level, so that the interval covers the choice of levels (and samples with them)
 * @returns for each row the 2.5 % and 97.5 % quantiles; all rows see the same draws
 */
export function bootstrapIntervals(
  rows: readonly (readonly number[])[],
  resamples: number,
  generator: SeededGenerator,
): Interval[] {
  const count = rows[0].length;
  const means = rows.map(() => new Float64Array(resamples));
  for (let resample = 0; resample < resamples; resample++) {
    const sums = new Float64Array(rows.length);
    for (let draw = 0; draw < count; draw++) {
      const index = generator.integer(count);
      for (const [row, values] of rows.entries()) sums[row] += values[index];
    }
    for (const [row, sum] of sums.entries()) means[row][resample] = sum / count;
  }
  return means.map((sorted) => {
    sorted.sort();
    return [quantile(sorted, 0.025), quantile(sorted, 0.975)];
  });
}

/** Linear interpolation between order statistics. */
export function quantile(sorted: Float64Array, share: number): number {
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}
