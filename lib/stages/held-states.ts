import type { Level } from "../rollout/levels.ts";
import { Role } from "../text/roles.ts";
import { spansOf } from "../text/spans.ts";
import { canonicalState } from "../text/turn-text.ts";
import type { StageContext } from "./context.ts";

/**
 * How many levels begin in one of the states. `levels.disjoint` keeps training from beginning there; play may come there later all
 * the same.
 *
 * @param states grids, with or without coordinates under them
 */
export function heldStarts(states: Iterable<string>, levels: readonly Pick<Level, "grid">[]): number {
  const starts = levels.map(({ grid }) => canonicalState(grid));
  const known = new Set(starts);
  const heights = new Set(starts.map((grid) => grid.split("\n").length));
  const met = new Set<string>();
  for (const state of new Set(states)) {
    const lines = canonicalState(state).split("\n");
    for (const height of heights) {
      const grid = lines.slice(0, height).join("\n");
      if (known.has(grid)) met.add(grid);
    }
  }
  return starts.filter((grid) => met.has(grid)).length;
}

/** The states in replies of world-model format. */
export function* writtenStates(replies: Iterable<string>): Generator<string> {
  for (const reply of replies) {
    for (const { role, text } of spansOf(reply, "world-model")) {
      if (role === Role.observation || role === Role.prediction) yield text;
    }
  }
}

/** Tells the user how many test levels begin in states of a stage's training data, if any do. */
export function noteHeldStarts(
  { split: { test }, progress }: Pick<StageContext, "split" | "progress">,
  stage: string,
  states: Iterable<string>,
): void {
  const count = heldStarts(states, test);
  if (count === 0) return;
  progress.note(
    `warning: ${count} of ${test.length} test levels begin in states that occur in ${stage}'s training data: what is reported on them is not of unseen states alone`,
  );
}
