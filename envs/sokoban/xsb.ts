import {
  badLevel,
  type GridCells,
  levelLines,
  symbolsHint,
  type TextPlace,
  type Vocabulary,
} from "../grid-text.ts";
import {
  BOX,
  BOX_ON_TARGET,
  COLUMN_STEPS,
  FLOOR,
  PLAYER,
  PLAYER_ON_TARGET,
  ROW_STEPS,
  TARGET,
  WALL,
} from "./board.ts";

const NAME = "sokoban";

/** The symbols in which Sokoban programs exchange levels, and their cell codes. */
const XSB_CODES: ReadonlyMap<string, number> = new Map([
  ["#", WALL],
  [" ", FLOOR],
  ["-", FLOOR],
  ["_", FLOOR],
  [".", TARGET],
  ["*", BOX_ON_TARGET],
  ["$", BOX],
  ["@", PLAYER],
  ["+", PLAYER_ON_TARGET],
]);
const XSB_HINT =
  "or, all in XSB, # @ + $ * . and for floor a blank, - or _; comments begin with ; or like Title:";

/** An empty line, `; a comment`, or `Title: …`. */
const remarkPattern = /^\s*(?:;|[A-Za-z]+ ?:|$)/;

/**
 * Writes a level of XSB, or one with blanks for floor, in the environment's own symbols and as a rectangle.
 *
 * As Sokoban programs have it, lines may end before the longest does, and blanks to the left of everything, empty lines
 * and comments around the level are passed over.
 *
 * @returns the room's text and where it begins in the level's; null for a text that has the environment's symbols alone
 * @throws SpaError BAD_LEVEL, with line and column, for an unknown symbol, symbols of both kinds, and several levels
 */
export function readXsb(text: string, vocabulary: Vocabulary): { text: string; origin: TextPlace } | null {
  const lines = levelLines(text);
  if (lines.every((line) => [...line].every((symbol) => vocabulary.codes.has(symbol)))) return null;
  const begin = lines.findIndex((line) => !remarkPattern.test(line));
  if (begin < 0) {
    const hint = `${symbolsHint(vocabulary)}, ${XSB_HINT}`;
    throw badLevel(NAME, { line: 1, column: 1 }, "there are only comments and empty lines", hint);
  }
  const end = lines.findLastIndex((line) => !remarkPattern.test(line)) + 1;
  const rows = lines.slice(begin, end).map((line) => [...line.trimEnd()]);
  const codes = alphabetOf(rows, vocabulary);
  for (const [index, row] of rows.entries()) checkRow(row, begin + index + 1, codes, vocabulary);
  const indents = rows.map((row) => row.findIndex((symbol) => symbol !== " "));
  const indent = indents.reduce((least, own) => Math.min(least, own));
  const width = rows.reduce((widest, row) => Math.max(widest, row.length), 0);
  const symbolOf = (symbol = " "): string => vocabulary.shown[codes.get(symbol) as number];
  const written = rows.map((row) =>
    Array.from({ length: width - indent }, (_, column) => symbolOf(row[indent + column])).join(""),
  );
  return { text: written.join("\n"), origin: { line: begin + 1, column: indent + 1 } };
}

/** XSB's codes where a symbol is only XSB's, else the environment's own and the blank. */
function alphabetOf(
  rows: readonly (readonly string[])[],
  { codes }: Vocabulary,
): ReadonlyMap<string, number> {
  const isXsb = rows.flat().some((symbol) => symbol !== " " && XSB_CODES.has(symbol) && !codes.has(symbol));
  return isXsb ? XSB_CODES : new Map([...codes, [" ", FLOOR]]);
}

function checkRow(
  row: readonly string[],
  line: number,
  codes: ReadonlyMap<string, number>,
  vocabulary: Vocabulary,
): void {
  if (row.length === 0) {
    const hint = "give one level, without empty lines";
    throw badLevel(NAME, { line, column: 1 }, "an empty line inside the level", hint);
  }
  const unknown = row.findIndex((symbol) => !codes.has(symbol));
  if (unknown >= 0) {
    const problem = `unknown symbol ${JSON.stringify(row[unknown])}`;
    throw badLevel(NAME, { line, column: unknown + 1 }, problem, `${symbolsHint(vocabulary)}, ${XSB_HINT}`);
  }
}

/** Makes walls of the floor that walls part from the player: in XSB, what lies outside the room is written as floor is. */
export function closeOutside({ rows, columns, cells }: GridCells, player: number): void {
  const reached = new Uint8Array(cells.length);
  reached[player] = 1;
  const queue = [player];
  for (const cell of queue) {
    const [row, column] = [Math.floor(cell / columns), cell % columns];
    for (let direction = 0; direction < 4; direction++) {
      const [nextRow, nextColumn] = [row + ROW_STEPS[direction], column + COLUMN_STEPS[direction]];
      const inside = nextRow >= 0 && nextRow < rows && nextColumn >= 0 && nextColumn < columns;
      const next = nextRow * columns + nextColumn;
      if (inside && cells[next] !== WALL && reached[next] === 0) {
        reached[next] = 1;
        queue.push(next);
      }
    }
  }
  for (const [index, cell] of cells.entries()) {
    if (cell === FLOOR && reached[index] === 0) cells[index] = WALL;
  }
}
