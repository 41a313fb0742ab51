import { badLevel, placeOf, type ReadGrid, readGrid, type Vocabulary, wholeGrid } from "../grid-text.ts";
import { FROZEN, type FrozenLakeMap, GOAL, HOLE, PLAYER, PLAYER_IN_HOLE, PLAYER_ON_GOAL } from "./map.ts";

const NAME = "frozen-lake";

/**
 * Reads a map with its player from text, solvable or not. The text does not tell the start from other frozen cells,
 * so the cell under the player is frozen.
 *
 * @throws SpaError BAD_LEVEL, with line and column
 */
export function readFrozenLakeLevel(text: string, vocabulary: Vocabulary): FrozenLakeMap & ReadGrid {
  const grid = readGrid(NAME, text, vocabulary);
  const { cells } = grid;
  let start = -1;
  let goal = -1;
  for (const [index, cell] of cells.entries()) {
    const place = placeOf(index, grid);
    const symbol = vocabulary.shown[cell];
    if (cell === PLAYER_IN_HOLE || cell === PLAYER_ON_GOAL) {
      const where = cell === PLAYER_ON_GOAL ? "on the goal" : "in a hole";
      const hint = `a level shows the beginning of an episode: put the player (${vocabulary.shown[PLAYER]}) on a frozen cell`;
      throw badLevel(NAME, place, `the player is already ${where} (${symbol})`, hint);
    }
    if (cell === PLAYER) {
      if (start >= 0) {
        throw badLevel(NAME, place, `a second player (${symbol})`, "leave one player");
      }
      start = index;
      cells[index] = FROZEN;
    }
    if (cell === GOAL) {
      if (goal >= 0) {
        throw badLevel(NAME, place, `a second goal (${symbol})`, "leave one goal");
      }
      goal = index;
    }
  }
  for (const [position, code, what] of [
    [start, PLAYER, "player"],
    [goal, GOAL, "goal"],
  ] as const) {
    if (position < 0) {
      const symbol = vocabulary.shown[code];
      throw badLevel(NAME, wholeGrid(grid), `no ${what} (${symbol})`, `put one ${symbol} into the level`);
    }
  }
  return { ...grid, start };
}

/** The BAD_LEVEL error for a map whose goal cannot be reached. */
export function unreachableGoal(map: FrozenLakeMap & ReadGrid, vocabulary: Vocabulary): Error {
  const problem = `the player has no way to the goal (${vocabulary.shown[GOAL]})`;
  const hint = `open a path: replace a hole (${vocabulary.shown[HOLE]}) by a frozen cell (${vocabulary.shown[FROZEN]})`;
  return badLevel(NAME, placeOf(map.start, map), problem, hint);
}
