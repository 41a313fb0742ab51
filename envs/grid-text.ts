import { SpaError } from "../lib/errors.ts";
import { nameHint } from "./options.ts";

/** Longest side of a level, in cells. */
export const MAX_SIDE = 16;

/** The symbols of an environment's cells. */
export interface Vocabulary {
  /** The standard symbols; the index is the cell's code. */
  readonly standard: readonly string[];
  /** The symbols that are printed and read, by cell code. */
  readonly shown: readonly string[];
  /** From a printed symbol to its cell code. */
  readonly codes: ReadonlyMap<string, number>;
}

/** A grid read from text: one code for each cell, row by row. */
export interface GridCells {
  rows: number;
  columns: number;
  cells: Uint8Array;
}

function isSingleCharacter(text: string): boolean {
  return [...text].length === 1 && /^[^\s\p{C}]$/u.test(text);
}

/**
 * The vocabulary in which the standard symbols that `replacements` names are printed differently.
 *
 * @param standard standard symbols by cell code
 * @param replacements from a standard symbol to the one to print, e.g. `{ "#": "W" }`
 * @throws SpaError UNKNOWN_NAME for a key that is no standard symbol, BAD_ARGUMENT for a replacement that is not one
 *   visible character or that makes two symbols equal
 */
export function createVocabulary(
  environment: string,
  standard: readonly string[],
  replacements: Readonly<Record<string, string>> = {},
): Vocabulary {
  for (const [symbol, replacement] of Object.entries(replacements)) {
    if (!standard.includes(symbol)) {
      throw new SpaError(
        "UNKNOWN_NAME",
        `environment "${environment}" has no symbol "${symbol}" to replace`,
        {
          hint: nameHint(symbol, standard),
        },
      );
    }
    if (!isSingleCharacter(replacement)) {
      throw new SpaError(
        "BAD_ARGUMENT",
        `environment "${environment}", option "symbols": "${symbol}" is replaced by "${replacement}"`,
        { hint: "a replacement is one visible character" },
      );
    }
  }
  const shown = standard.map((symbol) => replacements[symbol] ?? symbol);
  const codes = new Map(shown.map((symbol, code) => [symbol, code]));
  if (codes.size < shown.length) {
    const twice = shown.find((symbol, index) => shown.indexOf(symbol) !== index);
    throw new SpaError(
      "BAD_ARGUMENT",
      `environment "${environment}", option "symbols": "${twice}" stands for two things`,
      {
        hint: `the symbols would be ${shown.join(" ")}: make them all different`,
      },
    );
  }
  return { standard, shown, codes };
}

/** A place in a level text; both numbers count from 1. */
export interface TextPlace {
  line: number;
  column: number;
}

/** The BAD_LEVEL error for something wrong at one place, or from one place to another. */
export function badLevel(
  environment: string,
  place: TextPlace | readonly [TextPlace, TextPlace],
  problem: string,
  hint: string,
): SpaError {
  const [from, to] = ("line" in place ? [place, place] : place).map(
    ({ line, column }) => `line ${line}, column ${column}`,
  );
  const where = from === to ? from : `${from} to ${to}`;
  return new SpaError("BAD_LEVEL", `${environment} level, ${where}: ${problem}`, { hint });
}

/** A grid, and where its first cell stands in the text that it was read from. */
export interface ReadGrid extends GridCells {
  origin: TextPlace;
}

/** Where a grid begins that is the whole text. */
const TEXT_BEGIN: TextPlace = { line: 1, column: 1 };

/** The place of a cell index in the text of a grid with one character per cell. */
export function placeOf(index: number, { columns, origin }: Pick<ReadGrid, "columns" | "origin">): TextPlace {
  return { line: origin.line + Math.floor(index / columns), column: origin.column + (index % columns) };
}

/** From the first to the last cell of a grid with one character per cell, for what is wrong with it as a whole. */
export function wholeGrid(grid: Pick<ReadGrid, "rows" | "columns" | "origin">): [TextPlace, TextPlace] {
  return [grid.origin, placeOf(grid.rows * grid.columns - 1, grid)];
}

/** The lines of a level text; line ends of any system, a byte order mark, and empty lines at the end make no difference. */
export function levelLines(text: string): string[] {
  const lines = text
    .replace(/^\ufeff/, "")
    .replace(/\r\n?/g, "\n")
    .split("\n");
  while (lines.length > 1 && lines[lines.length - 1] === "") lines.pop();
  return lines;
}

/**
 * Reads a level with one character per cell.
 *
 * @param origin where the text begins in a longer one, for errors
 * @throws SpaError BAD_LEVEL, with line and column, when the text is empty, ragged, too large or has unknown symbols
 */
export function readGrid(
  environment: string,
  text: string,
  vocabulary: Vocabulary,
  origin = TEXT_BEGIN,
): ReadGrid {
  const lines = levelLines(text).map((line) => [...line]);
  const rows = lines.length;
  const columns = lines[0].length;
  if (columns === 0) {
    throw badLevel(environment, origin, "the line is empty", "give one line of symbols per row");
  }
  if (rows > MAX_SIDE || columns > MAX_SIDE) {
    const problem = `${rows} rows of ${columns} cells are too many`;
    throw badLevel(
      environment,
      wholeGrid({ rows, columns, origin }),
      problem,
      `a level has at most ${MAX_SIDE} of each`,
    );
  }
  const cells = new Uint8Array(rows * columns);
  for (const [row, line] of lines.entries()) {
    if (line.length !== columns) {
      const place = { line: row + 1, column: Math.min(line.length, columns) + 1 };
      const problem = `the line has ${line.length} cells where the first has ${columns}`;
      throw badLevel(environment, place, problem, "give every row the same number of cells");
    }
    for (const [column, symbol] of line.entries()) {
      const code = vocabulary.codes.get(symbol);
      if (code === undefined) {
        const problem = `unknown symbol ${JSON.stringify(symbol)}`;
        throw badLevel(environment, { line: row + 1, column: column + 1 }, problem, symbolsHint(vocabulary));
      }
      cells[row * columns + column] = code;
    }
  }
  return { rows, columns, cells, origin };
}

/** The symbols that a level is written in, for hints. */
export function symbolsHint(vocabulary: Vocabulary): string {
  return `the symbols are ${vocabulary.shown.join(" ")}`;
}

/** Prints a grid with one character per cell, rows separated by line breaks. */
export function printGrid({ rows, columns, cells }: GridCells, symbols: readonly string[]): string {
  const lines: string[] = [];
  for (let row = 0; row < rows; row++) {
    let line = "";
    for (let index = row * columns; index < (row + 1) * columns; index++) {
      line += symbols[cells[index]];
    }
    lines.push(line);
  }
  return lines.join("\n");
}

/** `(row,column)` of a cell index, zero-based. */
export function coordinates(index: number, columns: number): string {
  return `(${Math.floor(index / columns)},${index % columns})`;
}

/** "a", "a and b", "a, b and c". */
export function listing(items: readonly string[]): string {
  return items.length < 2
    ? items.join("")
    : `${items.slice(0, -1).join(", ")} and ${items[items.length - 1]}`;
}

/** `box (X) at (1,2)` or `boxes (X) at (1,2) and (3,4)`. */
export function placed(one: string, several: string, symbol: string, places: readonly string[]): string {
  return `${places.length === 1 ? one : several} (${symbol}) at ${listing(places)}`;
}
