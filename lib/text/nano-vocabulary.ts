// The words of the nano model. A model of 0.19M parameters learns what a token means from a few thousand examples, so
// every token is a unit of meaning: one cell, one row number, one column number, one phrase. The order is the order of
// the ids and is part of every saved nano checkpoint: append only.

/** Recognised anywhere in a text, and dropped when a decoder skips special tokens. */
export const specialTokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] as const;

/** Recognised anywhere in a text; ordinary text otherwise. */
export const tagTokens = [
  "<think>",
  "</think>",
  "<observation>",
  "</observation>",
  "<prediction>",
  "</prediction>",
  "<answer>",
  "</answer>",
] as const;

const digits = Array.from({ length: 10 }, (_, digit) => String(digit));
const widths = [3, 4, 5, 6, 7, 8, 9, 10];

/** One token per grid cell, and what stands between rows. */
const cells = ["_", "P", "O", "G", "X", "√", "#", "S", "\n", " ", ".", "|", " .", " |"];

/**
 * The wall around a Sokoban room carries no information, so it is merged: the upper wall with the left wall of the
 * first row, the right wall of a row with the left wall of the next, the lower wall with the right wall before it. Every
 * inner cell then stands at a fixed offset from its neighbours, and a 6x6 room takes 21 tokens instead of 41.
 */
const walls = [
  "#\n#",
  ...widths.map((width) => `${"#".repeat(width)}\n#`),
  ...widths.map((width) => `#\n${"#".repeat(width)}`),
];

/** `(1,4)` is " (1," + "4)"; `1,4,3` is "1," + "4" + ",3"; a Sudoku cell is " 4". Rows, columns, values never share. */
const numbers = [
  ...digits.map((digit) => ` (${digit},`),
  ...digits.map((digit) => `${digit})`),
  ...digits.map((digit) => ` ${digit}`),
  ...digits,
  ...digits.map((digit) => `${digit},`),
  ...digits.map((digit) => `,${digit}`),
];

const statePhrases = [
  "\nPlayer (P) at",
  "; box (X) at",
  "; boxes (X) at",
  "; goal (O) at",
  "; goals (O) at",
  "; hole (O) at",
  "; holes (O) at",
  "; goal (G) at",
  "\nEmpty cells:",
  "\nNo empty cells",
  " and",
  ",",
  ";",
  ":",
];

const actionWords = ["Up", "Down", "Left", "Right", " || "];

const promptPhrases = [
  "user\n",
  "assistant\n",
  "system\n",
  "Predict the next state and act",
  "Think and act",
  ", at most",
  ":\n",
];

/** For the reasoning of base traces. */
const fillerWords = [
  "I",
  "The",
  "So",
  " I",
  " The",
  " So",
  " the",
  " is",
  " not",
  " at",
  " to",
  " from",
  " of",
  " in",
  " move",
  " go",
  " push",
  " fill",
  " avoid",
  " up",
  " down",
  " left",
  " right",
  " above",
  " below",
  " closer",
  " then",
  " so",
  " player",
  " goal",
  " box",
  " hole",
  " wall",
  " cell",
  " row",
  " column",
  " digit",
  " safe",
  " away",
  " next",
];

/** The model's own words: everything but special tokens, tags and bytes. */
export const nanoWords: readonly string[] = [
  ...cells,
  ...walls,
  ...numbers,
  ...statePhrases,
  ...actionWords,
  ...promptPhrases,
  ...fillerWords,
];

/**
 * The pre-tokeniser's pattern: at each place of a text the first alternative that matches is one token. What matches
 * nothing falls back to single characters and bytes. Oniguruma and JavaScript read the pattern alike.
 *
 * - The upper wall must begin a line and must not follow a line that ends in `#`; the lower wall must end a line and
 *   not be followed by one that begins with `#`. So inner rows that are all wall stay one token per cell.
 * - `1,` is a row number only before a column and another comma; `,3` a value only behind a digit.
 * - Words match whole words only.
 * - `<` stands alone so that a text like `<0x41>` is not taken for the byte token of that name.
 */
export function nanoPattern(): string {
  const literals = nanoWords
    .filter((word) => !walls.includes(word) && !/^([0-9],|,[0-9]| [0-9])$/.test(word))
    .sort((a, b) => b.length - a.length || (a < b ? -1 : 1))
    .map(literalPattern);
  return [
    "(?<![^\\n])(?<!#\\n)#{3,10}\\n#",
    "#\\n#{3,10}(?![^\\n])(?!\\n#)",
    "#\\n#",
    "[0-9],(?=[0-9],)",
    "(?<=[0-9]),[0-9]",
    " [0-9](?!,[0-9])",
    ...literals,
    "<",
  ].join("|");
}

function literalPattern(word: string): string {
  const escaped = word.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&").replaceAll("\n", "\\n");
  if (word.length === 1 && word !== "I") {
    return escaped; // a cell: its neighbours may be letters
  }
  return `${/^[A-Za-z]/.test(word) ? "(?<![A-Za-z])" : ""}${escaped}${/[A-Za-z]$/.test(word) ? "(?![A-Za-z])" : ""}`;
}
