import type { GridCells } from "../grid-text.ts";

/** Standard symbols by cell code: player, frozen, hole, goal, player in a hole, player on the goal. */
export const FROZEN_LAKE_SYMBOLS = ["P", "_", "O", "G", "X", "√"] as const;

export const PLAYER = 0;
export const FROZEN = 1;
export const HOLE = 2;
export const GOAL = 3;
export const PLAYER_IN_HOLE = 4;
export const PLAYER_ON_GOAL = 5;

/** The actions in Gymnasium's order, on which the sideways slips depend: one is a quarter turn from the next. */
export const FROZEN_LAKE_ACTIONS = ["Left", "Down", "Right", "Up"] as const;

/** A lake without its player: `cells` are FROZEN, HOLE or GOAL. */
export interface FrozenLakeMap extends GridCells {
  /** Where the player starts. */
  start: number;
}

/** The cell that a move leads to, for each cell and direction at `4 * cell + direction`; edges hold the player back. */
export function moveTable({ rows, columns }: FrozenLakeMap): Uint16Array {
  const table = new Uint16Array(4 * rows * columns);
  for (let cell = 0; cell < rows * columns; cell++) {
    const row = Math.floor(cell / columns);
    const column = cell % columns;
    table[4 * cell] = column > 0 ? cell - 1 : cell;
    table[4 * cell + 1] = row < rows - 1 ? cell + columns : cell;
    table[4 * cell + 2] = column < columns - 1 ? cell + 1 : cell;
    table[4 * cell + 3] = row > 0 ? cell - columns : cell;
  }
  return table;
}

/** Gymnasium's probability of a slip to the first side, as it computes it. */
const SLIP = (1 - 1 / 3) / 2;
const SLIP_OR_INTENDED = SLIP + 1 / 3;

/** The direction that a slippery move takes: a quarter turn back, the intended one, or a quarter turn on. */
export function slippedDirection(direction: number, uniform: number): number {
  if (uniform < SLIP) {
    return (direction + 3) & 3;
  }
  return uniform < SLIP_OR_INTENDED ? direction : (direction + 1) & 3;
}
