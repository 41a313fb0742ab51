import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../../lib/package.ts";
import {
  type ComparedTrajectories,
  type GigpoOptions,
  gigpo,
  grpo,
  onTokens,
  rloo,
} from "../../lib/rollout/relative-advantages.ts";
import type { Turn } from "../../lib/rollout/trajectory.ts";

/** A trajectory: its group, and of each turn the state it began in and what it earned. Turns have two tokens each. */
interface Played {
  group: number;
  states: string[];
  rewards: number[];
}

function compared(played: readonly Played[]): ComparedTrajectories {
  let tokens = 0;
  return {
    totals: played.map(({ rewards }) => rewards.reduce((sum, reward) => sum + reward, 0)),
    groups: played.map(({ group }) => group),
    turns: played.flatMap(({ states, rewards }, trajectory) =>
      states.map((structured, place) => {
        const begin = tokens + 1;
        tokens += 3;
        const turn = { stateBefore: { grid: "", structured } } as Turn;
        return { turn, trajectory, begin, end: begin + 2, reward: rewards[place] };
      }),
    ),
  };
}

/** Trajectories of one turn in one group. */
const single = (...rewards: number[]) =>
  compared(rewards.map((reward) => ({ group: 0, states: ["start"], rewards: [reward] })));

function expectClose(values: readonly number[], expected: readonly number[]) {
  expect(values).toHaveLength(expected.length);
  for (const [index, value] of values.entries()) expect(value).toBeCloseTo(expected[index], 9);
}

const divided = { divideByDeviation: true };
const plain = { divideByDeviation: false };
const usual: GigpoOptions = { ...divided, gamma: 0.95, stepWeight: 1 };

const estimators: [name: string, (compared: ComparedTrajectories) => number[]][] = [
  ["grpo", (input) => grpo(input, divided)],
  ["grpo without division", (input) => grpo(input, plain)],
  ["rloo", rloo],
  ["gigpo", (input) => gigpo(input, usual)],
  ["gigpo without division", (input) => gigpo(input, { ...usual, ...plain })],
];

describe("grpo", () => {
  it("divides what is above the group's mean by its deviation", () => {
    // Mean 1, squares 1 + 1 + 0 over 2: deviation 1.
    expectClose(grpo(single(0, 2, 1), divided), [-1 / (1 + 1e-6), 1 / (1 + 1e-6), 0]);
  });

  it("leaves the difference without division", () => {
    expectClose(grpo(single(0, 0, 0, 2), plain), [-0.5, -0.5, -0.5, 1.5]);
  });

  it("compares within groups alone, and gives every turn of a trajectory the same", () => {
    const groups = compared([
      { group: 3, states: ["a", "b"], rewards: [0, 1] },
      { group: 5, states: ["a"], rewards: [10] },
      { group: 3, states: ["a"], rewards: [0] },
      { group: 5, states: ["a", "a"], rewards: [20, 0] },
    ]);
    expectClose(grpo(groups, plain), [0.5, 0.5, -5, -0.5, 5, 5]);
  });
});

describe("rloo", () => {
  it("subtracts the mean of the others", () => {
    // 1 - (2 + 6) / 2, 2 - (1 + 6) / 2, 6 - (1 + 2) / 2
    expectClose(rloo(single(1, 2, 6)), [-3, -1.5, 4.5]);
  });
});

describe("gigpo", () => {
  /** Two ways through the same cell: one goes on to the goal, the other turns away. */
  const meeting: Played[] = [
    { group: 0, states: ["start", "cell"], rewards: [0, 1] },
    { group: 0, states: ["start", "detour", "cell"], rewards: [0, 0, 0] },
  ];

  it("compares turns that began in the same state by their discounted returns", () => {
    const options = { ...plain, gamma: 0.5, stepWeight: 1 };
    // Episodes ±0.5. Returns: 0.5, 1; 0, 0, 0. From the start ±0.25, from the cell ±0.5, from the detour alone.
    expectClose(gigpo(compared(meeting), options), [0.75, 1, -0.75, -0.5, -1]);
  });

  it("weighs that comparison", () => {
    const options = { ...plain, gamma: 0.5, stepWeight: 2 };
    expectClose(gigpo(compared(meeting), options), [1, 1.5, -1, -0.5, -1.5]);
    const weightless = { ...usual, stepWeight: 0 };
    expect(gigpo(compared(meeting), weightless)).toEqual(grpo(compared(meeting), divided));
  });

  it("divides by deviations of trajectories and of turns", () => {
    // Two values d apart deviate by d / sqrt(2): both comparisons come to ±sqrt(1/2), but for 1e-6.
    const half = Math.SQRT1_2;
    const values = gigpo(compared(meeting), { ...divided, gamma: 0.5, stepWeight: 1 });
    for (const [index, expected] of [2 * half, 2 * half, -2 * half, -half, -2 * half].entries())
      expect(values[index]).toBeCloseTo(expected, 5);
  });

  it("compares returns of one trajectory that comes back to a state", () => {
    const circle = compared([{ group: 0, states: ["start", "start"], rewards: [0, 1] }]);
    expectClose(gigpo(circle, { ...plain, gamma: 0.5, stepWeight: 1 }), [-0.25, 0.25]);
  });

  it("does not compare equal states of different groups", () => {
    const apart = compared(meeting.map((played, group) => ({ ...played, group })));
    expect(gigpo(apart, usual)).toEqual([0, 0, 0, 0, 0]);
  });
});

describe.each(estimators)("%s", (_, estimate) => {
  it("is exactly 0 in a group of one", () => {
    expect(estimate(single(0.7))).toEqual([0]);
  });

  it("is exactly 0 where all fare alike, whatever their mean rounds to", () => {
    fc.assert(
      fc.property(
        fc.double({ min: -1e3, max: 1e3, noNaN: true }),
        fc.integer({ min: 2, max: 40 }),
        (r, n) => {
          expect(estimate(single(...new Array<number>(n).fill(r))).every((value) => value === 0)).toBe(true);
        },
      ),
    );
  });

  it("is as good for groups among others as for them alone", () => {
    const played: Played[] = [0, 0, 1, 1, 1].map((group, index) => ({
      group,
      states: ["start", "cell"],
      rewards: [index % 2, index],
    }));
    const kept = played.filter(({ group }) => group === 1);
    expect(estimate(compared(kept))).toEqual(estimate(compared(played)).slice(4));
  });
});

it("agrees with the papers' formulas in float64", () => {
  const file = join(packageRoot(), "test/fixtures/advantages/relative.json");
  const cases: {
    options: GigpoOptions;
    trajectories: Played[];
    expected: Record<"grpo" | "rloo" | "gigpo", number[]>;
  }[] = JSON.parse(readFileSync(file, "utf8"));
  expect(cases).toHaveLength(9);
  for (const { options, trajectories, expected } of cases) {
    const input = compared(trajectories);
    expectClose(grpo(input, options), expected.grpo);
    expectClose(rloo(input), expected.rloo);
    expectClose(gigpo(input, options), expected.gigpo);
  }
});

it("stands on a turn's sampled tokens, and is 0 on others", () => {
  const { turns } = compared([{ group: 0, states: ["a", "b"], rewards: [0, 1] }]);
  expect([...onTokens(turns, [0.5, -2], 7)]).toEqual([0, 0.5, 0.5, 0, -2, -2, 0]);
});
