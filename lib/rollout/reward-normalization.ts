/** How rewards are normalised within each grouping. */
type RewardNormalization = "none" | "mean" | "mean-std" | "asymmetric-clip";
/** Which trajectories are normalised together. */
type RewardGrouping = "state" | "batch" | "tag";

/** What the groupings look at. */
export interface RewardSource {
  /** Group of the trajectory: the same level. */
  group: number;
  /** Name of the environment. */
  tag: string;
}

/** Rewards that differ by no more than this share of the larger one differ in the rounding of their sums alone. */
const ROUNDING = 1e-12;

/** Whether all values are the same number, but for rounding. */
function areEqual(values: readonly number[]): boolean {
  const least = values.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY);
  const most = values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  return most - least <= ROUNDING * Math.max(Math.abs(least), Math.abs(most));
}

/** What each value is above the mean; exactly 0 where all are equal, which a rounded mean alone would not give. */
export function aboveMean(values: readonly number[]): number[] {
  if (areEqual(values)) return values.map(() => 0);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.map((value) => value - mean);
}

/** Standard deviation with Bessel's correction; 0 for fewer than two values, and exactly 0 for equal ones. */
export function standardDeviation(values: readonly number[]): number {
  if (values.length < 2) return 0;
  return Math.sqrt(aboveMean(values).reduce((sum, value) => sum + value ** 2, 0) / (values.length - 1));
}

/** What each value is above the mean, in standard deviations: (x - mean) / (std + 1e-6); zero where std <= 1e-6. */
export function standardize(values: readonly number[]): number[] {
  const deviation = standardDeviation(values);
  if (deviation <= 1e-6) return values.map(() => 0);
  return aboveMean(values).map((value) => value / (deviation + 1e-6));
}

/** Compares values that have the same key with each other alone; the result is in the order of `values`. */
export function compareWithin(
  values: readonly number[],
  keys: readonly (number | string)[],
  compare: (values: readonly number[]) => number[],
): number[] {
  const places = new Map<number | string, number[]>();
  for (const [index, key] of keys.entries()) {
    const known = places.get(key);
    if (known) known.push(index);
    else places.set(key, [index]);
  }
  const result = [...values];
  for (const members of places.values()) {
    const compared = compare(members.map((index) => values[index]));
    for (const [place, index] of members.entries()) result[index] = compared[place];
  }
  return result;
}

/** Bounds of `asymmetric-clip`. */
const CLIP_LOW = -1;
const CLIP_HIGH = 3;

const comparisons = {
  mean: aboveMean,
  "mean-std": standardize,
  "asymmetric-clip": (values: readonly number[]) =>
    standardize(values).map((value) => Math.min(CLIP_HIGH, Math.max(CLIP_LOW, value))),
};

/**
 * Trajectory rewards (format penalties included) normalised as RAGEN does.
 *
 * `mean`: {@link aboveMean}; `mean-std`: {@link standardize}; `asymmetric-clip`: the same, then cut to [-1, 3]. When
 * every grouping holds a single trajectory the rewards are left as they are: there is nothing to compare with.
 *
 * @param rewards one for each trajectory
 * @param sources of the same length
 */
export function normalizeRewards(
  rewards: readonly number[],
  sources: readonly RewardSource[],
  method: RewardNormalization,
  grouping: RewardGrouping,
): number[] {
  if (method === "none") return [...rewards];
  const keys = sources.map(({ group, tag }) =>
    grouping === "state" ? group : grouping === "tag" ? tag : "batch",
  );
  if (new Set(keys).size === rewards.length) return [...rewards];
  return compareWithin(rewards, keys, comparisons[method]);
}
