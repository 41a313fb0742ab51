import { z } from "zod";
import type { Environment, Json, RenderMode, ResetOptions, StepResult } from "../environment.ts";
import { checkReset, foreignState, noEpisode, parseOptions, parseState } from "../options.ts";
import { parseSudokuAction } from "./action.ts";
import { completions, type Digits, emptyCells, isAllowed, isSize, SHAPES, type Shape } from "./board.ts";
import { generatePuzzle, MAX_BLANKS } from "./generate.ts";
import { readSudokuLevel } from "./level.ts";
import { describeSudoku, EMPTY, printSudoku } from "./render.ts";

const NAME = "sudoku";

/** A number of empty cells, or a range of it. */
function blanksUpTo(most: number) {
  const error = `empty cells are a number from 1 to ${most}, or two of them, the lower first`;
  const number = z.int(error).min(1, error).max(most, error);
  const range = z.tuple([number, number], error).refine(([low, high]) => low <= high, error);
  return z.union([number, range], { error });
}

const optionsSchema = z.strictObject({
  /** Rows, columns and digits of the puzzles drawn from a seed; a level given as text has its own size. */
  size: z.union([z.literal(4), z.literal(9)], { error: "the size is 4 or 9" }).default(4),
  /** 6, 7 or 10 empty cells of 16; 45, 51 or 57 of 81. */
  difficulty: z.enum(["easy", "medium", "hard"]).default("easy"),
  /** Exact number of empty cells, in place of the difficulty; of two numbers, `[1, 4]`, each seed draws one between them. */
  blanks: blanksUpTo(MAX_BLANKS[9]).optional(),
  /** Steps after which an episode is truncated. */
  maxSteps: z.int().min(1).default(30),
});

/** Options of the environment; all have defaults. */
export type SudokuOptions = z.input<typeof optionsSchema>;

const stateSchema = z.strictObject({
  environment: z.literal(NAME),
  /** Digits row by row, 0 for an empty cell. */
  puzzle: z.string().regex(/^(\d{16}|\d{81})$/),
  digits: z.string().regex(/^(\d{16}|\d{81})$/),
  steps: z.int().min(0),
  over: z.boolean(),
});

interface Episode {
  shape: Shape;
  /** The puzzle as given: its digits may not be replaced. */
  puzzle: Digits;
  digits: Digits;
  text: string;
  steps: number;
  over: boolean;
}

/**
 * Sudoku as SPA's author plays it: an action places one digit, `row,col,value`, counted from 1.
 *
 * Reward 1 for the digit that completes the grid, else 0. Text that is no action, a cell or digit outside the grid and
 * a given cell are not valid; a digit that its row, column or box has already is valid but not placed. A digit of the
 * player's own may be replaced. Every step counts, valid or not: the episode terminates with the complete grid and is
 * truncated after `maxSteps`.
 */
export class SudokuEnvironment implements Environment {
  readonly name = NAME;
  readonly actions: readonly string[] = [];
  private readonly options: z.output<typeof optionsSchema>;
  private episode: Episode | null = null;

  /** @throws SpaError UNKNOWN_NAME or BAD_ARGUMENT for wrong options */
  constructor(options: SudokuOptions = {}) {
    this.options = parseOptions(NAME, optionsSchema, options);
    const most = MAX_BLANKS[this.options.size];
    parseOptions(NAME, z.object({ blanks: blanksUpTo(most).optional() }), { blanks: this.options.blanks });
  }

  instructions(): string {
    const size = this.episode?.shape.size ?? this.options.size;
    const box = Math.sqrt(size);
    return (
      `You are solving a ${size}x${size} Sudoku: fill every empty cell so that each row, each column and each ` +
      `${box}x${box} box has the digits 1 to ${size} once. The digits that were given stay as they are.\n` +
      `Symbols: 1 to ${size} digits, ${EMPTY} empty cell.\n` +
      'An action places one digit and has the form "row,col,value", counted from 1: "1,2,3" puts a 3 into row 1, column 2.'
    );
  }

  /** @throws SpaError BAD_LEVEL for a malformed, full, contradictory or unsolvable level; BAD_ARGUMENT for a bad seed */
  reset(options: ResetOptions): string {
    const { seed, level } = checkReset(NAME, options);
    const { size, difficulty, blanks } = this.options;
    const { shape, digits } =
      level === undefined
        ? { shape: SHAPES[size], digits: generatePuzzle(seed ?? 0, size, difficulty, blanks) }
        : readSudokuLevel(level);
    this.episode = newEpisode(shape, digits, Uint8Array.from(digits));
    return this.episode.text;
  }

  /** @throws SpaError EPISODE_OVER when the episode is over or none was started */
  step(action: string): StepResult {
    const episode = this.episode;
    if (episode === null || episode.over) {
      throw noEpisode(NAME, episode !== null);
    }
    const placement = this.placement(episode, action);
    const effective =
      placement !== null && isAllowed(episode.shape, episode.digits, placement.cell, placement.digit);
    if (effective) {
      episode.digits[placement.cell] = placement.digit;
      episode.text = printSudoku(episode.digits, episode.shape.size);
    }
    const success = effective && !episode.digits.includes(0);
    episode.steps++;
    const truncated = !success && episode.steps >= this.options.maxSteps;
    episode.over = success || truncated;
    return {
      observation: episode.text,
      reward: success ? 1 : 0,
      terminated: success,
      truncated,
      info: { valid: placement !== null, effective, success },
    };
  }

  /** The cell and digit of an action, or null if it is not valid. */
  private placement({ shape, puzzle }: Episode, action: string): { cell: number; digit: number } | null {
    const parsed = parseSudokuAction(action);
    if (parsed === null || parsed.value === null) {
      return null;
    }
    const { row, column, value: digit } = parsed;
    const inside = [row, column, digit].every((number) => number >= 1 && number <= shape.size);
    const cell = (row - 1) * shape.size + column - 1;
    return inside && puzzle[cell] === 0 ? { cell, digit } : null;
  }

  /** `row,col,value` of whatever form the text has; numbers outside the grid are kept, for `step` to refuse. */
  parseAction(text: string): string | null {
    const parsed = parseSudokuAction(text);
    return parsed === null || parsed.value === null ? null : `${parsed.row},${parsed.column},${parsed.value}`;
  }

  render(mode: RenderMode): string {
    const { digits, shape, text } = this.current();
    return mode === "grid" ? text : `${text}\n${describeSudoku(digits, shape.size)}`;
  }

  private current(): Episode {
    if (this.episode === null) {
      throw noEpisode(NAME, false);
    }
    return this.episode;
  }

  state(): Json {
    const { puzzle, digits, steps, over } = this.current();
    return { environment: NAME, puzzle: puzzle.join(""), digits: digits.join(""), steps, over };
  }

  /** @throws SpaError BAD_ARGUMENT for a state of another environment */
  restore(state: Json): void {
    const saved = parseState(NAME, stateSchema, state);
    const [puzzle, digits] = [saved.puzzle, saved.digits].map((text) => Uint8Array.from(text, Number));
    const size = Math.sqrt(puzzle.length);
    if (puzzle.length !== digits.length || !isSize(size) || digits.some((digit) => digit > size)) {
      throw foreignState(NAME, "its two grids do not fit each other");
    }
    if (puzzle.some((digit, cell) => digit !== 0 && digit !== digits[cell])) {
      throw foreignState(NAME, "a given digit was changed");
    }
    const episode = newEpisode(SHAPES[size], puzzle, digits);
    this.episode = Object.assign(episode, { steps: saved.steps, over: saved.over });
  }

  /**
   * The number of empty cells, each of which takes one action; null when the digits placed so far allow no solution
   * (replacing some of them may still lead to one).
   */
  shortestSolution(): number | null {
    const { shape, digits } = this.current();
    return completions(shape, digits, 1).count === 0 ? null : emptyCells(digits).length;
  }

  /** A digit of a solution for the first empty cell; null where there is none, or more cells are empty than actions are left. */
  bestAction(actionsLeft: number | null): string | null {
    const { shape, digits } = this.current();
    const empty = emptyCells(digits);
    if (empty.length === 0 || empty.length > (actionsLeft ?? empty.length)) return null;
    const [cell] = empty;
    for (let digit = 1; digit <= shape.size; digit++) {
      if (!isAllowed(shape, digits, cell, digit)) continue;
      if (completions(shape, digits.with(cell, digit), 1).count === 0) continue;
      return [Math.floor(cell / shape.size) + 1, (cell % shape.size) + 1, digit].join(",");
    }
    return null;
  }
}

function newEpisode(shape: Shape, puzzle: Digits, digits: Digits): Episode {
  return { shape, puzzle, digits, text: printSudoku(digits, shape.size), steps: 0, over: false };
}
