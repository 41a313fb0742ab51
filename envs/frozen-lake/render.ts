import { coordinates, placed, printGrid, type Vocabulary } from "../grid-text.ts";
import { type FrozenLakeMap, GOAL, HOLE, PLAYER, PLAYER_IN_HOLE, PLAYER_ON_GOAL } from "./map.ts";

/** The grid with the player at `position`. */
export function printFrozenLake(map: FrozenLakeMap, position: number, vocabulary: Vocabulary): string {
  const cells = Uint8Array.from(map.cells);
  cells[position] =
    cells[position] === GOAL ? PLAYER_ON_GOAL : cells[position] === HOLE ? PLAYER_IN_HOLE : PLAYER;
  return printGrid({ ...map, cells }, vocabulary.shown);
}

/**
 * `Player (P) at (3,2); holes (O) at (0,1) and (1,0); goal (G) at (2,0).`, zero-based (row,column).
 *
 * Every hole and the goal are listed under their own symbol also when the player stands on them; a lake without
 * holes has no holes clause.
 */
export function describeFrozenLake(map: FrozenLakeMap, position: number, vocabulary: Vocabulary): string {
  const placesOf = (code: number): string[] => {
    const places: string[] = [];
    for (const [index, cell] of map.cells.entries()) {
      if (cell === code) {
        places.push(coordinates(index, map.columns));
      }
    }
    return places;
  };
  const { shown } = vocabulary;
  const clauses = [`Player (${shown[PLAYER]}) at ${coordinates(position, map.columns)}`];
  const holes = placesOf(HOLE);
  if (holes.length > 0) {
    clauses.push(placed("hole", "holes", shown[HOLE], holes));
  }
  clauses.push(placed("goal", "goals", shown[GOAL], placesOf(GOAL)));
  return `${clauses.join("; ")}.`;
}
