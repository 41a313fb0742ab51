import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseSudokuAction } from "../../envs/sudoku/action.ts";
import { completions, SHAPES } from "../../envs/sudoku/board.ts";
import { SudokuEnvironment, type SudokuOptions } from "../../envs/sudoku/environment.ts";
import { type Difficulty, generatePuzzle } from "../../envs/sudoku/generate.ts";
import { caught } from "./errors.ts";
import { fixture, type SudokuFixture } from "./fixtures.ts";
import { playAll } from "./play.ts";

const { episodes, parse_table, generator_9x9 } = fixture<SudokuFixture>("sudoku.json");

/** Upstream's one-line text as this project prints it: a line for each row. */
function asLines(upstream: string): string {
  return upstream
    .split("|")
    .map((row) => row.trim())
    .filter((row) => row !== "")
    .join("\n");
}

/** The solution as actions for the empty cells. */
function solutionActions(puzzle: number[][], solution: number[][]): string[] {
  return puzzle.flatMap((row, rowIndex) =>
    row.flatMap((digit, column) =>
      digit === 0 ? [`${rowIndex + 1},${column + 1},${solution[rowIndex][column]}`] : [],
    ),
  );
}

/** Plays recorded steps up to the end of the episode, then expects one more step to be refused. */
function replay(environment: SudokuEnvironment, steps: SudokuFixture["episodes"][number]["steps"]): void {
  for (const [action, , grid, , reward, done, success, effective, valid] of steps) {
    expect(environment.step(action), action).toEqual({
      observation: asLines(grid),
      reward,
      terminated: success,
      truncated: done && !success,
      info: { valid, effective, success },
    });
    expect(environment.render("grid")).toBe(asLines(grid));
    if (done) {
      expect(caught(() => environment.step("1,1,1")).code).toBe("EPISODE_OVER");
      return;
    }
  }
}

describe("recorded episodes", () => {
  it.each(episodes)("$difficulty, $max_steps steps, seed $seed, $kind", (episode) => {
    const options = { difficulty: episode.difficulty as Difficulty, maxSteps: episode.max_steps };
    const environment = new SudokuEnvironment(options);
    expect(environment.reset({ seed: episode.seed })).toBe(asLines(episode.initial_text));
    expect(environment.shortestSolution()).toBe(16 - episode.clues);
    replay(environment, episode.steps);

    expect(environment.reset({ level: episode.initial_text })).toBe(asLines(episode.initial_text));
    replay(environment, episode.steps);

    environment.reset({ level: asLines(episode.initial_text) });
    const results = solutionActions(episode.puzzle, episode.solution).map((action) =>
      environment.step(action),
    );
    expect(results.at(-1)).toMatchObject({ reward: 1, terminated: true, info: { success: true } });
  });

  it.each(generator_9x9)("9x9 puzzle of seed $seed", ({ seed, puzzle, solution }) => {
    const environment = new SudokuEnvironment({ size: 9, maxSteps: 100 });
    expect(environment.reset({ seed })).toBe(
      puzzle.map((row) => row.map((digit) => digit || ".").join(" ")).join("\n"),
    );
    for (const action of solutionActions(puzzle, solution)) {
      expect(environment.step(action).info.effective).toBe(true);
    }
    expect(environment.render("structured").split("\n").at(-1)).toBe("Empty cells: none.");
    expect(caught(() => environment.step("1,1,1")).code).toBe("EPISODE_OVER");
  });
});

describe("actions", () => {
  it.each(parse_table)("%j is read as upstream reads it", (text, [row, column, value]) => {
    const expected = row === null || column === null ? null : { row: row + 1, column: column + 1, value };
    expect(parseSudokuAction(text)).toEqual(expected);
  });

  it("have one spelling", () => {
    const environment = new SudokuEnvironment();
    expect(environment.parseAction(" 2 , 3 , 1 ")).toBe("2,3,1");
    expect(environment.parseAction("Place 3 at row 2, col 1")).toBe("2,1,3");
    expect(environment.parseAction("9,9,9")).toBe("9,9,9");
    expect(environment.parseAction("row 1 col 1")).toBeNull();
    expect(environment.parseAction("Up")).toBeNull();
  });

  it("never make step throw", () => {
    const environment = new SudokuEnvironment({ maxSteps: 100_000 });
    environment.reset({ seed: 1 });
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom("1", "5", "-", ",", " ", "row", "col", "２", "+", "x") }),
        (text) => {
          const { info, reward } = environment.step(text);
          expect(info.effective && !info.valid).toBe(false);
          expect(reward).toBe(info.success ? 1 : 0);
          if (info.success) {
            environment.reset({ seed: 1 });
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});

describe("texts", () => {
  it("list the empty cells, one-based", () => {
    const environment = new SudokuEnvironment();
    environment.reset({ level: ". 3 4 .\n4 1 2 3\n3 4 1 2\n1 2 . 4" });
    expect(environment.render("structured")).toBe(
      ". 3 4 .\n4 1 2 3\n3 4 1 2\n1 2 . 4\nEmpty cells: (1,1), (1,4), (4,3).",
    );
    expect(environment.instructions()).toContain("4x4 Sudoku");
    expect(new SudokuEnvironment({ size: 9 }).instructions()).toContain("3x3 box");
  });

  it.each([
    ["rows on lines, no spaces", "2341\n..23\n.4.2\n12.4"],
    ["zeros", "2 3 4 1\n0 0 2 3\n0 4 0 2\n1 2 0 4\n"],
    ["bars around boxes", "| 2 3 | 4 1 |\n| . . | 2 3 |\n| . 4 | . 2 |\n| 1 2 | . 4 |"],
    ["upstream's line", "| 2 3 4 1 | . . 2 3 | . 4 . 2 | 1 2 . 4 "],
  ])("are read in several forms: %s", (_, level) => {
    expect(new SudokuEnvironment().reset({ level })).toBe("2 3 4 1\n. . 2 3\n. 4 . 2\n1 2 . 4");
  });
});

describe("puzzles by seed", () => {
  it("have the number of blanks asked for and one solution", () => {
    for (const [size, blanks] of [
      [4, 1],
      [4, 3],
      [4, 12],
      [9, 1],
      [9, 30],
      [9, 55],
    ] as const) {
      for (let seed = 0; seed < 4; seed++) {
        const puzzle = generatePuzzle(seed, size, "easy", blanks);
        expect(puzzle.filter((digit) => digit === 0)).toHaveLength(blanks);
        expect(completions(SHAPES[size], puzzle, 2)).toEqual({ count: 1, gaveUp: false });
      }
    }
  });

  it("have numbers of blanks from a range, each about as often, the same for the same seed", () => {
    const counts = [0, 0, 0, 0];
    for (let seed = 0; seed < 200; seed++) {
      const puzzle = generatePuzzle(seed, 4, "easy", [2, 4]);
      expect(generatePuzzle(seed, 4, "easy", [2, 4])).toEqual(puzzle);
      counts[puzzle.filter((digit) => digit === 0).length - 1]++;
    }
    expect(counts[0]).toBe(0);
    for (const count of counts.slice(1)) expect(Math.abs(count - 200 / 3)).toBeLessThan(20); // three deviations
    expect(new SudokuEnvironment({ blanks: [2, 2] }).reset({ seed: 3 }).match(/\./g)).toHaveLength(2);
  });

  it("are those of a difficulty when blanks says the same", () => {
    expect(generatePuzzle(5, 4, "hard", 6)).toEqual(generatePuzzle(5, 4, "easy"));
  });

  it("refuse numbers of blanks that no puzzle can have", () => {
    const attempt = (options: SudokuOptions) => caught(() => new SudokuEnvironment(options));
    expect(attempt({ blanks: 13 })).toMatchObject({ code: "BAD_ARGUMENT" });
    expect(attempt({ blanks: 0 }).message).toContain('option "blanks"');
    expect(attempt({ size: 9, blanks: 58 }).code).toBe("BAD_ARGUMENT");
    for (const blanks of [[0, 4], [1, 13], [4, 1], [3], [1, 2, 3]] as [number, number][])
      expect(attempt({ blanks }).message).toMatch(/option "blanks.*: empty cells are a number from 1 to/);
    expect(attempt({ size: 6 as 4 }).message).toContain("4 or 9");
  });
});

describe("episodes", () => {
  it("must be started first", () => {
    const environment = new SudokuEnvironment();
    expect(caught(() => environment.step("1,1,1")).code).toBe("EPISODE_OVER");
    expect(caught(() => environment.render("grid")).code).toBe("EPISODE_OVER");
    expect(caught(() => environment.reset({})).code).toBe("BAD_ARGUMENT");
  });

  it("know when the digits placed allow no solution", () => {
    const environment = new SudokuEnvironment();
    environment.reset({ level: "....\n....\n....\n..1." });
    expect(environment.shortestSolution()).toBe(15);
    for (const action of ["1,1,1", "1,2,2", "1,3,3", "2,4,4"]) {
      expect(environment.step(action).info.effective).toBe(true);
    }
    expect(environment.shortestSolution()).toBeNull();
  });

  it("go on to the same numbers after state() and restore()", () => {
    const number = fc.integer({ min: 0, max: 5 });
    const placements = fc.array(fc.tuple(number, number, number).map(String), { maxLength: 20 });
    fc.assert(
      fc.property(fc.nat(), placements, placements, (seed, before, after) => {
        const original = new SudokuEnvironment({ difficulty: "hard" });
        original.reset({ seed });
        playAll(original, before);
        const copy = new SudokuEnvironment();
        copy.restore(JSON.parse(JSON.stringify(original.state())));
        expect(playAll(copy, after)).toEqual(playAll(original, after));
        expect(copy.state()).toEqual(original.state());
        expect(copy.render("structured")).toBe(original.render("structured"));
      }),
    );
  });

  it("refuse foreign states and keep their own", () => {
    const environment = new SudokuEnvironment();
    const grid = environment.reset({ seed: 1 });
    const state = environment.state() as Record<string, string>;
    for (const foreign of [
      null,
      { ...state, environment: "sokoban" },
      { ...state, digits: state.digits.replace(/[1-4]/, "0") },
      { ...state, digits: "1".repeat(81) },
      { ...state, digits: state.digits.replace("0", "7") },
    ]) {
      expect(caught(() => environment.restore(foreign)).code).toBe("BAD_ARGUMENT");
    }
    expect(environment.render("grid")).toBe(grid);
  });
});

describe("levels given as text", () => {
  it.each([
    ["", "line 1, column 1"],
    ["1 2 3\n2 3 1\n3 1 2", "line 1, column 1 to line 3, column 1"],
    ["1 2 3 4\n3 4 1\n. . . .\n. . . .", "line 2, column 5"],
    ["1 2 3 4\n3 4 1 2 .\n. . . .\n. . . .", "line 2, column 9"],
    ["1 2 3 4\n3 x 1 2\n. . . .\n. . . .", "line 2, column 3"],
    ["1 2 3 4\n3 5 1 2\n. . . .\n. . . .", "line 2, column 3"],
    ["1 2 3 4\n3 4 1 2\n1 . . .\n. . . .", "line 3, column 1"],
    ["1 . . .\n. 1 . .\n. . . .\n. . . .", "line 2, column 3"],
    ["1 2 3 4\n3 4 1 2\n2 1 4 3\n4 3 2 1", "line 1, column 1 to line 4, column 7"],
    ["1 2 3 .\n. . . 4\n. . . .\n. . . .", "line 1, column 7 to line 4, column 7"],
  ])("are refused when malformed, full or contradictory: %j", (level, place) => {
    const environment = new SudokuEnvironment();
    const grid = environment.reset({ seed: 1 });
    const error = caught(() => environment.reset({ level }));
    expect(error.code).toBe("BAD_LEVEL");
    expect(error.message).toContain(`sudoku level, ${place}: `);
    expect(error.hint).toBeTruthy();
    expect(environment.render("grid")).toBe(grid);
  });

  it.each([
    ["1..4.4..2..3.3.1", "1 . . 4\n. 4 . .\n2 . . 3\n. 3 . 1"],
    ["1004040020030301\n", "1 . . 4\n. 4 . .\n2 . . 3\n. 3 . 1"],
    [" 1 _ _ 4 _ 4 _ _ 2 _ _ 3 _ 3 _ 1 ", "1 . . 4\n. 4 . .\n2 . . 3\n. 3 . 1"],
    ["1..4|.4..|2..3|.3.1", "1 . . 4\n. 4 . .\n2 . . 3\n. 3 . 1"],
    [
      // Wikipedia's example of a puzzle.
      "530070000600195000098000060800060003400803001700020006060000280000419005000080079",
      "5 3 . . 7 . . . .\n6 . . 1 9 5 . . .\n. 9 8 . . . . 6 .\n8 . . . 6 . . . 3\n4 . . 8 . 3 . . 1\n" +
        "7 . . . 2 . . . 6\n. 6 . . . . 2 8 .\n. . . 4 1 9 . . 5\n. . . . 8 . . 7 9",
    ],
  ])("are read from one line: %j", (level, grid) => {
    expect(new SudokuEnvironment().reset({ level })).toBe(grid);
  });

  it.each([
    ["1..4.4..2..3.3.", "line 1, column 1: 15 cells in one row"],
    ["1..4.5..2..3.3.1", 'line 1, column 6: unknown symbol "5"'],
    ["1..4.4..2..3.3.x", 'line 1, column 16: unknown symbol "x"'],
    ["1..41...2..3.3.1", "line 1, column 5: a second 1"],
  ])("are refused where a line is none: %j", (level, message) => {
    expect(caught(() => new SudokuEnvironment().reset({ level })).message).toContain(message);
  });

  it("are accepted where the search for a solution gives up", () => {
    // Peter Norvig's impossible puzzle, which takes programs like this minutes.
    const level = ".....5.8....6.1.43..........1.5........1.6...3.......553.....61........4.........";
    const environment = new SudokuEnvironment();
    expect(environment.reset({ level })).toMatch(/^\. \. \. \. \. 5 \. 8 \.\n/);
    expect(environment.shortestSolution()).toBeNull();
  });

  it("come back from render", () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.constantFrom<SudokuOptions>({}, { size: 9 }, { blanks: 12 }),
        (seed, options) => {
          const level = new SudokuEnvironment(options).reset({ seed });
          expect(new SudokuEnvironment().reset({ level })).toBe(level);
        },
      ),
      { numRuns: 30 },
    );
  });

  it("never fail in another way than BAD_LEVEL", () => {
    const row = fc.string({
      unit: fc.constantFrom("1", "2", "3", "4", ".", ".", ".", "."),
      minLength: 4,
      maxLength: 4,
    });
    const texts = fc.oneof(
      fc.string(),
      fc.array(row, { minLength: 4, maxLength: 4 }).map((rows) => rows.join("\n")),
    );
    fc.assert(
      fc.property(texts, (level) => {
        const environment = new SudokuEnvironment();
        try {
          const grid = environment.reset({ level });
          expect(environment.reset({ level: grid })).toBe(grid);
        } catch (error) {
          expect(error).toMatchObject({ code: "BAD_LEVEL" });
        }
      }),
      { numRuns: 500 },
    );
  });
});
