/** A digit to be placed; row and column count from 1. `value` is null when the text named only a cell. */
export interface SudokuAction {
  row: number;
  column: number;
  value: number | null;
}

/** Full-width digits, which models trained on Chinese or Japanese text write, become ASCII. */
function withAsciiDigits(text: string): string {
  return text.replace(/[\uff10-\uff19]/g, (digit) =>
    String.fromCharCode(digit.charCodeAt(0) - 0xff10 + 0x30),
  );
}

function integerOf(word: string | undefined, pattern: RegExp): number | null {
  return word !== undefined && pattern.test(word) ? Number(word) : null;
}

/** `place 3 at row 2 col 1`, in any order: the words after "row" and "col", and the first other number. */
function parseNamed(words: readonly string[]): SudokuAction | null {
  const rowAt = words.indexOf("row") + 1;
  const columnAt = words.indexOf("col") + 1;
  if (rowAt === 0 || columnAt === 0) {
    return null;
  }
  const row = integerOf(words[rowAt], /^[+-]?\d+$/);
  const column = integerOf(words[columnAt], /^[+-]?\d+$/);
  const value = words.find((word, index) => index !== rowAt && index !== columnAt && /^\d+$/.test(word));
  if (row === null || column === null) {
    return null;
  }
  return { row, column, value: value === undefined ? null : Number(value) };
}

/**
 * Reads an action as the environment of SPA's author does: `row,col,value` or `row col value` (the first three
 * numbers; what follows is ignored), or with the words row and col anywhere in the text, the named form. Numbers may
 * lie outside the grid.
 *
 * @returns null when the text is of neither form
 */
export function parseSudokuAction(text: string): SudokuAction | null {
  const plain = withAsciiDigits(String(text)).toLowerCase().trim();
  const words = plain.replaceAll(",", " ").split(/\s+/);
  if (plain.includes("row") && plain.includes("col")) {
    return parseNamed(words);
  }
  const [row, column, value] = words.slice(0, 3).map((word) => integerOf(word, /^-?\d+$/));
  if (row == null || column == null || value == null) {
    return null;
  }
  return { row, column, value };
}
