import { groupsOf } from "../../rollout/groups.ts";
import type { Trajectory } from "../../rollout/trajectory.ts";

/**
 * How alike the episodes of a level are, as metrics.jsonl names it; means over the groups of more than one member, undefined
 * without any. docs/metrics.md explains each.
 */
export function groupFigures(trajectories: readonly Trajectory[]): Record<string, number | undefined> {
  const groups = groupsOf(trajectories).filter(({ members }) => members.length > 1);
  const played = groups.map(({ members }) => members.map((index) => trajectories[index]));
  return {
    groups_equal: mean(groups.map(({ deviation }) => (deviation === 0 ? 1 : 0))),
    repeated_replies: mean(played.map(repeatedShare)),
    first_actions: mean(played.map(firstActions)),
  };
}

/** The share of a group's replies that another one of the group equals, token by token. */
function repeatedShare(group: readonly Trajectory[]): number {
  const replies = group.flatMap(({ tokens, turns }) =>
    turns.map(({ begin, end }) => tokens.subarray(begin, end).join()),
  );
  const counts = new Map<string, number>();
  for (const reply of replies) counts.set(reply, (counts.get(reply) ?? 0) + 1);
  const repeated = replies.filter((reply) => (counts.get(reply) ?? 0) > 1);
  return replies.length === 0 ? 0 : repeated.length / replies.length;
}

/** How many different actions a group's episodes begin with; those that begin with none do not count. */
function firstActions(group: readonly Trajectory[]): number {
  return new Set(group.flatMap(({ turns }) => turns[0]?.actions.slice(0, 1) ?? [])).size;
}

function mean(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length;
}
