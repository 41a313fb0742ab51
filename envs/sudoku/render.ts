import type { Digits } from "./board.ts";
import { emptyCells } from "./board.ts";

/** Symbol of an empty cell. */
export const EMPTY = ".";

/** One line a row, cells separated by spaces: `2 3 4 .`. */
export function printSudoku(digits: Digits, size: number): string {
  return Array.from({ length: size }, (_, row) =>
    Array.from(digits.subarray(row * size, (row + 1) * size), (digit) => (digit === 0 ? EMPTY : digit)).join(
      " ",
    ),
  ).join("\n");
}

/** `Empty cells: (1,1), (1,4).`, one-based (row,column) in reading order; `Empty cells: none.` */
export function describeSudoku(digits: Digits, size: number): string {
  const places = emptyCells(digits).map((cell) => `(${Math.floor(cell / size) + 1},${(cell % size) + 1})`);
  return `Empty cells: ${places.length === 0 ? "none" : places.join(", ")}.`;
}
