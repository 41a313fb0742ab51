import { describe, expect, it } from "vitest";
import { createEnvironment } from "../../envs/index.ts";
import { SpaError } from "../../lib/errors.ts";
import { type Level, LevelStream, scarceDistances, splitLevels } from "../../lib/rollout/levels.ts";

const lake = (size: number) => createEnvironment("frozen-lake", { size, slippery: false });
const split = {
  testSeed: 123,
  tuningSeed: 5000,
  testLevels: 30,
  tuningLevels: 20,
  disjoint: true,
  maxDistance: null,
  testDistances: "natural" as const,
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

  it("heeds a bound of one draw's own, and names its setting", async () => {
    const stream = new LevelStream(lake(4), 0, { maxDistance: 6 });
    const limit = { maxDistance: 2, setting: "ppo.curriculum.fromDistance" };
    const near = await stream.take(5, undefined, limit);
    expect(near.every(({ distance }) => distance !== null && distance <= 2)).toBe(true);
    const later = await stream.take(40);
    expect(later[0].seed).toBe(near[4].seed + 1);
    expect(Math.max(...later.map(({ distance }) => distance ?? 0))).toBeGreaterThan(2);
    const none = stream.take(1, undefined, { ...limit, maxDistance: 0 });
    await expect(none).rejects.toMatchObject({
      message: expect.stringContaining("at most 0 actions (ppo.curriculum.fromDistance)"),
      hint: "raise ppo.curriculum.fromDistance, or make the environment's levels easier",
    });
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

describe("LevelStream at its limits", () => {
  const refusal = async (take: Promise<unknown>): Promise<SpaError> => {
    const error = await take.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(SpaError);
    expect(error).toMatchObject({ code: "BAD_CONFIG" });
    return error as SpaError;
  };
  /** Six boxes in 6x6 cells: no room comes of most seeds. */
  const crowded = () => createEnvironment("sokoban", { rows: 6, columns: 6, boxes: 6, searchDepth: 60 });

  it("passes over seeds that no level comes of, and goes on from its counter", async () => {
    const stream = new LevelStream(crowded(), 0);
    const levels = await stream.take(2);
    expect(stream.nextSeed).toBe(levels[1].seed + 1);
    expect(levels[1].seed).toBeGreaterThan(1);
    const environment = crowded();
    for (let seed = 0; seed < stream.nextSeed; seed++) {
      const level = levels.find((one) => one.seed === seed);
      if (level === undefined)
        expect(() => environment.reset({ seed })).toThrow(/no room of 6 x 6 with 6 boxes/);
      else expect(environment.reset({ seed })).toBe(level.grid);
    }
    expect(await new LevelStream(crowded(), levels[0].seed + 1).take(1)).toEqual([levels[1]]);
  });

  it("gives up where no seed has a level, with the environment's reason and the setting", async () => {
    const environment = createEnvironment("sokoban", { rows: 4, columns: 4, boxes: 8 });
    const { message, hint } = await refusal(
      new LevelStream(environment, 10, { source: "levels.testSeed" }).take(1),
    );
    expect(message).toContain(
      "up to 69 (levels.testSeed): 60 give no level: sokoban: no room of 4 x 4 with 8 boxes",
    );
    expect(hint).toBe("use a larger room, fewer boxes or a deeper search, or change levels.testSeed");
  });

  it("gives up at an environment's last seed, and at the last that is a whole number", async () => {
    const environment = createEnvironment("sokoban");
    const near = new LevelStream(environment, 2 ** 32 - 2, { source: "levels.trainSeed" });
    expect((await near.take(2)).map(({ seed }) => seed)).toEqual([2 ** 32 - 2, 2 ** 32 - 1]);
    const { message, hint } = await refusal(near.take(1));
    expect(message).toContain("(levels.trainSeed)");
    expect(hint).toContain("from 0 to 4294967295");
    const last = new LevelStream(lake(4), Number.MAX_SAFE_INTEGER - 1, { source: "levels.trainSeed" });
    expect(await last.take(2)).toHaveLength(2);
    expect((await refusal(last.take(1))).hint).toBe("lower levels.trainSeed");
  });

  it("gives up by setting where every level is too far or nobody knows how far", async () => {
    const sudoku = createEnvironment("sudoku");
    const { message, hint } = await refusal(new LevelStream(sudoku, 0, { maxDistance: 5 }).take(1));
    expect(message).toContain("1000 have no known solution of at most 5 actions (levels.maxDistance)");
    expect(hint).toContain("raise levels.maxDistance");
    const bandit = new LevelStream(createEnvironment("bandit"), 0, { maxDistance: 5 });
    const unknown = await refusal(bandit.take(1));
    expect(unknown.message).toContain("levels.maxDistance=5");
    expect(unknown.hint).toContain("shortestSolution()");
    expect(bandit.nextSeed).toBe(0);
  });

  it("names every reason, and has more patience where there was a level", async () => {
    const few = new Set((await new LevelStream(lake(2), 0).take(4000)).map(({ grid }) => grid));
    const [kept] = few;
    few.delete(kept);
    const stream = new LevelStream(lake(2), 0, { excluded: few });
    const [level] = await stream.take(1);
    expect(level.grid).toBe(kept);
    few.add(kept);
    const { message } = await refusal(stream.take(1));
    expect(message).toContain("in 200000 seeds");
    expect(message).toContain("200000 are test or tuning levels");
  });

  it("lets errors of another kind through", async () => {
    const broken = {
      ...createEnvironment("bandit"),
      reset: () => Promise.reject(new SpaError("CAPACITY", "full")),
    };
    await expect(new LevelStream(broken as never, 0).take(1)).rejects.toMatchObject({ code: "CAPACITY" });
  });
});

describe("splitLevels", () => {
  it("names the setting where a split cannot be drawn", async () => {
    const bandit = () => createEnvironment("bandit");
    await expect(splitLevels(bandit(), split)).rejects.toMatchObject({
      code: "BAD_CONFIG",
      message: expect.stringContaining("(levels.tuningSeed)"),
      hint: expect.stringContaining("levels.disjoint=false"),
    });
    const shared = await splitLevels(bandit(), { ...split, disjoint: false });
    expect(shared.tuning).toHaveLength(20);
  });

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

describe("an even draw of test levels", () => {
  const even = { ...split, testDistances: "even" as const, tuningLevels: 1 };
  const countsOf = (levels: readonly Level[]): { [distance: string]: number } =>
    Object.fromEntries(
      [...new Set(levels.map(({ distance }) => distance))]
        .sort((a, b) => Number(a) - Number(b))
        .map((distance) => [distance, levels.filter((level) => level.distance === distance).length]),
    );

  it("has as many levels of each distance, the first ones that the seeds give", async () => {
    const { test } = await splitLevels(lake(4), { ...even, maxDistance: 4, testLevels: 22 });
    expect(countsOf(test)).toEqual({ 1: 6, 2: 6, 3: 5, 4: 5 });
    expect(scarceDistances(test)).toEqual([]);
    const natural = await new LevelStream(lake(4), 123, { maxDistance: 4 }).take(220);
    for (const [distance, count] of [
      [1, 6],
      [2, 6],
      [3, 5],
      [4, 5],
    ]) {
      const firsts = natural.filter((level) => level.distance === distance).slice(0, count);
      expect(test.filter((level) => level.distance === distance)).toEqual(firsts);
    }
    expect(test.map(({ seed }) => seed)).toEqual(test.map(({ seed }) => seed).toSorted((a, b) => a - b));
  });

  it("takes more of other distances where one has too few, and says which", async () => {
    const levels = (...distances: number[]) =>
      distances.map((distance, seed): Level => ({ seed, grid: "", distance }));
    expect(scarceDistances(levels(1, 1, 1, 2, 2, 2, 3))).toEqual([3]);
    expect(scarceDistances(levels(1, 1, 3, 3))).toEqual([2]);
    const { test } = await splitLevels(lake(4), { ...even, testLevels: 64 });
    const counts = countsOf(test);
    expect(test).toHaveLength(64);
    const longest = Math.max(...Object.keys(counts).map(Number));
    const drawn = countsOf(await new LevelStream(lake(4), 123).take(640));
    const most = Math.max(...Object.values(counts));
    for (let distance = 1; distance <= longest; distance++) {
      // As many as the fullest distance, one fewer, or all there are.
      const all = drawn[distance] ?? 0;
      expect(counts[distance] ?? 0).toBeGreaterThanOrEqual(Math.min(all, most - 1));
    }
  });

  it("needs distances", async () => {
    await expect(
      splitLevels(createEnvironment("bandit"), { ...even, disjoint: false }),
    ).rejects.toMatchObject({
      code: "BAD_CONFIG",
      message: expect.stringContaining("levels.testDistances=even finds 0 levels"),
    });
  });
});
