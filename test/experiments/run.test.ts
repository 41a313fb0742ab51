// Experiments as a user runs them: the command, its processes, and what it leaves.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { planExperiment } from "../../lib/experiments/plan.ts";
import type { ExperimentResults } from "../../lib/experiments/results.ts";
import { createProgress, findExperiment, RunFolder, runExperiment } from "../../lib/index.ts";
import { readResults } from "../../lib/run/results.ts";
import { spa, start, writeTinyConfig } from "../cli/spa.ts";

const experiment = `
export default {
  name: "tiny",
  claim: "Trained policies differ.",
  preset: "./tiny.yaml",
  seeds: 2,
  settings: () => ["levels.testLevels=6", "evaluation.samples=3"],
  arms: () => [
    { name: "plain", about: "plain PPO", trains: "control" },
    { name: "spa", about: "SPA", trains: "spa" },
    { name: "spa-answer", about: "loss on the answer", trains: "spa", ppo: ["ppo.mask=answer"] },
  ],
  comparisons: [["spa", "plain"]],
};`;

const failing = experiment.replace(
  '{ name: "plain", about: "plain PPO", trains: "control" }',
  '{ name: "plain", about: "plain PPO", trains: "control", settings: ["control.optimizer.learningRate=1e30"] }',
);

// Some tests train ten runs, each in a process that loads the engine.
vi.setConfig({ testTimeout: 400_000 });

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "spa-experiment-"));
  writeTinyConfig(folder);
  writeFileSync(join(folder, "tiny.mjs"), experiment);
  writeFileSync(join(folder, "failing.mjs"), failing);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function resultsIn(root: string): ExperimentResults {
  return JSON.parse(
    readFileSync(join(folder, root, "tiny-tiny", "results.json"), "utf8"),
  ) as ExperimentResults;
}

/** Without what names folders and clocks. */
function comparable({ rows, differences, curves }: ExperimentResults): unknown {
  return {
    rows: rows.map(({ cost, ...row }) => ({ ...row, cost: cost && { ...cost, seconds: 0 } })),
    differences,
    curves,
  };
}

const run = (root: string, ...options: string[]) => ["experiment", "./tiny.mjs", "--root", root, ...options];

test("trains shared runs once, and its figures are those of the runs", async () => {
  const { code, stdout, stderr } = await spa(folder, run("first", "--jobs", "2", "--log", "plain"));
  expect([code, stderr.split("\n").filter((line) => line.includes("failed"))]).toEqual([0, []]);
  const runs = readdirSync(join(folder, "first", "runs"));
  const kinds = runs.map((name) => name.replace(/-[0-9a-f]{8}$/, "").replace("tiny-", ""));
  expect(kinds.sort()).toEqual(
    [1, 2]
      .flatMap((seed) =>
        ["base", "control", "format-only", "format-only", "world-model"].map((kind) => `${seed}-${kind}`),
      )
      .sort(),
  );
  const results = resultsIn("first");
  expect(results.missing).toEqual([]);
  const rateOf = (name: string) => results.rows.find((row) => row.name === name)!.passAt["1"];
  expect(results.rows.map(({ name }) => name)).toEqual([
    "random",
    "base",
    "baseWorldModel",
    "plain",
    "after SFT",
    "spa",
    "spa-answer",
  ]);
  const plain = results.arms.plain.folders.map((path) => readResults(path)!.evaluations.control.passAt1);
  for (const [index, rate] of plain.entries()) expect(rateOf("plain").seeds[index]).toBeCloseTo(rate, 12);
  expect(rateOf("plain").mean).toBeCloseTo((plain[0] + plain[1]) / 2, 12);
  expect(results.differences).toHaveLength(1);
  expect(results.differences[0].passAt["1"].mean).toBeCloseTo(rateOf("spa").mean - rateOf("plain").mean, 12);
  expect(stdout).toMatch(/^after SFT +\S+ \[/m);
  const page = readFileSync(join(folder, "first", "tiny-tiny", "report.html"), "utf8");
  expect(page).toContain("Trained policies differ.");
  const reports = [...page.matchAll(/href="\.\.\/(runs\/[^"]+)"/g)].map(([, path]) => path);
  expect(reports).toHaveLength(6);
  for (const path of reports) expect(existsSync(join(folder, "first", path))).toBe(true);
  expect(readdirSync(join(folder, "first", "tiny-tiny", "figures"))).toContain("pass-at-k.svg");
});

test("done again it trains nothing, and with a seed more only that", async () => {
  const before = resultsIn("first");
  const again = await spa(folder, run("first", "--quiet"));
  expect(again.code).toBe(0);
  expect(resultsIn("first")).toEqual(before);
  const more = await spa(folder, run("first", "--seeds", "3", "--arms", "plain", "--quiet"));
  expect(more.code).toBe(0);
  expect(readdirSync(join(folder, "first", "runs"))).toHaveLength(12);
  expect(resultsIn("first").rows.find(({ name }) => name === "plain")?.seeds).toEqual([1, 2, 3]);
});

test("a program finds what the command has trained", async () => {
  const experiment = await findExperiment(join(folder, "tiny.mjs"));
  const { results, failures } = await runExperiment({
    experiment: { ...experiment, preset: join(folder, "tiny.yaml") },
    root: join(folder, "first"),
    jobs: 1,
    seeds: [1, 2],
    progress: createProgress({ mode: "quiet", stream: process.stderr }),
  });
  expect(failures.size).toBe(0);
  expect(readdirSync(join(folder, "first", "runs"))).toHaveLength(12);
  expect(results.rows.map(({ seeds }) => seeds)).toEqual(results.rows.map(() => [1, 2]));
});

test("runs an arm with the best of its trials", async () => {
  const tuned = run(
    "tuned",
    "--seeds",
    "1",
    "--tune",
    "ppo.optimizer.learningRate=1e-5,1e-2",
    "--arms",
    "plain",
  );
  const { code, stdout } = await spa(folder, [...tuned, "--log", "plain"]);
  expect(code).toBe(0);
  const [name] = readdirSync(join(folder, "tuned")).filter((entry) => entry.startsWith("tiny-tiny-"));
  const file = join(folder, "tuned", name, "results.json");
  const { tuning, arms, rows } = JSON.parse(readFileSync(file, "utf8")) as ExperimentResults;
  const { passAt1, chosen } = tuning!.arms.plain;
  const runs = readdirSync(join(folder, "tuned", "runs")).map((entry) =>
    join(folder, "tuned", "runs", entry),
  );
  const trials = runs.flatMap((path) => {
    const { seed, evaluation, control } = RunFolder.open(path).config;
    const rate = readResults(path)?.evaluations.control?.passAt1;
    const isTrial = seed === 0 && evaluation.split === "tuning" && rate !== undefined;
    return isTrial ? [[control.optimizer.learningRate, rate]] : [];
  });
  expect(trials.sort(([left], [right]) => left - right)).toEqual([
    [1e-5, passAt1[0]],
    [1e-2, passAt1[1]],
  ]);
  expect(chosen).toBe(passAt1[1]! > passAt1[0]! ? 1 : 0);
  expect(RunFolder.open(arms.plain.folders[0]).config.control.optimizer.learningRate).toBe(
    [1e-5, 1e-2][chosen!],
  );
  expect(rows.find((row) => row.name === "plain")?.seeds).toEqual([1]);
  expect(stdout).toMatch(
    /^trials \(\* chosen\) +ppo\.optimizer\.learningRate=1e-5 +ppo\.optimizer\.learningRate=1e-2$/m,
  );
  const planned = await spa(folder, [...tuned, "--dry-run"]);
  expect(planned.stdout).toMatch(
    /before them trials of every arm, 2 each, with seed 0: 3 runs, \S+ TFLOP, 0 of/,
  );
});

test("two processes on one root train each run once, and come to the same", async () => {
  const options = ["--seeds", "1", "--arms", "plain", "--log", "plain"];
  const ended = await Promise.all([
    spa(folder, run("together", ...options)),
    spa(folder, run("together", ...options)),
  ]);
  expect(ended.map(({ code, stderr }) => [code, /failed/.test(stderr)])).toEqual([
    [0, false],
    [0, false],
  ]);
  const tables = ended.map(({ stdout }) => stdout.slice(0, stdout.indexOf("report:")));
  expect(tables[0]).toBe(tables[1]);
  expect(readdirSync(join(folder, "together", "runs"))).toHaveLength(2);
  const straight = await spa(folder, run("apart", ...options));
  expect(straight.stdout.slice(0, straight.stdout.indexOf("report:"))).toBe(tables[0]);
});

test("killed and stopped it goes on to the same figures", async () => {
  const killed = start(folder, run("second", "--jobs", "2", "--seeds", "1", "--log", "plain"));
  while (!existsSync(join(folder, "second", "runs"))) await sleep(50);
  while (!readdirSync(join(folder, "second", "runs")).some((name) => name.includes("world-model")))
    await sleep(50);
  killed.child.kill("SIGKILL");
  await killed.end;
  const interrupted = start(folder, run("second", "--jobs", "2", "--seeds", "1", "--log", "plain"));
  await interrupted.says("begins");
  await sleep(500);
  interrupted.child.kill("SIGINT");
  const stopped = await interrupted.end;
  expect(stopped.code).toBe(130);
  expect(stopped.stderr).toContain("stopped. The same command goes on");
  expect(stopped.stderr).not.toContain("has failed");
  const ended = await spa(folder, run("second", "--jobs", "1", "--seeds", "1", "--quiet"));
  expect(ended.stderr).toBe("");
  expect(ended.code).toBe(0);
  const straight = await spa(folder, run("first", "--seeds", "1", "--quiet"));
  expect(straight.code).toBe(0);
  expect(comparable(resultsIn("second"))).toEqual(comparable(resultsIn("first")));
});

test("where a run fails the others go on", async () => {
  const { code, stderr } = await spa(folder, [
    "experiment",
    "./failing.mjs",
    "--root",
    "third",
    "--seeds",
    "1",
    "--log",
    "plain",
  ]);
  expect(code).toBe(5);
  expect(stderr).toMatch(/tiny-1-control-\w+ has failed: NOT_FINITE: /);
  const { rows, missing } = resultsIn("third");
  expect(rows.map(({ name }) => name)).toContain("spa");
  expect(rows.map(({ name }) => name)).not.toContain("plain");
  expect(missing.map((name) => name.replace(/-[0-9a-f]{8}$/, ""))).toEqual(["tiny-1-control"]);
});

test("a folder that was trained with other settings is not taken for a run", async () => {
  const runs = join(folder, "fifth", "runs");
  const planned = planExperiment({
    experiment: { ...(await findExperiment(join(folder, "tiny.mjs"))), preset: join(folder, "tiny.yaml") },
    seeds: [1],
    arms: ["plain"],
    runs,
  });
  const [{ name, config }] = planned.runs;
  RunFolder.create({ ...config, base: { ...config.base, steps: 1 } }, { root: runs, name });
  const { code, stderr } = await spa(folder, run("fifth", "--seeds", "1", "--arms", "plain", "--quiet"));
  expect(code).toBe(4);
  expect(stderr).toContain(`${name} has failed: BAD_CHECKPOINT: `);
  expect(stderr).toContain("is a run with another base.steps");
  expect(stderr).toContain(`it starts from ${name}, which has failed`);
});

test("a dry run says what it takes and makes nothing", async () => {
  const { code, stdout } = await spa(folder, run("fourth", "--dry-run", "--rate", "0.01"));
  expect(code).toBe(0);
  expect(stdout).toMatch(
    /10 runs, \S+ TFLOP, \S+ of them to be done: about \S+ with \d+ at a time, at 0.01 TFLOP\/s/,
  );
  expect(stdout).toMatch(/tiny-1-world-model-\w+ +tiny-1-base-\w+/);
  expect(existsSync(join(folder, "fourth"))).toBe(false);
});

test.each([
  [["experiment", "mian"], 'there is no experiment "mian"; did you mean "main"?'],
  [["experiment", "./none.mjs"], "does not exist"],
  [["experiment", "main", "seed=3"], "an experiment sets this itself, run by run"],
  [["experiment", "main", "--seeds", "none"], "It must be how many, such as 5, or which"],
])("%j is refused", async (args, said) => {
  const { code, stderr } = await spa(folder, args);
  expect(code).toBe(2);
  expect(stderr).toContain(said);
});
