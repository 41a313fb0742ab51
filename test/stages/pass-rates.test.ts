import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SeededGenerator } from "../../lib/rollout/seeded-generator.ts";
import { bootstrapIntervals, passAtK, passCurve } from "../../lib/stages/evaluate/pass-rates.ts";

function binomial(n: number, k: number): bigint {
  let result = 1n;
  for (let i = 0; i < k; i++) result = (result * BigInt(n - i)) / BigInt(i + 1);
  return k > n ? 0n : result;
}

describe("passAtK", () => {
  it("equals 1 - C(n - c, k) / C(n, k)", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.nat(), fc.nat(), (n, rawC, rawK) => {
        const c = rawC % (n + 1);
        const k = 1 + (rawK % n);
        const all = binomial(n, k);
        const exact = Number(((all - binomial(n - c, k)) * 10n ** 15n) / all) / 1e15;
        expect(passAtK(n, c, k)).toBeCloseTo(exact, 10);
      }),
    );
  });

  it("has the known values", () => {
    expect(passAtK(8, 0, 8)).toBe(0);
    expect(passAtK(8, 1, 8)).toBe(1);
    expect(passAtK(8, 2, 1)).toBeCloseTo(0.25, 12);
    expect(passAtK(4, 1, 2)).toBeCloseTo(0.5, 12);
  });

  it("makes a curve over k", () => {
    expect(passCurve(4, 2)).toEqual([0.5, 1 - 1 / 6, 1, 1].map((value) => expect.closeTo(value, 12)));
    expect(passCurve(3, 0)).toEqual([0, 0, 0]);
    expect(passCurve(49, 7)[0]).toBe(7 / 49);
  });

  it("refuses numbers that cannot be", () => {
    expect(() => passAtK(4, 5, 1)).toThrow(RangeError);
    expect(() => passAtK(4, 1, 5)).toThrow(RangeError);
  });
});

describe("bootstrapIntervals", () => {
  it("comes near the normal interval of a mean", () => {
    const values = Array.from({ length: 400 }, (_, index) => (index < 100 ? 1 : 0));
    const [[low, high]] = bootstrapIntervals([values], 4000, new SeededGenerator("bootstrap"));
    const spread = 1.96 * Math.sqrt((0.25 * 0.75) / 400);
    expect(low).toBeCloseTo(0.25 - spread, 2);
    expect(high).toBeCloseTo(0.25 + spread, 2);
  });

  it("gives rows the same draws and equal values no width", () => {
    const values = [0, 1, 0, 1, 1];
    const rows = [values, values.map((value) => 2 * value), [3, 3, 3, 3, 3]];
    const [once, twice, flat] = bootstrapIntervals(rows, 200, new SeededGenerator("rows"));
    expect(twice).toEqual(once.map((end) => 2 * end));
    expect(flat).toEqual([3, 3]);
  });
});
