import { coordinates, placed, printGrid, type Vocabulary } from "../grid-text.ts";
import { type FrozenLakeMap, GOAL, HOLE, PLAYER, PLAYER_IN_HOLE, PLAYER_ON_GOAL } from "./map.ts";

/**
 * The texts of a lake's grid, one for each cell that the player can be on. Each is made when first needed and kept:
 * steps are many, cells are few.
 */
export class FrozenLakeText {
  private readonly map: FrozenLakeMap;
  private readonly symbols: readonly string[];
  private readonly texts: (string | undefined)[];
  /** The grid without its player, and where each cell begins in it (a symbol may take two UTF-16 units). */
  private readonly empty: string;
  private readonly begins: Uint16Array;

  constructor(map: FrozenLakeMap, symbols: readonly string[]) {
    this.map = map;
    this.symbols = symbols;
    this.texts = new Array<string | undefined>(map.cells.length).fill(undefined);
    this.empty = printGrid(map, symbols);
    this.begins = new Uint16Array(map.cells.length);
    let begin = 0;
    for (const [index, cell] of map.cells.entries()) {
      this.begins[index] = begin;
      begin += symbols[cell].length + ((index + 1) % map.columns === 0 ? 1 : 0);
    }
  }

  /** The grid with the player at `position`. */
  at(position: number): string {
    const known = this.texts[position];
    if (known !== undefined) {
      return known;
    }
    const cell = this.map.cells[position];
    const player = cell === GOAL ? PLAYER_ON_GOAL : cell === HOLE ? PLAYER_IN_HOLE : PLAYER;
    const begin = this.begins[position];
    const end = begin + this.symbols[cell].length;
    const text = this.empty.slice(0, begin) + this.symbols[player] + this.empty.slice(end);
    this.texts[position] = text;
    return text;
  }
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
