import { badLevel, levelLines, type TextPlace } from "../grid-text.ts";
import { completions, type Digits, emptyCells, isSize, SHAPES, type Shape } from "./board.ts";

const NAME = "sudoku";
const FORM =
  "write one line a row, or all 16 or 81 cells in one line: digits, with a dot, 0 or _ for an empty cell";

interface PlacedDigit {
  digit: number;
  symbol: string;
  place: TextPlace;
}

/**
 * The cells row by row. A text of one line may separate its rows by bars, as upstream prints it, or hold the whole grid, as
 * collections of puzzles do.
 */
function readRows(text: string): PlacedDigit[][] {
  const lines = levelLines(text);
  const rows: PlacedDigit[][] = [];
  for (const [index, line] of lines.entries()) {
    let row: PlacedDigit[] = [];
    rows.push(row);
    for (const [at, symbol] of [...line].entries()) {
      const place = { line: index + 1, column: at + 1 };
      if (symbol === "|" && lines.length === 1) {
        row = [];
        rows.push(row);
      } else if (/^[.0_1-9]$/.test(symbol)) {
        row.push({ digit: Number(symbol) || 0, symbol, place });
      } else if (!/^[\s|]$/.test(symbol)) {
        throw badLevel(NAME, place, `unknown symbol ${JSON.stringify(symbol)}`, FORM);
      }
    }
  }
  const filled = rows.filter((row) => row.length > 0);
  return filled.length === 1 ? cutIntoRows(filled[0]) : filled;
}

/** A whole grid's cells row by row; cells that are none stay together. */
function cutIntoRows(cells: PlacedDigit[]): PlacedDigit[][] {
  const size = Math.sqrt(cells.length);
  if (!isSize(size)) return [cells];
  return Array.from({ length: size }, (_, row) => cells.slice(row * size, (row + 1) * size));
}

/** A puzzle and where its cells stand in the text. */
interface ReadPuzzle {
  shape: Shape;
  digits: Digits;
  places: TextPlace[];
}

function readPuzzle(text: string): ReadPuzzle {
  const rows = readRows(text);
  const size = rows.length;
  const lastLine = levelLines(text).length;
  if (!isSize(size)) {
    const everything = [
      { line: 1, column: 1 },
      { line: lastLine, column: 1 },
    ] as const;
    const problem = size === 1 ? `${rows[0].length} cells in one row` : `${size} rows of cells`;
    throw badLevel(NAME, everything, problem, `a grid has 4 or 9 rows; ${FORM}`);
  }
  for (const row of rows) {
    if (row.length !== size) {
      const { place } = row[Math.min(row.length - 1, size)];
      const problem = `the row has ${row.length} cells where a ${size} x ${size} grid has ${size}`;
      throw badLevel(NAME, place, problem, FORM);
    }
    const tooLarge = row.find(({ digit }) => digit > size);
    if (tooLarge !== undefined) {
      const problem = `unknown symbol "${tooLarge.symbol}"`;
      throw badLevel(NAME, tooLarge.place, problem, `the digits of this grid are 1 to ${size}`);
    }
  }
  const cells = rows.flat();
  const digits = Uint8Array.from(cells, ({ digit }) => digit);
  return { shape: SHAPES[size], digits, places: cells.map(({ place }) => place) };
}

/** The cells of a puzzle whose rows, columns or boxes have a digit twice: the first such cell and its twin. */
function conflict({ peers }: Shape, digits: Digits): [number, number] | null {
  for (const [cell, digit] of digits.entries()) {
    const twin = digit === 0 ? undefined : peers[cell].find((peer) => peer < cell && digits[peer] === digit);
    if (twin !== undefined) {
      return [twin, cell];
    }
  }
  return null;
}

/**
 * Reads a puzzle from text: what `render("grid")` prints, or one line, with a bar before each row or without.
 *
 * A puzzle with several solutions is accepted: any of them counts. So is one whose search gave up.
 *
 * @throws SpaError BAD_LEVEL, with line and column, for a malformed, full, contradictory or unsolvable grid
 */
export function readSudokuLevel(text: string): { shape: Shape; digits: Digits } {
  const { shape, digits, places } = readPuzzle(text);
  const twins = conflict(shape, digits);
  if (twins !== null) {
    const [first, second] = twins.map((cell) => places[cell]);
    const problem = `a second ${digits[twins[1]]} in a row, column or box (the first: line ${first.line}, column ${first.column})`;
    throw badLevel(NAME, second, problem, "let no row, column or box have a digit twice");
  }
  const [firstEmpty] = emptyCells(digits);
  if (firstEmpty === undefined) {
    throw badLevel(
      NAME,
      [places[0], places[places.length - 1]],
      "no cell is empty",
      "leave a cell to fill in",
    );
  }
  const { count, gaveUp } = completions(shape, digits, 1);
  if (count === 0 && !gaveUp) {
    const place = [places[firstEmpty], places[places.length - 1]] as const;
    throw badLevel(NAME, place, "the grid has no solution", "change or remove digits");
  }
  return { shape, digits };
}
