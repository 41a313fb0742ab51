import { FROZEN_LAKE_ACTIONS, type FrozenLakeMap, GOAL, HOLE, moveTable } from "./map.ts";

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
