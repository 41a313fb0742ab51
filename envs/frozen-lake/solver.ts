import { FROZEN, FROZEN_LAKE_ACTIONS, type FrozenLakeMap, GOAL, HOLE, moveTable } from "./map.ts";

/**
 * Breadth-first search for a shortest way to the goal when no move slips.
 *
 * @param from the cell to start at
 * @returns the actions, or null if holes cut off the goal (or `from` is a hole)
 */
export function shortestWay(map: FrozenLakeMap, from: number): string[] | null {
  const moves = moveTable(map);
  const cameFrom = new Int16Array(map.cells.length).fill(-1);
  const cameBy = new Uint8Array(map.cells.length);
  cameFrom[from] = from;
  const queue = [from];
  for (const cell of queue) {
    if (map.cells[cell] === GOAL) {
      const actions: string[] = [];
      for (let at = cell; at !== from; at = cameFrom[at]) {
        actions.push(FROZEN_LAKE_ACTIONS[cameBy[at]]);
      }
      return actions.reverse();
    }
    for (let direction = 0; direction < 4 && map.cells[cell] !== HOLE; direction++) {
      const next = moves[4 * cell + direction];
      if (cameFrom[next] < 0) {
        cameFrom[next] = cell;
        cameBy[next] = direction;
        queue.push(next);
      }
    }
  }
  return null;
}

/**
 * The action after which the goal is reached most probably in at most `actions` actions, where a move goes in its own direction or to
 * either side with probability 1/3 each: backward induction over the actions that are left (Bellman 1957).
 *
 * @returns the first of equals; null where the goal cannot be reached
 */
export function safestAction(map: FrozenLakeMap, from: number, actions: number): string | null {
  const moves = moveTable(map);
  const chanceOf = (values: Float64Array, cell: number, direction: number) => {
    const to = (side: number) => values[moves[4 * cell + ((direction + side) & 3)]];
    return (to(3) + to(0) + to(1)) / 3;
  };
  const directions = [0, 1, 2, 3];
  // The probability of reaching the goal from each cell, with no action left at first.
  let values = Float64Array.from(map.cells, (cell) => (cell === GOAL ? 1 : 0));
  for (let left = 1; left < actions; left++) {
    values = values.map((value, cell) =>
      map.cells[cell] === FROZEN
        ? Math.max(...directions.map((direction) => chanceOf(values, cell, direction)))
        : value,
    );
  }
  if (actions === 0 || map.cells[from] !== FROZEN) return null;
  const chances = directions.map((direction) => chanceOf(values, from, direction));
  const best = Math.max(...chances);
  return best === 0 ? null : FROZEN_LAKE_ACTIONS[chances.indexOf(best)];
}
