/** How rewards are normalised within each grouping. */
export type RewardNormalization = "none" | "mean" | "mean-std" | "asymmetric-clip";
/** Which trajectories are normalised together. */
export type RewardGrouping = "state" | "batch" | "tag";

/** What the groupings look at. */
export interface RewardSource {
  /** Group of the trajectory: the same level. */
  group: number;
  /** Name of the environment. */
  tag: string;
}

/** Bounds of `asymmetric-clip`. */
const CLIP_LOW = -1;
const CLIP_HIGH = 3;

/** Standard deviation with Bessel's correction; 0 for fewer than two values. */
export function standardDeviation(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
}

/**
 * Trajectory rewards (format penalties included) normalised as RAGEN does.
 *
 * `mean`: x - mean; `mean-std`: (x - mean) / (std + 1e-6), zero where std <= 1e-6; `asymmetric-clip`: the same, then
 * cut to [-1, 3]. When every grouping holds a single trajectory the rewards are left as they are: there is nothing to
 * compare with.
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
  const places = new Map<number | string, number[]>();
  for (const [index, source] of sources.entries()) {
    const key = grouping === "state" ? source.group : grouping === "tag" ? source.tag : "batch";
    const known = places.get(key);
    if (known) known.push(index);
    else places.set(key, [index]);
  }
  if (places.size === rewards.length) return [...rewards];
  const result = [...rewards];
  for (const members of places.values()) {
    const normalized = normalize(
      members.map((index) => rewards[index]),
      method,
    );
    for (const [place, index] of members.entries()) result[index] = normalized[place];
  }
  return result;
}

function normalize(values: number[], method: Exclude<RewardNormalization, "none">): number[] {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const centred = values.map((value) => value - mean);
  if (method === "mean") return centred;
  const deviation = standardDeviation(values);
  const scaled = deviation > 1e-6 ? centred.map((value) => value / (deviation + 1e-6)) : values.map(() => 0);
  if (method === "mean-std") return scaled;
  return scaled.map((value) => Math.min(CLIP_HIGH, Math.max(CLIP_LOW, value)));
}
