import type { GridCells } from "../grid-text.ts";

/** Standard symbols by cell code: wall, floor, target, box on target, box, player, player on target. */
export const SOKOBAN_SYMBOLS = ["#", "_", "O", "√", "X", "P", "S"] as const;

export const WALL = 0;
export const FLOOR = 1;
export const TARGET = 2;
export const BOX_ON_TARGET = 3;
export const BOX = 4;
export const PLAYER = 5;
export const PLAYER_ON_TARGET = 6;

/** The actions; the index is the direction. */
export const SOKOBAN_ACTIONS = ["Up", "Down", "Left", "Right"] as const;

/** Row and column change by direction. */
export const ROW_STEPS = [-1, 1, 0, 0] as const;
export const COLUMN_STEPS = [0, 0, -1, 1] as const;

export function isBox(cell: number): boolean {
  return cell === BOX || cell === BOX_ON_TARGET;
}

export function isPlayer(cell: number): boolean {
  return cell === PLAYER || cell === PLAYER_ON_TARGET;
}

/** Whether a cell is a target, whatever stands on it. */
export function hasTarget(cell: number): boolean {
  return cell === TARGET || cell === BOX_ON_TARGET || cell === PLAYER_ON_TARGET;
}

/** What a move did. */
export const STAYED = 0;
const WALKED = 1;
const PUSHED = 2;

/**
 * A room and what is in it.
 *
 * `cells` has a frame of walls around the room, so that no move needs a bounds check: the cell of (row, column) is at
 * `(row + 1) * stride + column + 1`.
 */
export class SokobanBoard {
  readonly rows: number;
  readonly columns: number;
  readonly stride: number;
  readonly cells: Uint8Array;
  /** Index into `cells`. */
  player = -1;
  boxes = 0;
  boxesOnTarget = 0;
  private readonly steps: Int32Array;

  /** Copies a grid that has exactly one player. */
  constructor(grid: GridCells) {
    this.rows = grid.rows;
    this.columns = grid.columns;
    this.stride = grid.columns + 2;
    this.cells = new Uint8Array((grid.rows + 2) * this.stride).fill(WALL);
    this.steps = Int32Array.from(ROW_STEPS, (rowStep, index) => rowStep * this.stride + COLUMN_STEPS[index]);
    for (const [index, cell] of grid.cells.entries()) {
      const row = Math.floor(index / grid.columns);
      const at = (row + 1) * this.stride + (index % grid.columns) + 1;
      this.cells[at] = cell;
      this.boxes += isBox(cell) ? 1 : 0;
      this.boxesOnTarget += cell === BOX_ON_TARGET ? 1 : 0;
      if (isPlayer(cell)) {
        this.player = at;
      }
    }
  }

  get solved(): boolean {
    return this.boxesOnTarget === this.boxes;
  }

  /** The room without its frame. */
  grid(): GridCells {
    const { rows, columns, stride } = this;
    const cells = new Uint8Array(rows * columns);
    for (let row = 0; row < rows; row++) {
      const start = (row + 1) * stride + 1;
      cells.set(this.cells.subarray(start, start + columns), row * columns);
    }
    return { rows, columns, cells };
  }

  /**
   * Moves the player one cell, pushing a box if one is in the way and the cell behind it is free.
   *
   * @returns STAYED, WALKED or PUSHED
   */
  move(direction: number): number {
    const { cells, player } = this;
    const step = this.steps[direction];
    const to = player + step;
    const cell = cells[to];
    let moved = WALKED;
    if (cell === BOX || cell === BOX_ON_TARGET) {
      const beyond = cells[to + step];
      if (beyond !== FLOOR && beyond !== TARGET) {
        return STAYED;
      }
      cells[to + step] = beyond === TARGET ? BOX_ON_TARGET : BOX;
      this.boxesOnTarget += (beyond === TARGET ? 1 : 0) - (cell === BOX_ON_TARGET ? 1 : 0);
      moved = PUSHED;
    } else if (cell === WALL) {
      return STAYED;
    }
    cells[to] = cell === TARGET || cell === BOX_ON_TARGET ? PLAYER_ON_TARGET : PLAYER;
    cells[player] = cells[player] === PLAYER_ON_TARGET ? TARGET : FLOOR;
    this.player = to;
    return moved;
  }
}
