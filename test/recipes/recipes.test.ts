// The programs of docs/recipes, run as their readers would.
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { exportModel } from "../../lib/index.ts";
import { packageRoot } from "../../lib/package.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { tinyConfig } from "../cli/spa.ts";

let folder: string;
let run: string;

/** Runs a recipe to its end, in {@link folder}. @returns what it printed */
function recipe(name: string, ...args: string[]): Promise<string> {
  const file = join(packageRoot(), "docs", "recipes", `${name}.mjs`);
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [file, ...args], { cwd: folder }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${error.message}\n${stdout}\n${stderr}`));
      else resolve(stdout);
    });
  });
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "spa-recipes-"));
  writeFileSync(join(folder, "tiny.yaml"), tinyConfig);
  // The run that the other recipes use comes of one.
  const printed = await recipe("abort-and-go-on", "tiny.yaml");
  expect(printed).toMatch(
    /base: \d+ to do\n[\s\S]*stopped after step \d+ of base, which is saved; going on with/,
  );
  expect(printed).toMatch(/done: random, base, .*spa/);
  run = RunFolder.latest(join(folder, "runs"))!;
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("own-environment trains on what it defines", async () => {
  const quick = [
    "model={kind: nano, hidden: 32, layers: 2, heads: 2, keyValueHeads: 1, headDimension: 16, intermediate: 64}",
    ...["engine.threads=1", "base.steps=120", "base.levels=40", "base.optimizer.learningRate=0.006"],
    ...["selfPlay.trajectories=48", "selfPlay.rounds=1", "sft.epochs=1", "sft.validationLevels=2"],
    ...["ppo.steps=1", "ppo.groups=2", "ppo.groupSize=2", "ppo.minibatch=2", "ppo.validateEvery=0"],
    ...["levels.testLevels=4", "levels.tuningLevels=4", "evaluation.samples=2", "evaluation.bootstrap=20"],
  ];
  const printed = await recipe("own-environment", ...quick);
  expect(printed).toMatch(/^spa: Pass@1 \d\.\d{3}$/m);
  const made = RunFolder.open(printed.trim().split("\n").at(-1)!);
  expect(made.config.environment.name).toBe("corridor");
  expect(made.stages.every(({ state }) => state === "done")).toBe(true);
});

test("own-loop trains a run's policy", async () => {
  const printed = await recipe("own-loop", run, "2");
  const rates = [...printed.matchAll(/Pass@1 (\d\.\d{3})/g)].map(([, rate]) => rate);
  expect(rates).toHaveLength(2);
  const { evaluations } = JSON.parse(readFileSync(join(run, "results.json"), "utf8"));
  expect(rates[0]).toBe(evaluations.spa.passAt1.toFixed(3));
  expect(printed).toMatch(/step 2: reward -?\d/);
});

test("serve answers, takes rewards and trains", async () => {
  const printed = await recipe("serve", run, "2");
  const [, tokens] = /round 2: reward \d\.\d{3}, (\d+) tokens trained on/.exec(printed)!;
  expect(Number(tokens)).toBeGreaterThan(32);
});

test("evaluate-folder judges an exported model", async () => {
  await exportModel(run, { to: join(folder, "exported") });
  const printed = await recipe("evaluate-folder", "exported", "frozen-lake", "tiny.yaml");
  expect(printed).toMatch(/^exported: 8 levels of frozen-lake, 2 episodes each$/m);
  const { evaluations } = JSON.parse(readFileSync(join(run, "results.json"), "utf8"));
  expect(printed).toContain(`Pass@1 ${(100 * evaluations.spa.passAt1).toFixed(1)} %`);
});
