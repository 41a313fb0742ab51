import fc from "fast-check";
import { expect, it } from "vitest";
import { nearestName } from "../../lib/nearest-name.ts";

const NAMES = ["learningRate", "weightDecay", "frozen-lake", "sokoban", "sudoku", "seed"];

it.each([
  ["learningrate", "learningRate"],
  ["lerningRate", "learningRate"],
  ["learning_rate", "learningRate"],
  ["frozenLake", "frozen-lake"],
  ["frozen lake", "frozen-lake"],
  ["soduku", "sudoku"],
  ["sokban", "sokoban"],
  ["sede", "seed"],
  ["SEED", "seed"],
])("%s was meant to be %s", (word, name) => {
  expect(nearestName(word, NAMES)).toBe(name);
});

it.each(["", "x", "ab", "temperature", "frozen"])("nothing is near %j", (word) => {
  expect(nearestName(word, NAMES)).toBeUndefined();
});

it("takes the first of equally near names, and any iterable", () => {
  expect(nearestName("sat", new Set(["cat", "hat"]))).toBe("cat");
  expect(nearestName("sat", [])).toBeUndefined();
});

it("finds a name after one deletion or swap of neighbours", () => {
  fc.assert(
    fc.property(fc.constantFrom(...NAMES), fc.nat(), fc.boolean(), (name, at, swap) => {
      const index = at % (name.length - 1);
      const changed = swap
        ? name.slice(0, index) + name[index + 1] + name[index] + name.slice(index + 2)
        : name.slice(0, index) + name.slice(index + 1);
      expect(nearestName(changed, NAMES)).toBe(name);
    }),
  );
});
