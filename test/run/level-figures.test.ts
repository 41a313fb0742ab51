import { expect, test } from "vitest";
import { describeLevels, levelFigures } from "../../lib/run/level-figures.ts";

test("levels by distance, their mean over those that have one", () => {
  const figures = levelFigures([2, null, 10, 2, 1]);
  expect(figures).toEqual({ count: 5, meanDistance: 3.75, distances: { 1: 1, 2: 2, 10: 1, unknown: 1 } });
  expect(describeLevels(figures)).toBe(
    "5 levels, shortest solutions of 3.75 actions on average: 1 x 1, 2 x 2, 10 x 1, unknown x 1",
  );
});

test("levels of environments that tell no distance", () => {
  expect(levelFigures([null])).toEqual({ count: 1, meanDistance: null, distances: { unknown: 1 } });
  expect(describeLevels(levelFigures([null, null]))).toBe("2 levels of unknown distance");
});
