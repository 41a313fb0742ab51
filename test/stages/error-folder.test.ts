import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { SpaError } from "../../lib/errors.ts";
import { packageVersion } from "../../lib/package.ts";
import { createRun, type NewRunOptions, resume, train } from "../../lib/pipeline.ts";
import type { MetricsRow } from "../../lib/run/metrics.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { readEvents } from "../trackers/event-reader.ts";
import { scratchFolder, tinyConfig, watchingProgress } from "./tiny-run.ts";

const config = tinyConfig({ arms: ["control"], ppo: { steps: 1, validateEvery: 0 } });

async function failure(options: NewRunOptions): Promise<SpaError> {
  return train(config, options).then(
    () => Promise.reject(new Error("the run ended well")),
    (error: SpaError) => error,
  );
}

test("a run that is stopped before there is a folder leaves none, and names none", async () => {
  const root = join(scratchFolder(), "runs");
  const error = await failure({ root, signal: AbortSignal.abort() });
  expect([error.code, error.folder, existsSync(root)]).toEqual(["ABORTED", undefined, false]);
});

test("a run that is stopped in set-up or at work names its folder, and goes on from there", async () => {
  const root = scratchFolder();
  const stop = new AbortController();
  const progress = watchingProgress((stage, done) => {
    if (stage === "base" && done === 20) stop.abort();
  });
  const error = await failure({ root, name: "stopped", signal: stop.signal, progress });
  const folder = join(root, "stopped");
  expect([error.code, error.folder]).toEqual(["ABORTED", folder]);
  await expect(resume(folder, { signal: AbortSignal.abort() })).rejects.toMatchObject({
    code: "ABORTED",
    folder,
  });
  expect(RunFolder.open(folder).checkpoints.at(-1)).toMatchObject({ stage: "base", step: 20 });
  const report = () => readFileSync(join(folder, "report.html"), "utf8");
  expect(report()).toContain("<dd>Base under way</dd>");
  expect((await resume(error.folder!)).folder).toBe(folder);
  // The one that was stopped at once never came to work.
  const { sessions, stages } = RunFolder.open(folder);
  expect(sessions.map(({ package: version }) => version)).toEqual([packageVersion(), packageVersion()]);
  for (const { began, ended } of sessions) expect(began < ended).toBe(true);
  expect(report()).toContain(`<dd>${stages.length} stages done</dd>`);
  expect(report()).toContain("in 2 sessions");
});

test("the report is there from the first checkpoint on, without the lines behind it", async () => {
  const root = scratchFolder();
  let early = "";
  const progress = watchingProgress((stage, done) => {
    const file = join(root, "early", "report.html");
    if (stage === "base" && done === 45 && existsSync(file)) early = readFileSync(file, "utf8");
  });
  const rows: MetricsRow[] = [];
  await train(config, { root, name: "early", progress, onStep: (row) => rows.push(row) });
  expect(rows).toEqual(RunFolder.open(join(root, "early")).metrics.read());
  const { scalars } = readEvents(join(root, "early", "tensorboard", "base"));
  const losses = rows.filter(({ stage }) => stage === "base").map(({ step, loss }) => [step, loss]);
  expect(scalars.loss.map(([step, loss]) => [step, Math.fround(loss)])).toEqual(
    losses.map(([step, loss]) => [step, Math.fround(loss as number)]),
  );
  expect(early).toContain("<dd>Base under way</dd>");
  expect(early).toContain('"step":[1,10,20,30]');
});

test("a report that cannot be written is told of once, and stops nothing", async () => {
  const root = scratchFolder();
  const notes: string[] = [];
  const run = await createRun(config, { root, name: "blind" });
  mkdirSync(join(run.path, "report.html"));
  const progress = { ...watchingProgress(() => {}), note: (text: string) => void notes.push(text) };
  const error = await resume(run.path, { progress }).catch((thrown: SpaError) => thrown);
  expect(error).toMatchObject({ code: "FILE_FAILED" });
  expect(notes.filter((text) => text.includes("the report is not written"))).toHaveLength(1);
  expect(RunFolder.open(run.path).stages.every(({ state }) => state === "done")).toBe(true);
});

test("a run that fails names its folder, with the first failure", async () => {
  const { path } = await createRun(config, { root: scratchFolder(), name: "failing" });
  writeFileSync(join(path, "metrics.jsonl"), '{"stage":"base"}\n');
  const error = await resume(path).catch((thrown: SpaError) => thrown);
  expect(error).toMatchObject({ code: "BAD_CHECKPOINT", folder: path });
  expect((error as SpaError).message).toContain("metrics.jsonl, line 1: step");
});
