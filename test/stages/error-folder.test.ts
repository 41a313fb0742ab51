import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { SpaError } from "../../lib/errors.ts";
import { createRun, type NewRunOptions, resume, train } from "../../lib/pipeline.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
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
  expect((await resume(error.folder!)).folder).toBe(folder);
});

test("a run that fails names its folder, with the first failure", async () => {
  const { path } = await createRun(config, { root: scratchFolder(), name: "failing" });
  writeFileSync(join(path, "metrics.jsonl"), '{"stage":"base"}\n');
  const error = await resume(path).catch((thrown: SpaError) => thrown);
  expect(error).toMatchObject({ code: "BAD_CHECKPOINT", folder: path });
  expect((error as SpaError).message).toContain("metrics.jsonl, line 1: step");
});
