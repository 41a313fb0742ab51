import { expect, test } from "vitest";
import type { Trajectory } from "../../lib/rollout/trajectory.ts";
import { groupFigures } from "../../lib/stages/ppo/group-figures.ts";

/** An episode whose replies are `replies`, one token each. */
function episode(group: number, totalReward: number, replies: number[], first?: string): Trajectory {
  const turns = replies.map((_, index) => ({
    begin: index,
    end: index + 1,
    actions: index === 0 && first !== undefined ? [first, "Up"] : ["Left"],
  }));
  if (first === undefined) turns[0].actions = [];
  return { group, totalReward, tokens: Int32Array.from(replies), turns } as unknown as Trajectory;
}

test("repetition, first actions and equal rewards, as means over groups", () => {
  const figures = groupFigures([
    // Replies 7 7 8 9 7: three of five are repeated. Two first actions.
    episode(0, 1, [7], "Up"),
    episode(0, 0, [7, 8], "Down"),
    episode(0, 0, [9, 7], "Up"),
    // All alike, but for one without an action.
    episode(1, 0.1, [5], "Up"),
    episode(1, 0.1, [5]),
    // A group of one compares with nothing.
    episode(2, 1, [4], "Left"),
  ]);
  expect(figures).toEqual({ groups_equal: 0.5, repeated_replies: (3 / 5 + 1) / 2, first_actions: 1.5 });
});

test("there is nothing to say of groups of one", () => {
  expect(groupFigures([episode(0, 1, [4], "Left")])).toEqual({
    groups_equal: undefined,
    repeated_replies: undefined,
    first_actions: undefined,
  });
});
