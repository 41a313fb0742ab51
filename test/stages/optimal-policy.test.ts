// The best that can be done, evaluated beside what a run trains.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { train } from "../../lib/index.ts";
import { tinyConfig, tinySettings } from "./tiny-run.ts";

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "spa-optimal-"));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const configOf = (environment: Record<string, unknown>, maxActions: number) =>
  tinyConfig({
    arms: [],
    environment,
    levels: { ...tinySettings.levels, testLevels: 12 },
    protocol: { ...tinySettings.protocol, maxActions },
    evaluation: { samples: 4, references: ["random", "optimal"] },
  });

test("without chance it solves what its actions suffice for, and nothing else", async () => {
  const lake = { name: "frozen-lake", options: { size: 4, slippery: false } };
  const { results } = await train(configOf(lake, 3), { root, name: "firm" });
  const { optimal, random } = results.evaluations;
  for (const [distance, { passAt1 }] of Object.entries(optimal.byDistance))
    expect(passAt1).toBe(Number(distance) <= 3 ? 1 : 0);
  expect(optimal.levels).toBe(random.levels);
  expect(optimal.passAt1).toBeGreaterThan(random.passAt1);
});

test("with chance it fails at times, and still does better than random play", async () => {
  const lake = { name: "frozen-lake", options: { size: 4, slippery: true } };
  const { optimal, random } = (await train(configOf(lake, 10), { root, name: "slippery" })).results
    .evaluations;
  expect(optimal.passAt1).toBeLessThan(1);
  expect(optimal.passAt1).toBeGreaterThan(random.passAt1);
});

test("where the environment does not tell it, nothing begins", async () => {
  const bandit = { name: "bandit", options: {} };
  await expect(train(configOf(bandit, 1), { root, name: "bandit" })).rejects.toMatchObject({
    code: "BAD_CONFIG",
    message: expect.stringContaining("bandit does not tell its best actions"),
  });
});
