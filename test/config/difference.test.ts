import { expect, test } from "vitest";
import { changedSettings, differingSettings } from "../../lib/config/difference.ts";
import { loadConfig } from "../../lib/config/load.ts";
import { configSchema } from "../../lib/config/schema.ts";

test("settings that differ, by their paths, also those that one side lacks", () => {
  const here = { a: 1, b: { c: [1, 2], d: "x" }, e: null };
  const there = { a: 1, b: { c: [1, 3], f: true }, e: null };
  expect(differingSettings(here, there)).toEqual([
    { path: "b.c", here: [1, 2], there: [1, 3] },
    { path: "b.d", here: "x", there: undefined },
    { path: "b.f", here: undefined, there: true },
  ]);
});

test("a preset as it is changes nothing; what it leaves open is no change either", () => {
  const config = loadConfig("nano-frozen-lake");
  expect(changedSettings(config)).toEqual({ from: "nano-frozen-lake", changes: [] });
  const planned = { ...config, engine: { ...config.engine, microBatchTokens: 4096 } };
  expect(changedSettings(planned).changes).toEqual([]);
});

test("changes are of the preset, or of the defaults where the preset is a file of the user's", () => {
  const { from, changes } = changedSettings(loadConfig("nano-sokoban", ["seed=7", "ppo.steps=3"]));
  expect(from).toBe("nano-sokoban");
  expect(changes.map(({ path, here }) => [path, here])).toEqual([
    ["seed", 7],
    ["ppo.steps", 3],
  ]);
  expect(changedSettings(configSchema.parse({ preset: "mine", seed: 2 }))).toEqual({
    from: "the defaults",
    changes: [{ path: "seed", here: 2, there: 1 }],
  });
});
