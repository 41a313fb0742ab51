import { describe, expect, it } from "vitest";
import { createEnvironment } from "../../envs/index.ts";
import { SpaError } from "../../lib/errors.ts";
import { LevelStream, splitLevels } from "../../lib/rollout/levels.ts";

const lake = (size: number) => createEnvironment("frozen-lake", { size, slippery: false });
const split = {
  testSeed: 123,
  tuningSeed: 5000,
  testLevels: 30,
  tuningLevels: 20,
  disjoint: true,
  maxDistance: null,
};

describe("LevelStream", () => {
  it("draws levels of consecutive seeds with their distance", async () => {
    const stream = new LevelStream(lake(4), 123);
    const levels = await stream.take(5);
    expect(levels.map(({ seed }) => seed)).toEqual([123, 124, 125, 126, 127]);
    const environment = lake(4);
    for (const level of levels) {
      environment.reset({ seed: level.seed });
      expect(environment.render("grid")).toBe(level.grid);
      expect(environment.shortestSolution()).toBe(level.distance);
    }
  });

  it("goes on from its counter", async () => {
    const whole = await new LevelStream(lake(4), 10_000).take(12);
    const first = new LevelStream(lake(4), 10_000);
    await first.take(7);
    expect(await new LevelStream(lake(4), first.nextSeed).take(5)).toEqual(whole.slice(7));
  });

  it("skips levels by content, whatever their seed", async () => {
    // Lakes of 2x2 cells are few: with some excluded, none of them may come under any other seed.
    const excluded = new Set((await new LevelStream(lake(2), 0).take(4)).map(({ grid }) => grid));
    const drawn = await new LevelStream(lake(2), 1000, { excluded }).take(200);
    expect(drawn.some(({ grid }) => excluded.has(grid))).toBe(false);
    expect(drawn[199].seed).toBeGreaterThan(1199);
  });

  it("keeps only levels that are near enough", async () => {
    const drawn = await new LevelStream(lake(4), 0, { maxDistance: 2 }).take(50);
    expect(Math.max(...drawn.map(({ distance }) => distance ?? 0))).toBe(2);
  });

  it("gives up with an error where nothing is left", async () => {
    const excluded = new Set((await new LevelStream(lake(2), 0).take(4000)).map(({ grid }) => grid));
    const stream = new LevelStream(lake(2), 0, { excluded });
    const error = await stream.take(1).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(SpaError);
    expect((error as SpaError).code).toBe("BAD_CONFIG");
    expect((error as SpaError).hint).toContain("levels.disjoint=false");
  });
});

describe("splitLevels", () => {
  it("takes the published test levels and keeps tuning levels apart from them", async () => {
    const { test, tuning, held } = await splitLevels(lake(4), split);
    expect(test.map(({ seed }) => seed)).toEqual(Array.from({ length: 30 }, (_, index) => 123 + index));
    expect(tuning).toHaveLength(20);
    const tested = new Set(test.map(({ grid }) => grid));
    expect(tuning.some(({ grid }) => tested.has(grid))).toBe(false);
    for (const { grid } of [...test, ...tuning]) expect(held.has(grid)).toBe(true);
  });

  it("holds nothing back where the levels need not be disjoint", async () => {
    const { held } = await splitLevels(lake(4), { ...split, disjoint: false });
    expect(held.size).toBe(0);
  });
});
