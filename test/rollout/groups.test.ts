import { describe, expect, it } from "vitest";
import { filterGroups, type Group, groupsOf } from "../../lib/rollout/groups.ts";
import type { Trajectory } from "../../lib/rollout/trajectory.ts";

const trajectory = (group: number, totalReward: number) => ({ group, totalReward }) as Trajectory;
const group = (id: number, deviation: number): Group => ({ id, members: [], deviation });

describe("groupsOf", () => {
  it("collects members in order and takes the deviation with Bessel's correction", () => {
    const groups = groupsOf([
      trajectory(7, 1),
      trajectory(7, 0),
      trajectory(9, 2),
      trajectory(7, 1),
      trajectory(9, 2),
    ]);
    expect(groups.map(({ id, members }) => [id, members])).toEqual([
      [7, [0, 1, 3]],
      [9, [2, 4]],
    ]);
    // Values 1, 0, 1: mean 2/3, squares 1/9 + 4/9 + 1/9 = 2/3, over 2 is 1/3.
    expect(groups[0].deviation).toBeCloseTo(Math.sqrt(1 / 3), 12);
    expect(groups[1].deviation).toBe(0);
  });

  it("gives a group of one no deviation", () => {
    expect(groupsOf([trajectory(1, 5)])[0].deviation).toBe(0);
  });
});

describe("filterGroups", () => {
  const groups = [group(0, 0.1), group(1, 0.5), group(2, 0), group(3, 0.5), group(4, 0.3), group(5, 0.2)];
  const ids = (kept: Group[]) => kept.map(({ id }) => id);

  it("keeps the share with the largest deviations, in the batch's order", () => {
    expect(ids(filterGroups(groups, { kind: "ratio", value: 0.5 }))).toEqual([1, 3, 4]);
  });

  it("rounds a ratio down but keeps at least one group", () => {
    expect(ids(filterGroups(groups, { kind: "ratio", value: 0.3 }))).toEqual([1]);
    expect(ids(filterGroups(groups, { kind: "ratio", value: 0.01 }))).toEqual([1]);
    expect(filterGroups(groups, { kind: "ratio", value: 1 })).toHaveLength(6);
  });

  it("does not lose a group to the rounding of ratio * groups", () => {
    const many = Array.from({ length: 100 }, (_, id) => group(id, id));
    expect(filterGroups(many, { kind: "ratio", value: 0.29 })).toHaveLength(29);
  });

  it("keeps the fewest groups that hold the wanted share of all deviation", () => {
    // The sum is 1.6: 0.5 + 0.5 = 1.0 holds 62.5 %, with 0.3 more 81.25 %.
    expect(ids(filterGroups(groups, { kind: "top-p", value: 0.6 }))).toEqual([1, 3]);
    expect(ids(filterGroups(groups, { kind: "top-p", value: 0.7 }))).toEqual([1, 3, 4]);
    expect(ids(filterGroups(groups, { kind: "top-p", value: 1 }))).toEqual([0, 1, 3, 4, 5]);
  });

  it("keeps nothing by top-p where all fare alike", () => {
    expect(filterGroups([group(0, 0), group(1, 0)], { kind: "top-p", value: 0.5 })).toEqual([]);
  });

  it("keeps everything without a filter", () => {
    expect(filterGroups(groups, { kind: "none", value: 0 })).toEqual(groups);
  });
});
