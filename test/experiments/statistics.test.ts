import { describe, expect, test } from "vitest";
import { estimateCells, estimateSeeds, pairedDifference } from "../../lib/experiments/statistics.ts";
import { SeededGenerator } from "../../lib/rollout/seeded-generator.ts";

const generator = () => new SeededGenerator("test");

describe("intervals over seeds", () => {
  test("Student's t with n - 1 degrees of freedom", () => {
    // s = .1, t(2) = 4.303: .1 * 4.303 / sqrt(3)
    const { mean, interval } = estimateSeeds([0.6, 0.7, 0.8]);
    expect(mean).toBeCloseTo(0.7, 12);
    expect(interval[0]).toBeCloseTo(0.7 - 0.248434, 5);
    expect(interval[1]).toBeCloseTo(0.7 + 0.248434, 5);
  });

  test("beyond the table: t(30) = 2.0423", () => {
    const values = Array.from({ length: 31 }, (_, index) => index);
    const deviation = Math.sqrt((31 * 32) / 12);
    expect(estimateSeeds(values).interval[1] - 15).toBeCloseTo((2.0423 * deviation) / Math.sqrt(31), 2);
  });

  test("one seed: the value alone", () => {
    expect(estimateSeeds([0.3])).toEqual({ mean: 0.3, interval: [0.3, 0.3] });
  });
});

describe("intervals over seeds and levels", () => {
  test("equal cells leave nothing open", () => {
    const rows = [
      [0.5, 0.5],
      [0.5, 0.5],
    ];
    expect(estimateCells([rows], 100, generator())).toEqual([{ mean: 0.5, interval: [0.5, 0.5] }]);
  });

  test("seeds and levels both count, as the variance of an additive table says", () => {
    const [seeds, levels] = [40, 50];
    const cells = Array.from({ length: seeds }, (_, seed) =>
      Array.from({ length: levels }, (_, level) => seed + 2 * level),
    );
    const [{ mean, interval }] = estimateCells([cells], 4000, generator());
    // Population variances of 0 .. n - 1 are (n^2 - 1) / 12; those of means are divided by what is drawn.
    const variance = (seeds ** 2 - 1) / 12 / seeds + (4 * (levels ** 2 - 1)) / 12 / levels;
    expect(mean).toBeCloseTo(19.5 + 49, 10);
    expect((interval[1] - interval[0]) / 2 / (1.96 * Math.sqrt(variance))).toBeCloseTo(1, 1);
  });

  test("many seeds of the same play do not pass for many levels", () => {
    const row = [0, 1, 0, 1, 1, 0, 1, 0];
    const [one] = estimateCells([[row]], 2000, generator());
    const [ten] = estimateCells([Array.from({ length: 10 }, () => row)], 2000, generator());
    expect(ten.interval[1] - ten.interval[0]).toBeCloseTo(one.interval[1] - one.interval[0], 1);
  });

  test("figures of one call see the same draws", () => {
    const cells = [
      [0.1, 0.9, 0.4],
      [0.2, 0.8, 0.3],
    ];
    const [one, other] = estimateCells([cells, cells], 50, generator());
    expect(one).toEqual(other);
  });

  test("refuses what has no cells, or not the same ones", () => {
    expect(() => estimateCells([], 10, generator())).toThrow(RangeError);
    expect(() => estimateCells([[[]]], 10, generator())).toThrow(RangeError);
    expect(() => estimateCells([[[1], [1, 2]]], 10, generator())).toThrow(RangeError);
  });
});

describe("paired differences", () => {
  test("what seeds and levels have in common cancels", () => {
    const cells = [
      [0.9, 0.1],
      [0.8, 0],
    ];
    const above = cells.map((row) => row.map((value) => value + 0.05));
    const [{ mean, interval }] = estimateCells([pairedDifference(above, cells)], 200, generator());
    expect(mean).toBeCloseTo(0.05, 12);
    expect(interval[1] - interval[0]).toBeCloseTo(0, 12);
  });

  test("refuses other levels", () => {
    expect(() => pairedDifference([[1, 2]], [[1]])).toThrow(RangeError);
    expect(() => pairedDifference([[1]], [[1], [1]])).toThrow(RangeError);
  });
});
