import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { scheduleStages } from "../../lib/stages/schedule.ts";
import { spa, start, writeTinyConfig } from "./spa.ts";

let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "spa-train-"));
  writeTinyConfig(folder);
  const outcome = await spa(folder, ["train", "tiny.yaml", "--name", "straight"]);
  expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
  expect(outcome.stdout).toMatch(/^policy +Pass@1 \[95 %\] +Pass@2 \[95 %\] +format/m);
  for (const policy of ["random", "base", "baseWorldModel", "sft", "control", "spa"]) {
    expect(outcome.stdout).toMatch(new RegExp(`^${policy} +[.\\d]+ \\[[.\\d]+, [.\\d]+\\]`, "m"));
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const path = (name: string) => join(folder, "runs", name);

/** Drops the figures that tell of speed, the only ones that may differ between two runs. */
function withoutTimes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutTimes);
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).filter(([key]) => !/^time$|seconds|per_second/.test(key));
  return Object.fromEntries(entries.map(([key, inner]) => [key, withoutTimes(inner)]));
}

/** Every number that a run leaves: metrics, trajectories, results, and the bytes of all weights and optimiser states. */
function numbersOf(name: string): Record<string, unknown> {
  const numbers: Record<string, unknown> = {};
  for (const entry of readdirSync(path(name), { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath, entry.name).slice(path(name).length + 1);
    if (!entry.isFile() || file.startsWith("lock.")) continue;
    const text = () => readFileSync(join(path(name), file), "utf8");
    if (file === "metrics.jsonl")
      numbers[file] = text()
        .trim()
        .split("\n")
        .map((line) => withoutTimes(JSON.parse(line)));
    else if (file === "results.json") numbers[file] = withoutTimes(JSON.parse(text()));
    else if (file.endsWith(".safetensors"))
      numbers[file] = readFileSync(join(path(name), file)).toString("base64");
    else if (file.startsWith("trajectories/")) numbers[file] = text();
  }
  return numbers;
}

/** An interrupted run may besides have the checkpoint of its interruption. */
function expectSameNumbers(name: string): void {
  const [actual, expected] = [numbersOf(name), numbersOf("straight")];
  const more = Object.keys(actual).filter((file) => !(file in expected));
  expect(more.filter((file) => !file.startsWith("checkpoints/"))).toEqual([]);
  for (const [file, content] of Object.entries(expected)) {
    expect(actual[file] === content || JSON.stringify(actual[file]) === JSON.stringify(content), file).toBe(
      true,
    );
  }
}

test("a run leaves its configuration, ledger, logs, checkpoints, data and results", () => {
  const run = RunFolder.open(path("straight"));
  expect(run.stages.map((stage) => [stage.id, stage.state])).toEqual(
    scheduleStages(run.config).map((stage) => [stage.id, "done"]),
  );
  expect(run.stagesWithTrajectories()).toEqual(
    expect.arrayContaining(["base", "spa/self-play", "spa/ppo", "evaluate/spa"]),
  );
  const results = JSON.parse(readFileSync(run.file("results.json"), "utf8"));
  expect(results).toMatchObject({ preset: "tiny", seed: 1 });
  expect(results.stages.map((stage: { name: string }) => stage.name)).toEqual(
    run.stages.map((stage) => stage.id),
  );
  const checkpoint = run.file("checkpoints", "spa-ppo-4");
  expect(readdirSync(checkpoint)).toEqual(
    expect.arrayContaining(["config.json", "model.safetensors", "tokenizer.json", "critic", "trainer"]),
  );
});

test("the same command again starts a new folder and comes to the same numbers", async () => {
  const { code, stdout } = await spa(folder, ["train", "tiny.yaml", "--quiet"]);
  expect(code).toBe(0);
  expect(stdout).toContain("Pass@1");
  const [again] = readdirSync(join(folder, "runs")).filter((name) => name !== "straight");
  expect(again).toMatch(/^tiny-\d{8}-\d{6}$/);
  expectSameNumbers(again);
  const { stderr } = await spa(folder, ["train", "tiny.yaml", "--name", "straight"]);
  expect(stderr).toContain("runs/straight exists already");
});

test("a finished run that is resumed prints its table and does nothing", async () => {
  const before = numbersOf("straight");
  const { code, stdout } = await spa(folder, ["train", "--resume", "runs/straight", "-q"]);
  expect(code).toBe(0);
  expect(stdout).toContain("Pass@1");
  expect(numbersOf("straight")).toEqual(before);
});

test("Ctrl-C saves, says how to go on, and ends with 130; --resume comes to the same numbers", async () => {
  const training = ["base  begins", "spa/sft  begins", "spa/ppo  begins", "control/ppo  begins"];
  let args = ["train", "tiny.yaml", "--name", "stopped"];
  for (const moment of training) {
    const running = start(folder, args);
    await running.says(moment);
    running.child.kill("SIGINT");
    const { code, stderr } = await running.end;
    expect(stderr).toContain("stopping after this step, which is saved");
    expect(stderr).toContain("Go on with: npx spa train --resume runs/stopped");
    expect(code).toBe(130);
    args = ["train", "--resume"];
  }
  expect((await spa(folder, args)).code).toBe(0);
  expectSameNumbers("stopped");
});

test("kill -9 at any moment; --resume comes to the same numbers", async () => {
  let args = ["train", "tiny.yaml", "--name", "killed"];
  const moments = [
    "run folder",
    "base  begins",
    "evaluate/base  begins",
    "self-play  begins",
    "sft  begins",
    "spa/ppo  begins",
    "spa/ppo  done",
    "control/ppo  begins",
  ];
  for (const [index, moment] of moments.entries()) {
    const running = start(folder, args);
    // A stage that an earlier round has finished is not announced again: on a fast machine a round may run to the end.
    await running.says(moment).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, (index * 37) % 100));
    running.child.kill("SIGKILL");
    await running.end;
    args = ["train", "--resume", "runs/killed"];
  }
  expect((await spa(folder, args)).code).toBe(0);
  expectSameNumbers("killed");
});

test("a second Ctrl-C ends at once, and the run goes on all the same", async () => {
  const running = start(folder, [
    "train",
    "tiny.yaml",
    "--name",
    "twice",
    "base.batchSize=512",
    "engine.microBatchTokens=1000000",
  ]);
  await running.says("base  begins");
  running.child.kill("SIGINT");
  await running.says("stopping after this step");
  await new Promise((resolve) => setTimeout(resolve, 600));
  running.child.kill("SIGINT");
  const { code, signal, stderr } = await running.end;
  // A process that is ending has no handlers any more: the system then ends it, and a shell says 130 all the same.
  expect(signal === null ? code : 128 + constants.signals[signal]).toBe(130);
  expect(stderr).toContain("Go on with: npx spa train --resume runs/twice");
  using _lock = RunFolder.open(path("twice")).lock();
});

test("the stages one by one come to the same numbers; settings of evaluation may be changed", async () => {
  const commands = [
    ["self-play", "tiny.yaml", "--name", "single"],
    ["sft"],
    ["ppo", "--arm", "spa"],
    ["ppo", "--arm", "control"],
    ["eval"],
  ];
  for (const args of commands) {
    const { code, stderr } = await spa(folder, args);
    expect(code, stderr).toBe(0);
  }
  const stages = RunFolder.open(path("single")).stages.map((stage) => stage.id);
  expect([...stages].sort()).toEqual(
    RunFolder.open(path("straight"))
      .stages.map((stage) => stage.id)
      .sort(),
  );
  const evaluations = (name: string) =>
    JSON.parse(readFileSync(join(path(name), "results.json"), "utf8")).evaluations;
  expect(evaluations("single")).toEqual(evaluations("straight"));

  const tuning = await spa(folder, [
    "eval",
    "--run",
    "runs/single",
    "--arm",
    "spa",
    "evaluation.split=tuning",
  ]);
  expect(tuning.code, tuning.stderr).toBe(0);
  expect(RunFolder.open(path("single")).stage("evaluate/spa-tuning")?.state).toBe("done");
  const again = await spa(folder, ["eval", "--run", "runs/single", "--again", "evaluation.samples=3"]);
  expect(again.code, again.stderr).toBe(0);
  expect(evaluations("single").spa.samples).toBe(3);
});

test("a stage that is done again takes what follows from it along", async () => {
  const { code, stderr } = await spa(folder, ["train", "--resume", "runs/single", "--redo", "spa/sft"]);
  expect(code, stderr).toBe(0);
  expect(stderr).toContain("spa/sft  begins");
  expect(stderr).toContain("spa/ppo  begins");
  expect(stderr).not.toContain("base  begins");
  expect(stderr).not.toContain("control/ppo  begins");
});

test("JSON lines: every line of standard output is an event, the last one the results", async () => {
  const { code, stdout } = await spa(folder, [
    "train",
    "tiny.yaml",
    "--log",
    "json",
    "arms=[control]",
    "--seed",
    "3",
  ]);
  expect(code).toBe(0);
  const events = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(events.map(({ event }) => event)).toEqual(expect.arrayContaining(["note", "stage", "stageEnd"]));
  expect(events.at(-1)).toMatchObject({
    event: "results",
    preset: "tiny",
    seed: 3,
    evaluations: { control: { samples: 2 } },
  });
});

test("a broken checkpoint stops the run by name; doing the stage again mends it", async () => {
  const args = ["train", "tiny.yaml", "--name", "broken", "arms=[control]", "ppo.steps=40"];
  const running = start(folder, args);
  await running.says("control/ppo  begins");
  while (!existsSync(join(path("broken"), "checkpoints", "control-ppo-1"))) await sleep(20);
  running.child.kill("SIGINT");
  await running.end;
  const run = RunFolder.open(path("broken"));
  rmSync(run.file("checkpoints", run.checkpoints.at(-1)!.name, "trainer", "optimizer.safetensors"));
  const broken = await spa(folder, ["train", "--resume", "runs/broken"]);
  expect(broken.code).toBe(4);
  expect(broken.stderr).toContain("trainer/optimizer.safetensors is missing");
  expect(broken.stderr).toContain("--redo control/ppo");
  const mended = await spa(folder, ["train", "--resume", "runs/broken", "--redo", "control/ppo"]);
  expect(mended.code, mended.stderr).toBe(0);
});

test("a loss that is not finite stops the run and names the last good checkpoint", async () => {
  const args = [
    "train",
    "tiny.yaml",
    "-q",
    "--name",
    "diverged",
    "arms=[spa]",
    "sft.optimizer.learningRate=1e30",
  ];
  const { code, stderr } = await spa(folder, args);
  expect(code).toBe(5);
  expect(stderr).toContain("error NOT_FINITE");
  expect(stderr).toContain("the last good checkpoint is runs/diverged/checkpoints/base-120");
});

test("export writes the model of a stage as a Hugging Face folder", async () => {
  const { code, stdout, stderr } = await spa(folder, ["export", "runs/straight", "--to", "models/straight"]);
  expect(code, stderr).toBe(0);
  expect(stdout).toBe("spa/ppo, step 4: models/straight\n");
  const exported = join(folder, "models", "straight");
  expect(readdirSync(exported)).toEqual(
    expect.arrayContaining(["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]),
  );
  expect(readdirSync(join(folder, "models"))).toEqual(["straight"]);
  const again = await spa(folder, ["export", "runs/straight", "--to", "models/straight"]);
  expect(again).toMatchObject({ code: 2, stderr: expect.stringContaining("is not empty") });
});
