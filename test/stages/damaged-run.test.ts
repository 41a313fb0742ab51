import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { forgetStages } from "../../lib/cli/forget-stages.ts";
import type { SpaError } from "../../lib/errors.ts";
import { resume, train } from "../../lib/pipeline.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { scheduleStages } from "../../lib/stages/schedule.ts";
import { rejection } from "../thrown-error.ts";
import { outcomeOf, snapshotRun, tinyConfig, watchingProgress } from "./tiny-run.ts";

const root = mkdtempSync(join(tmpdir(), "spa-damaged-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const settings = { arms: ["spa"], base: { steps: 50 }, ppo: { steps: 5, critic: "model" } };
const finished = join(root, "finished");
/** As it was after a step of PPO that has a checkpoint and further steps behind it. */
const underWay = join(root, "under-way");

beforeAll(async () => {
  const progress = watchingProgress((stage, done) => {
    if (stage === "spa/ppo" && done === 3) snapshotRun(finished, underWay);
  });
  await train(tinyConfig(settings), { root, name: "finished", progress });
});

/** The files of a folder within a run folder, of any depth. */
function filesOf(run: string, folder: string): string[] {
  return readdirSync(join(run, folder), { recursive: true, encoding: "utf8" })
    .map((name) => join(folder, name))
    .filter((name) => statSync(join(run, name)).isFile());
}

/** Copies a run folder, flips one bit of a file in the copy, at a place of its content, and goes on with it. */
async function resumeDamaged(from: string, file: string, at: number, redo?: string): Promise<SpaError> {
  const folder = mkdtempSync(join(root, "copy-"));
  cpSync(from, folder, { recursive: true });
  if (redo !== undefined) {
    const run = RunFolder.open(folder);
    using _lock = run.lock();
    forgetStages(run, scheduleStages(run.config), redo);
  }
  const bytes = readFileSync(join(folder, file));
  bytes[Math.floor(at * (bytes.length - 1))] ^= 1 << Math.floor(at * 7);
  writeFileSync(join(folder, file), bytes);
  const before = readFileSync(join(folder, "run.json"));
  const error = await rejection(resume(folder));
  expect(JSON.parse(before.toString()).checkpoints).toEqual(RunFolder.open(folder).checkpoints);
  expect(statSync(join(folder, file)).size).toBe(bytes.length);
  rmSync(folder, { recursive: true });
  return error;
}

/** One flipped bit within, and one at the very end. */
const places = [0.3, 1];

async function expectFound(from: string, file: string, redo?: string): Promise<void> {
  for (const at of places) {
    const error = await resumeDamaged(from, file, at, redo);
    const name = file.replace(/^checkpoints\/[^/]+\//, "");
    expect([file, at, error]).toMatchObject([file, at, { code: "BAD_CHECKPOINT" }]);
    expect(error.message).toContain(name);
    expect(error.message).toMatch(
      /its sha256 is [0-9a-f]{12}… instead of [0-9a-f]{12}…|state\.json is damaged/,
    );
    expect(error.hint).toMatch(/--resume \S+ --redo spa\/\S+|--redo base/);
  }
}

describe("a flipped bit", () => {
  it("is found in what self-play has left", async () => {
    const files = filesOf(finished, "data");
    expect(files).toEqual(["data/spa-self-play-tokens.parquet", "data/spa-self-play.parquet"]);
    for (const file of files) await expectFound(finished, file, "spa/sft");
  });

  it("is found in the trajectories of every stage that is done", async () => {
    for (const file of filesOf(finished, "trajectories")) {
      for (const at of places) {
        const error = await resumeDamaged(finished, file, at);
        expect([file, error]).toMatchObject([file, { code: "BAD_CHECKPOINT" }]);
        expect(error.message).toContain(file);
      }
    }
  });

  it("is found in every file of the checkpoint that the next stage starts from", async () => {
    const run = RunFolder.open(finished);
    const last = run.checkpoints.findLast(({ stage }) => stage === "spa/sft")!;
    const files = filesOf(finished, join("checkpoints", last.name));
    expect(files.length).toBeGreaterThan(5);
    for (const file of files) await expectFound(finished, file, "spa/ppo");
  });

  it("is found in every file of the checkpoint that a stage goes on from, and in its trajectories", async () => {
    const last = RunFolder.open(underWay).checkpoints.at(-1)!;
    expect(last.name).toBe("spa-ppo-2");
    const files = filesOf(underWay, join("checkpoints", last.name));
    expect(files.some((file) => file.includes("/critic/"))).toBe(true);
    expect(files.some((file) => file.includes("/trainer/"))).toBe(true);
    for (const file of files) await expectFound(underWay, file);
    const { code, message } = await resumeDamaged(underWay, "trajectories/spa-ppo.jsonl", 0.1);
    expect([code, message]).toEqual([
      "BAD_CHECKPOINT",
      expect.stringContaining("trajectories/spa-ppo.jsonl"),
    ]);
  });
});

it("a run goes on without what its user has deleted, as long as no stage needs it", async () => {
  const folder = join(root, "without");
  cpSync(underWay, folder, { recursive: true });
  rmSync(join(folder, "trajectories", "spa-self-play.jsonl"));
  for (const file of filesOf(folder, "data")) rmSync(join(folder, file));
  await resume(folder);
  expect(outcomeOf(folder).weights).toEqual(outcomeOf(finished).weights);
});

it("a run folder without digests goes on to the same numbers", async () => {
  const folder = join(root, "earlier");
  cpSync(underWay, folder, { recursive: true });
  const ledger = JSON.parse(readFileSync(join(folder, "run.json"), "utf8"));
  for (const stage of ledger.stages) delete stage.files;
  for (const checkpoint of ledger.checkpoints) {
    delete checkpoint.state;
    delete checkpoint.trajectories;
  }
  ledger.stages = ledger.stages.filter(({ id }: { id: string }) => id !== "spa/ppo");
  ledger.checkpoints = ledger.checkpoints.filter(({ stage }: { stage: string }) => stage !== "spa/ppo");
  writeFileSync(join(folder, "run.json"), JSON.stringify(ledger));
  await resume(folder);
  expect(outcomeOf(folder).weights).toEqual(outcomeOf(finished).weights);
});
