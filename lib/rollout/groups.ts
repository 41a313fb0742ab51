import { standardDeviation } from "./reward-normalization.ts";
import type { Trajectory } from "./trajectory.ts";

/** A group's trajectories by their places in the batch. */
export interface Group {
  id: number;
  members: number[];
  /** Standard deviation of the members' rewards (Bessel's correction); 0 for a group of one. */
  deviation: number;
}

/** Which groups to train on; see {@link filterGroups}. */
interface GroupFilter {
  kind: "none" | "ratio" | "top-p";
  value: number;
}

/** Groups in order of their first member. */
export function groupsOf(trajectories: readonly Trajectory[]): Group[] {
  const members = new Map<number, number[]>();
  for (const [index, { group }] of trajectories.entries()) {
    const known = members.get(group);
    if (known) known.push(index);
    else members.set(group, [index]);
  }
  return [...members].map(([id, places]) => ({
    id,
    members: places,
    deviation: standardDeviation(places.map((place) => trajectories[place].totalReward)),
  }));
}

/**
 * The groups whose rewards differ most: where all members fare alike there is nothing to learn from comparing them
 * (RAGEN, arXiv 2504.20073, section 4.2: uncertainty-based filtering).
 *
 * - `ratio` keeps `floor(value * groups)` groups (at least one) with the largest deviations.
 * - `top-p` keeps the smallest number of groups that together hold `value` of the summed deviation; none when all
 *   deviations are 0.
 *
 * Equal deviations are taken in the order of the batch. The result is in the order of the batch.
 */
export function filterGroups(groups: readonly Group[], filter: GroupFilter): Group[] {
  if (filter.kind === "none") return [...groups];
  const order = groups
    .map((_, index) => index)
    .sort((a, b) => groups[b].deviation - groups[a].deviation || a - b);
  const count =
    filter.kind === "ratio" ? ratioCount(groups, filter.value) : topPCount(groups, order, filter.value);
  return order
    .slice(0, count)
    .sort((a, b) => a - b)
    .map((index) => groups[index]);
}

function ratioCount(groups: readonly Group[], ratio: number): number {
  return Math.min(groups.length, Math.max(1, Math.floor(ratio * groups.length + 1e-9)));
}

function topPCount(groups: readonly Group[], order: readonly number[], share: number): number {
  const total = groups.reduce((sum, group) => sum + group.deviation, 0);
  if (total === 0) return 0;
  let held = 0;
  let count = 0;
  while (count < order.length && held < share * total - 1e-12) {
    held += groups[order[count++]].deviation;
  }
  return count;
}
