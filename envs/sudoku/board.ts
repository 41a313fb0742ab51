/** A Sudoku grid: digits row by row, 0 for an empty cell. */
export type Digits = Uint8Array;

/** Where things are in grids of one size, worked out once. */
export interface Shape {
  /** Rows, columns and digits: 4 or 9. */
  size: number;
  /** Rows and columns of a box: 2 or 3. */
  boxSize: number;
  /** For each cell the cells of its row, column and box, itself among them. */
  peers: readonly (readonly number[])[];
}

function shapeOf(size: number): Shape {
  const boxSize = Math.sqrt(size);
  const boxOf = (row: number, column: number): number =>
    Math.floor(row / boxSize) * boxSize + Math.floor(column / boxSize);
  const cells = Array.from({ length: size * size }, (_, index) => index);
  const peers = cells.map((cell) => {
    const row = Math.floor(cell / size);
    const column = cell % size;
    return cells.filter((other) => {
      const otherRow = Math.floor(other / size);
      const otherColumn = other % size;
      return (
        otherRow === row || otherColumn === column || boxOf(otherRow, otherColumn) === boxOf(row, column)
      );
    });
  });
  return { size, boxSize, peers };
}

/** The shapes that exist, by size. */
export const SHAPES: Readonly<Record<4 | 9, Shape>> = { 4: shapeOf(4), 9: shapeOf(9) };

export function isSize(size: number): size is 4 | 9 {
  return size === 4 || size === 9;
}

/** Whether no cell of the row, column or box of `cell`, itself included, holds `digit`. */
export function isAllowed(shape: Shape, digits: Digits, cell: number, digit: number): boolean {
  return shape.peers[cell].every((peer) => digits[peer] !== digit);
}

/** The cells that hold nothing. */
export function emptyCells(digits: Digits): number[] {
  return [...digits.keys()].filter((cell) => digits[cell] === 0);
}

/** What `completions` found. */
export interface Completions {
  /** Solutions found, at most `limit`. */
  count: number;
  /** The search reached its limit of placed digits; there may be more solutions, or one. */
  gaveUp: boolean;
}

/** Digits that the search may place before it gives up. */
const MAX_PLACED = 500_000;

/**
 * Counts the ways to complete a grid, up to `limit`: depth-first over the empty cell with the fewest possible digits.
 *
 * @param digits a grid without contradictions
 */
export function completions(shape: Shape, digits: Digits, limit: number): Completions {
  const search = new CompletionSearch(shape, Uint8Array.from(digits), limit);
  search.run();
  return { count: search.count, gaveUp: search.placed >= MAX_PLACED };
}

class CompletionSearch {
  count = 0;
  placed = 0;
  private readonly shape: Shape;
  private readonly digits: Digits;
  private readonly limit: number;

  constructor(shape: Shape, digits: Digits, limit: number) {
    this.shape = shape;
    this.digits = digits;
    this.limit = limit;
  }

  /** The digits that a cell's peers hold, as bits. */
  private taken(cell: number): number {
    let bits = 0;
    for (const peer of this.shape.peers[cell]) {
      bits |= 1 << this.digits[peer];
    }
    return bits;
  }

  run(): void {
    const { size } = this.shape;
    let best = -1;
    let bestTaken = 0;
    let fewest = size + 1;
    for (let cell = 0; cell < this.digits.length && fewest > 0; cell++) {
      if (this.digits[cell] !== 0) {
        continue;
      }
      const taken = this.taken(cell);
      let possible = 0;
      for (let digit = 1; digit <= size; digit++) {
        possible += (taken >> digit) & 1 ? 0 : 1;
      }
      if (possible < fewest) {
        [best, bestTaken, fewest] = [cell, taken, possible];
      }
    }
    if (best < 0) {
      this.count++;
      return;
    }
    for (let digit = 1; digit <= size && this.count < this.limit && this.placed < MAX_PLACED; digit++) {
      if (((bestTaken >> digit) & 1) === 0) {
        this.placed++;
        this.digits[best] = digit;
        this.run();
      }
    }
    this.digits[best] = 0;
  }
}
