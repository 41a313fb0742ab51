import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  aboveMean,
  normalizeRewards,
  type RewardSource,
  standardDeviation,
} from "../../lib/rollout/reward-normalization.ts";

const sources: RewardSource[] = [
  { group: 0, tag: "a" },
  { group: 0, tag: "a" },
  { group: 1, tag: "b" },
  { group: 1, tag: "b" },
  { group: 1, tag: "b" },
];
const rewards = [1, 3, 0, 0, 6];
const close = (values: number[], expected: number[]) => {
  expect(values).toHaveLength(expected.length);
  for (const [index, value] of values.entries()) expect(value).toBeCloseTo(expected[index], 5);
};

describe("equal rewards", () => {
  const anyReward = fc.double({ min: -1e6, max: 1e6, noNaN: true });

  it("deviate by exactly 0, whatever their mean rounds to", () => {
    fc.assert(
      fc.property(anyReward, fc.integer({ min: 2, max: 60 }), (reward, count) => {
        const rewards = new Array<number>(count).fill(reward);
        expect(standardDeviation(rewards)).toBe(0);
        const one = rewards.map(() => ({ group: 0, tag: "a" }));
        for (const method of ["mean", "mean-std", "asymmetric-clip"] as const)
          expect(normalizeRewards(rewards, one, method, "state").every((value) => value === 0)).toBe(true);
      }),
    );
  });

  it("are equal, too, where the same turns were added up in another order", () => {
    const orders = [
      [0.1, 0.2, 0.3],
      [0.3, 0.2, 0.1],
    ].map((turns) => turns.reduce((sum, reward) => sum + reward, 0));
    expect(orders[0]).not.toBe(orders[1]);
    expect(standardDeviation(orders)).toBe(0);
  });

  it("are not what merely lies close together", () => {
    expect(standardDeviation([1, 1 + 1e-9])).toBeGreaterThan(0);
    expect(aboveMean([0, 1e-300])).toEqual([-5e-301, 5e-301]);
  });
});

describe("normalizeRewards", () => {
  it("subtracts the mean of each level's trajectories", () => {
    close(normalizeRewards(rewards, sources, "mean", "state"), [-1, 1, -2, -2, 4]);
  });

  it("divides by the deviation with Bessel's correction plus 1e-6", () => {
    // Deviations: sqrt(2) of 1, 3; of 0, 0, 6 sqrt((4 + 4 + 16) / 2) = sqrt(12).
    const first = 1 / (Math.SQRT2 + 1e-6);
    const second = Math.sqrt(12) + 1e-6;
    close(normalizeRewards(rewards, sources, "mean-std", "state"), [
      -first,
      first,
      -2 / second,
      -2 / second,
      4 / second,
    ]);
  });

  it("takes the whole batch together", () => {
    close(normalizeRewards(rewards, sources, "mean", "batch"), [-1, 1, -2, -2, 4]);
    // Mean 2, squares 1 + 1 + 4 + 4 + 16 = 26, over 4 is 6.5.
    const scale = Math.sqrt(6.5) + 1e-6;
    close(
      normalizeRewards(rewards, sources, "mean-std", "batch"),
      [-1, 1, -2, -2, 4].map((x) => x / scale),
    );
  });

  it("groups by environment", () => {
    const tags = sources.map((source, index) => ({ ...source, tag: index === 0 ? "x" : "y" }));
    close(normalizeRewards(rewards, tags, "mean", "tag"), [0, 0.75, -2.25, -2.25, 3.75]);
  });

  it("cuts to [-1, 3] without symmetry", () => {
    const many = [10, ...new Array(20).fill(0), -10];
    const one = many.map(() => ({ group: 0, tag: "a" }));
    const clipped = normalizeRewards(many, one, "asymmetric-clip", "state");
    expect(clipped[0]).toBe(3);
    expect(clipped[21]).toBe(-1);
    expect(clipped[1]).toBe(0);
  });

  it("makes equal rewards zero", () => {
    close(normalizeRewards([2, 2, 1, 1, 1], sources, "mean-std", "state"), [0, 0, 0, 0, 0]);
    close(normalizeRewards([2, 2, 1, 1, 1], sources, "asymmetric-clip", "state"), [0, 0, 0, 0, 0]);
  });

  it("leaves rewards as they are where every trajectory is a group of its own", () => {
    const single = rewards.map((_, group) => ({ group, tag: "a" }));
    expect(normalizeRewards(rewards, single, "mean-std", "state")).toEqual(rewards);
  });

  it("leaves rewards as they are without a method", () => {
    expect(normalizeRewards(rewards, sources, "none", "state")).toEqual(rewards);
  });
});
