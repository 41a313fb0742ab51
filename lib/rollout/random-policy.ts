import type { Environment } from "../../envs/environment.ts";
import { type GuardedEnvironment, guard } from "../../envs/guard.ts";
import { SpaError } from "../errors.ts";
import type { SeededGenerator } from "./seeded-generator.ts";

/** Tries at a free-text action that the environment reads before it is called unreadable. */
const MAX_TRIES = 200;

/**
 * Actions drawn uniformly, their number with the given weights (for 1, 2, … actions).
 *
 * Environments without a list of actions are asked for `row,column,value` with one-based numbers up to the grid's side,
 * as far as `parseAction` accepts it.
 *
 * @throws SpaError BAD_ENVIRONMENT when no action can be made up
 */
export function randomActions(
  environment: Environment,
  generator: SeededGenerator,
  countWeights: readonly number[],
  atMost: number,
): string[] {
  const count = Math.min(generator.weighted(countWeights) + 1, atMost);
  const guarded = guard(environment);
  return Array.from({ length: count }, () => randomAction(guarded, generator));
}

function randomAction(environment: GuardedEnvironment, generator: SeededGenerator): string {
  const { actions } = environment;
  if (actions.length > 0) return generator.choice(actions);
  const side = gridSide(environment.render("grid"));
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const text = Array.from({ length: 3 }, () => generator.integer(side) + 1).join(",");
    const action = environment.parseAction ? environment.parseAction(text) : text;
    if (action !== null) return action;
  }
  throw new SpaError("BAD_ENVIRONMENT", `no random action can be made up for ${environment.name}`, {
    hint: "give the environment a list of actions, or let parseAction read row,column,value",
  });
}

/** Cells in the longest line of a grid; white space and bars are no cells. */
function gridSide(grid: string): number {
  return Math.max(...grid.split("\n").map((line) => [...line.replace(/[\s|]/g, "")].length), 1);
}
