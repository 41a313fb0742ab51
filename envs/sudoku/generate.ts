import { SpaError } from "../../lib/errors.ts";
import { PythonRandom } from "../rng/python-random.ts";
import { completions, type Digits, emptyCells, SHAPES, type Shape } from "./board.ts";

/** How many cells a puzzle leaves empty. */
export type Difficulty = "easy" | "medium" | "hard";

/** Empty cells by size and difficulty, as in the environment of SPA's author. */
const BLANKS: Readonly<Record<4 | 9, Record<Difficulty, number>>> = {
  4: { easy: 6, medium: 7, hard: 10 },
  9: { easy: 45, medium: 51, hard: 57 },
};

/** Most empty cells that can be asked for: with more, digging hardly ever ends with a single solution. */
export const MAX_BLANKS: Readonly<Record<4 | 9, number>> = { 4: 12, 9: 57 };

/** A number of empty cells, or the least and the most of a range that each seed draws from. */
export type Blanks = number | readonly [number, number];

const EXTRA_ROUNDS = 8;
const MAX_GRIDS = 200;

/** Numbers 0 to `groups * groups - 1` with the groups shuffled, and within each group its members. */
function shuffledLines(groups: number, random: PythonRandom): number[] {
  const order = Array.from({ length: groups }, (_, group) => group);
  random.shuffle(order);
  return order.flatMap((group) => {
    const members = Array.from({ length: groups }, (_, member) => group * groups + member);
    random.shuffle(members);
    return members;
  });
}

/** A full grid: a regular pattern whose rows, columns and digits are shuffled. */
function fullGrid({ size, boxSize }: Shape, random: PythonRandom): Digits {
  const rows = shuffledLines(boxSize, random);
  const columns = shuffledLines(boxSize, random);
  const digits = Array.from({ length: size }, (_, index) => index + 1);
  random.shuffle(digits);
  return Uint8Array.from({ length: size * size }, (_, cell) => {
    const row = rows[Math.floor(cell / size)];
    const column = columns[cell % size];
    return digits[(row * boxSize + Math.floor(row / boxSize) + column) % size];
  });
}

/** Empties cells in random order as long as the solution stays the only one. */
function dig(shape: Shape, solution: Digits, blanks: number, random: PythonRandom): Digits {
  const puzzle = Uint8Array.from(solution);
  const cells = [...puzzle.keys()];
  let emptied = 0;
  for (let round = 0; round <= EXTRA_ROUNDS && emptied < blanks; round++) {
    random.shuffle(cells);
    for (const cell of cells) {
      if (emptied >= blanks) {
        break;
      }
      const digit = puzzle[cell];
      if (digit === 0) {
        continue;
      }
      puzzle[cell] = 0;
      if (completions(shape, puzzle, 2).count === 1) {
        emptied++;
      } else {
        puzzle[cell] = digit;
      }
    }
  }
  return puzzle;
}

/**
 * The puzzle that the environment of SPA's author draws from the same seed; it has one solution.
 *
 * With `difficulty` alone the puzzle is upstream's, even if it ends up with fewer empty cells than the difficulty
 * names. With `blanks` the number is kept: if one grid does not allow it, the same generator draws the next. Of a range
 * the generator first draws the number, all alike.
 *
 * @throws SpaError BAD_ARGUMENT when no grid drawn from the seed allows so many empty cells
 */
export function generatePuzzle(seed: number, size: 4 | 9, difficulty: Difficulty, wanted?: Blanks): Digits {
  const shape = SHAPES[size];
  const random = new PythonRandom(seed);
  const blanks = typeof wanted === "object" ? random.randint(...wanted) : wanted;
  for (let grid = 0; grid < MAX_GRIDS; grid++) {
    const puzzle = dig(shape, fullGrid(shape, random), blanks ?? BLANKS[size][difficulty], random);
    if (blanks === undefined || emptyCells(puzzle).length === blanks) {
      return puzzle;
    }
  }
  throw new SpaError(
    "BAD_ARGUMENT",
    `sudoku: no puzzle with ${blanks} empty cells came out of seed ${seed}`,
    {
      hint: "ask for fewer blanks",
    },
  );
}
