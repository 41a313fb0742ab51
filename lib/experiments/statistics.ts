import type { SeededGenerator } from "../rollout/seeded-generator.ts";
import type { Interval } from "../run/evaluation.ts";
import { quantile } from "../stages/evaluate/pass-rates.ts";

/** A mean with its 95 % interval. */
export interface Estimate {
  mean: number;
  interval: Interval;
}

/** A figure of every seed on every level: [seeds][levels]. All seeds have played the same levels. */
export type Cells = readonly (readonly number[])[];

/**
 * Means over seeds and levels, and how far they would move with other seeds and other levels: a bootstrap that draws both
 * with replacement, each on its own, for every seed has met every level (the pigeonhole bootstrap: Owen 2007, "The
 * pigeonhole bootstrap", Annals of Applied Statistics 1(2); its variance errs on the safe side).
 *
 * @param figures figures of the same seeds on the same levels; all see the same draws
 * @throws RangeError for no seeds, no levels, or figures of different numbers of them
 */
export function estimateCells(
  figures: readonly Cells[],
  resamples: number,
  generator: SeededGenerator,
): Estimate[] {
  const seeds = figures[0]?.length ?? 0;
  const levels = figures[0]?.[0]?.length ?? 0;
  if (levels === 0 || figures.some((cells) => !hasShape(cells, seeds, levels))) {
    throw new RangeError("cells must be of the same seeds and levels, and of one at least");
  }
  const means = figures.map(() => new Float64Array(resamples));
  for (let resample = 0; resample < resamples; resample++) {
    const drawnSeeds = Array.from({ length: seeds }, () => generator.integer(seeds));
    const drawnLevels = Array.from({ length: levels }, () => generator.integer(levels));
    for (const [figure, cells] of figures.entries()) {
      let sum = 0;
      for (const seed of drawnSeeds) {
        const row = cells[seed];
        for (const level of drawnLevels) sum += row[level];
      }
      means[figure][resample] = sum / (seeds * levels);
    }
  }
  return figures.map((cells, figure) => {
    const sorted = means[figure].sort();
    return { mean: meanOf(cells.flat()), interval: [quantile(sorted, 0.025), quantile(sorted, 0.975)] };
  });
}

function hasShape(cells: Cells, seeds: number, levels: number): boolean {
  return cells.length === seeds && cells.every((row) => row.length === levels);
}

/**
 * What `cells` have above `others` at the same seed on the same level, so that what seeds and levels have in common
 * cancels.
 *
 * @throws RangeError for figures of other numbers of seeds or levels
 */
export function pairedDifference(cells: Cells, others: Cells): Cells {
  if (!hasShape(others, cells.length, cells[0]?.length ?? 0)) {
    throw new RangeError("figures of other seeds or levels cannot be paired");
  }
  return cells.map((row, seed) => row.map((value, level) => value - others[seed][level]));
}

/**
 * Mean of one figure a seed, with Student's interval for so few: mean ± t s / sqrt(n), s with n - 1 degrees of freedom.
 * One seed says nothing about others: its interval is the mean alone.
 */
export function estimateSeeds(values: readonly number[]): Estimate {
  const mean = meanOf(values);
  const freedom = values.length - 1;
  if (freedom < 1) return { mean, interval: [mean, mean] };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / freedom;
  const reach = studentQuantile(freedom) * Math.sqrt(variance / values.length);
  return { mean, interval: [mean - reach, mean + reach] };
}

export function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The 97.5 % quantile of Student's t, by degrees of freedom from 1 on. */
const quantiles = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131,
  2.12, 2.11, 2.101, 2.093, 2.086,
];

/** Beyond the table the first terms of its expansion at the normal quantile (Abramowitz and Stegun 26.7.5). */
function studentQuantile(freedom: number): number {
  const z = 1.959964;
  const first = (z ** 3 + z) / 4;
  const second = (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96;
  return quantiles[freedom - 1] ?? z + first / freedom + second / freedom ** 2;
}
