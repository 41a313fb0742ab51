import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { configSchema } from "../../lib/config/schema.ts";
import { latestCheckpoint } from "../../lib/run/checkpoint.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { buildProgram, killHard, type Program, waitForText } from "./programs/child.ts";
import { content } from "./programs/stand-ins.ts";

const stage = "spa/ppo";
let program: Program;
let root: string;

beforeAll(async () => {
  program = await buildProgram("writer");
  // In memory where the system has such a folder: many more steps fit between two deaths.
  root = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "spa-kill-"));
});
afterAll(() => {
  program[Symbol.dispose]();
  rmSync(root, { recursive: true, force: true });
});

/** The run folder as a fresh reader finds it, and that what stands in it is whole and fits together. */
function checkFolder(path: string): number {
  const run = RunFolder.open(path);
  const checkpoint = latestCheckpoint(run, stage);
  const step = checkpoint?.step ?? 0;
  const steps = run.metrics.read().map((row) => row.step);
  expect(steps).toEqual(Array.from({ length: steps.length }, (_, index) => index + 1));
  expect(steps.length).toBeGreaterThanOrEqual(step);
  expect(run.trajectories(stage).read().length).toBeGreaterThanOrEqual(step);
  if (checkpoint) {
    const optimizer = readFileSync(join(checkpoint.trainerFolder!, "optimizer.safetensors"));
    expect(optimizer.equals(content(step + 2, 40_000))).toBe(true);
    expect(readFileSync(join(checkpoint.folder, "model.safetensors")).equals(content(step, 20_000))).toBe(
      true,
    );
  }
  return step;
}

test("killed at any instant, a run goes on to the same numbers", async () => {
  const config = configSchema.parse({ checkpoints: { keep: 2 } });
  const straight = RunFolder.create(config, { root, name: "straight" });
  await waitForText(program.start([straight.path, "300"]), "finished");

  const killed = RunFolder.create(config, { root, name: "killed" });
  let progress = 0;
  let finished = false;
  for (let death = 0; death < 25 && !finished; death++) {
    const child = program.start([killed.path, "300"]);
    const end = waitForText(child, "finished").then(
      () => true,
      () => false,
    );
    await Promise.race([waitForText(child, "working").catch(() => undefined), end]);
    finished = await Promise.race([end, sleep((death * 37) % 101).then(() => false)]);
    if (!finished) await killHard(child);
    const step = checkFolder(killed.path);
    expect(step).toBeGreaterThanOrEqual(progress);
    progress = step;
  }
  if (!finished) await waitForText(program.start([killed.path, "300"]), "finished");

  const read = (run: RunFolder, ...name: string[]) => readFileSync(run.file(...name), "utf8");
  for (const name of [["metrics.jsonl"], ["trajectories", "spa-ppo.jsonl"], ["results.json"]]) {
    expect(read(killed, ...name)).toBe(read(straight, ...name));
  }
  expect(RunFolder.open(killed.path).stages).toEqual(RunFolder.open(straight.path).stages);
  expect(readdirSync(killed.file("checkpoints")).sort()).toEqual(
    readdirSync(straight.file("checkpoints")).sort(),
  );
  for (const { name, training } of RunFolder.open(killed.path).checkpoints) {
    expect(existsSync(killed.file("checkpoints", name, "trainer"))).toBe(training);
  }
});
