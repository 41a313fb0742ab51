import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BuiltInEnvironments, createEnvironment } from "../../envs/index.ts";
import { SpaError } from "../../lib/errors.ts";

type Options = { [Name in keyof BuiltInEnvironments]: BuiltInEnvironments[Name]["options"] };

const options: { [Name in keyof Options]: fc.Arbitrary<Options[Name]> } = {
  sokoban: fc.record(
    {
      rows: fc.integer({ min: 4, max: 9 }),
      columns: fc.integer({ min: 4, max: 9 }),
      boxes: fc.integer({ min: 1, max: 8 }),
      maxSteps: fc.integer({ min: 1, max: 200 }),
      searchDepth: fc.integer({ min: 2, max: 40 }),
      searchStates: fc.integer({ min: 0, max: 3000 }),
      symbols: fc.constantFrom<Record<string, string>>(
        {},
        { _: ".", P: "@", X: "$" },
        { "#": "-", O: "#", _: "*" },
      ),
    },
    { requiredKeys: ["searchDepth", "searchStates"] },
  ),
  "frozen-lake": fc.record(
    {
      size: fc.integer({ min: 2, max: 16 }),
      slippery: fc.boolean(),
      frozenProbability: fc.double({ min: 0.2, max: 1, noNaN: true }),
      maxSteps: fc.option(fc.integer({ min: 1, max: 200 })),
      symbols: fc.constantFrom<Record<string, string>>({}, { _: ".", O: "#" }, { P: "🧍", "√": "🏁" }),
    },
    { requiredKeys: [] },
  ),
  sudoku: fc.oneof(
    fc.record(
      {
        size: fc.constantFrom(4 as const, 9 as const),
        difficulty: fc.constantFrom("easy" as const, "medium" as const, "hard" as const),
        maxSteps: fc.integer({ min: 1, max: 100 }),
      },
      { requiredKeys: [] },
    ),
    fc.record({ size: fc.constant(4 as const), blanks: fc.integer({ min: 1, max: 12 }) }),
  ),
  bandit: fc.record(
    {
      steadyArm: fc.constantFrom("Clerk", "Ärztin", "店員"),
      riskyArm: fc.constantFrom("Prospector", "Gambler"),
      riskyProbability: fc.double({ min: 0, max: 1, noNaN: true }),
    },
    { requiredKeys: [] },
  ),
  countdown: fc.record(
    { numbers: fc.integer({ min: 2, max: 4 }), largest: fc.integer({ min: 2, max: 1000 }) },
    { requiredKeys: [] },
  ),
};
const names = Object.keys(options) as (keyof Options)[];
const seeds = fc.oneof(fc.nat({ max: 1000 }), fc.integer({ min: 0, max: 2 ** 32 - 1 }));

/** What an object is after `reset`, or null where no level comes of the seed. */
function started(name: keyof Options, given: object, reset: { seed: number; level?: string }) {
  const environment = createEnvironment(name as string, given as Record<string, unknown>);
  try {
    const text = environment.reset(reset);
    return { text, state: environment.state(), structured: environment.render("structured") };
  } catch (error) {
    if (error instanceof SpaError && error.code === "BAD_ARGUMENT") return null;
    throw error;
  }
}

describe("levels that an environment has made", () => {
  it.each(names)("%s: are what it reads, whatever its options", (name) => {
    fc.assert(
      fc.property(options[name] as fc.Arbitrary<object>, seeds, (given, seed) => {
        const drawn = started(name, given, { seed });
        fc.pre(drawn !== null);
        expect(started(name, given, { seed, level: drawn?.text as string })).toEqual(drawn);
      }),
      { numRuns: 60 },
    );
  });

  it.each([
    ["sokoban", { rows: 8, columns: 8, boxes: 3, searchStates: 1000 }, 1],
    ["sokoban", { rows: 10, columns: 10, boxes: 4 }, 2],
    ["countdown", { numbers: 4, largest: 1000 }, 48],
    ["countdown", { numbers: 5, largest: 1000 }, 7],
    ["sudoku", { size: 9, blanks: 57 }, 0],
  ] as const)(
    "are read where telling whether they can be solved takes too long: %s, %j",
    (name, given, seed) => {
      const drawn = started(name, given, { seed });
      expect(started(name, given, { seed, level: drawn?.text as string })).toEqual(drawn);
    },
  );
});
