import type { Config } from "../config/schema.ts";
import { SpaError } from "../errors.ts";
import type { Level } from "../rollout/levels.ts";
import { Role } from "../text/roles.ts";
import { spansOf } from "../text/spans.ts";
import { canonicalState } from "../text/turn-text.ts";
import type { StageContext } from "./context.ts";

/** The states in which levels begin. `levels.disjoint` keeps training from beginning there; play may come there later all the same. */
export class LevelStarts {
  readonly #starts: readonly string[];
  readonly #known: ReadonlySet<string>;
  readonly #heights: ReadonlySet<number>;

  constructor(levels: readonly Pick<Level, "grid">[]) {
    this.#starts = levels.map(({ grid }) => canonicalState(grid));
    this.#known = new Set(this.#starts);
    this.#heights = new Set(this.#starts.map((grid) => grid.split("\n").length));
  }

  /**
   * The levels that begin in one of the states, by their places.
   *
   * @param states grids, with or without coordinates under them
   */
  among(states: Iterable<string>): number[] {
    const met = new Set<string>();
    for (const state of new Set(states)) {
      const lines = canonicalState(state).split("\n");
      for (const height of this.#heights) {
        const grid = lines.slice(0, height).join("\n");
        if (this.#known.has(grid)) met.add(grid);
      }
    }
    return met.size === 0 ? [] : [...this.#starts.keys()].filter((index) => met.has(this.#starts[index]));
  }
}

/** The states in replies of world-model format. */
export function* writtenStates(replies: Iterable<string>): Generator<string> {
  for (const reply of replies) {
    for (const { role, text } of spansOf(reply, "world-model")) {
      if (role === Role.observation || role === Role.prediction) yield text;
    }
  }
}

/**
 * Tells the user how many test levels begin in states of a stage's training data, if any do.
 *
 * @returns these levels, by their places
 */
export function noteHeldStarts(
  { split: { test }, progress }: Pick<StageContext, "split" | "progress">,
  stage: string,
  states: Iterable<string>,
): number[] {
  const met = new LevelStarts(test).among(states);
  if (met.length > 0) {
    progress.note(
      `warning: ${met.length} of ${test.length} test levels begin in states that occur in ${stage}'s training data: what is reported on them is not of unseen states alone (sft.excludeHeldStates leaves such data out)`,
    );
  }
  return met;
}

/**
 * Training data without the trajectories in which a test or tuning level begins, where `sft.excludeHeldStates` asks for it.
 *
 * @param statesOf the states that an item trains on
 * @param trajectoryOf what an item goes with: of a trajectory all items are left out, or none
 * @throws SpaError BAD_CONFIG when nothing is left
 */
export function withoutHeldStates<Item>(
  { config, split, progress }: Pick<StageContext, "split" | "progress"> & { config: Pick<Config, "sft"> },
  stage: string,
  items: readonly Item[],
  statesOf: (item: Item, index: number) => Iterable<string>,
  trajectoryOf: (item: Item) => unknown,
): Item[] {
  if (!config.sft.excludeHeldStates) return [...items];
  const starts = new LevelStarts([...split.test, ...split.tuning]);
  const held = new Set(
    items.filter((item, index) => starts.among(statesOf(item, index)).length > 0).map(trajectoryOf),
  );
  const kept = items.filter((item) => !held.has(trajectoryOf(item)));
  const left = `${held.size} trajectories of ${stage}'s data hold states in which test or tuning levels begin (sft.excludeHeldStates)`;
  if (kept.length === 0 && items.length > 0) {
    throw new SpaError("BAD_CONFIG", `nothing is left to train on: ${left}`, {
      hint: "set sft.excludeHeldStates=false, or make levels larger, so that play seldom comes to a state twice",
    });
  }
  if (held.size > 0) progress.note(`${left}; they are left out`);
  return kept;
}
