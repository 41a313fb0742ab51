import { SpaError } from "../../lib/errors.ts";
import { Pcg64 } from "../rng/pcg64.ts";
import { FROZEN, type FrozenLakeMap, GOAL, HOLE } from "./map.ts";
import { shortestWay } from "./solver.ts";

/** Maps drawn before giving up; with the default probability the first or second is valid. */
const MAX_ATTEMPTS = 100_000;

/**
 * The map that RAGEN draws from the same seed: random holes, a random start and a random goal, again and again from
 * one generator until start and goal differ and a path joins them.
 *
 * @param frozenProbability probability that a cell is frozen rather than a hole
 * @throws SpaError BAD_ARGUMENT when the probability is so low that no map has a path
 */
export function generateMap(seed: number, size: number, frozenProbability: number): FrozenLakeMap {
  const generator = new Pcg64(seed);
  const probabilities = [frozenProbability, 1 - frozenProbability];
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const cells = generator.choices(probabilities, size * size).map((drawn) => (drawn === 0 ? FROZEN : HOLE));
    const startRow = generator.integer(size);
    const start = startRow * size + generator.integer(size);
    const goalRow = generator.integer(size);
    const goal = goalRow * size + generator.integer(size);
    if (start === goal) {
      continue;
    }
    cells[start] = FROZEN;
    cells[goal] = GOAL;
    const map = { rows: size, columns: size, cells, start };
    if (shortestWay(map, start) !== null) {
      return map;
    }
  }
  const problem = `frozen-lake: none of ${MAX_ATTEMPTS} maps with frozenProbability ${frozenProbability} has a path`;
  throw new SpaError("BAD_ARGUMENT", problem, { hint: "raise frozenProbability or make the map smaller" });
}
