import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createEnvironment } from "../../envs/index.ts";
import { estimate, train } from "../../lib/pipeline.ts";
import { scheduleStages } from "../../lib/stages/schedule.ts";
import { checkLevels, sharedSeeds } from "../../lib/stages/training-levels.ts";
import { scratchFolder, tinyConfig } from "./tiny-run.ts";

const sokoban = { environment: { name: "sokoban", options: { searchDepth: 30 } } };

describe("checkLevels", () => {
  const check = (changes: Record<string, unknown>) => {
    const config = tinyConfig({ ...sokoban, ...changes });
    const { name, options } = config.environment;
    return checkLevels(config, scheduleStages(config), createEnvironment(name, options), {});
  };

  it("is content where seeds reach to their bound", async () => {
    // The base stage draws 50 levels from 2,000,000 seeds on, self-play 12 from 1,000,000, PPO 20.
    await check({ levels: { trainSeed: 2 ** 32 - 2_000_050 } });
    await check({ base: { levels: 1 }, levels: { trainSeed: 2 ** 32 - 2_000_001 } });
  });

  it.each([
    [{ levels: { trainSeed: 2 ** 32 - 2_000_049 } }, "levels.trainSeed + 2000000"],
    [{ base: { levels: 60 }, levels: { trainSeed: 2 ** 32 - 2_000_050 } }, "levels.trainSeed + 2000000"],
    [{ levels: { trainSeed: 2 ** 32 } }, "levels.trainSeed + 2000000"],
    [{ levels: { testSeed: 2 ** 32 - 3 } }, "levels.testSeed"],
    [{ levels: { tuningSeed: 2 ** 32 - 2 } }, "levels.tuningSeed"],
    [
      { selfPlay: { trajectories: 24, rounds: 12 }, levels: { trainSeed: 2 ** 32 - 2_100_000 } },
      "levels.trainSeed + 2100000",
    ],
  ])("says by setting that seeds will pass it: %j", async (changes, source) => {
    await expect(check(changes)).rejects.toMatchObject({
      code: "BAD_CONFIG",
      message: expect.stringContaining(`(${source})`),
      hint: expect.stringContaining("a seed is an integer from 0 to 4294967295"),
    });
  });

  it("comes before a run folder, and into a dry run", async () => {
    const root = scratchFolder();
    const config = tinyConfig({ environment: { name: "sudoku", options: {} }, levels: { maxDistance: 2 } });
    const refused = { code: "BAD_CONFIG", message: expect.stringContaining("levels.maxDistance") };
    await expect(train(config, { root, name: "far" })).rejects.toMatchObject(refused);
    expect(existsSync(join(root, "far"))).toBe(false);
    await expect(estimate(config)).rejects.toMatchObject(refused);
  });

  it("comes before the base stage where test levels leave none to train on", async () => {
    const root = scratchFolder();
    const config = tinyConfig({
      environment: { name: "frozen-lake", options: { size: 2, slippery: false } },
      levels: { testLevels: 3000 },
    });
    const notes: string[] = [];
    const progress = { stage: (id: string) => notes.push(id), tick() {}, note() {}, done() {} };
    await expect(train(config, { root, name: "few", progress })).rejects.toMatchObject({
      code: "BAD_CONFIG",
      hint: expect.stringContaining("levels.disjoint=false"),
    });
    expect(notes).toEqual([]);
  });
});

describe("sharedSeeds", () => {
  it("names what is trained on and reported on, unless contents are kept apart", () => {
    const shared = (levels: object) => {
      const config = tinyConfig({ levels });
      return sharedSeeds(config, scheduleStages(config));
    };
    const overlapping = { trainSeed: 100, testSeed: 118, tuningSeed: 121 };
    expect(shared(overlapping)).toEqual([]);
    expect(shared({ disjoint: false })).toEqual([]);
    expect(shared({ ...overlapping, disjoint: false })).toEqual([
      "seeds 121 to 121 are test levels (levels.testSeed) and tuning levels (levels.tuningSeed): levels.disjoint=false",
      "seeds 118 to 119 are training levels (levels.trainSeed) and test levels (levels.testSeed): levels.disjoint=false",
    ]);
  });
});
