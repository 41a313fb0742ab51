import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { configSchema } from "../../lib/config/schema.ts";
import {
  bestCheckpoint,
  checkLargeFiles,
  latestCheckpoint,
  saveCheckpoint,
} from "../../lib/run/checkpoint.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { errorOf } from "../thrown-error.ts";
import { checkpointParts } from "./programs/stand-ins.ts";

const stage = "spa/ppo";
let root: string;
let run: RunFolder;
let lock: Disposable;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "spa-checkpoint-"));
  run = RunFolder.create(configSchema.parse({ checkpoints: { keep: 2 } }), { root, name: "run" });
  lock = run.lock();
  run.beginStage(stage);
});
afterEach(() => {
  lock[Symbol.dispose]();
  rmSync(root, { recursive: true, force: true });
});

const save = (step: number, validation?: number) =>
  saveCheckpoint(run, { stage, step, ...checkpointParts(step, 100), state: { step }, validation });

test("a checkpoint comes back with its state and folders", async () => {
  const folder = await save(10, 0.5);
  expect(folder).toBe(join(run.path, "checkpoints", "spa-ppo-10"));
  expect(latestCheckpoint(run, stage)).toEqual({
    name: "spa-ppo-10",
    folder,
    stage,
    step: 10,
    state: { step: 10 },
    validation: 0.5,
    criticFolder: join(folder, "critic"),
    trainerFolder: join(folder, "trainer"),
  });
  expect(RunFolder.open(run.path).stage(stage)?.checkpoint).toBe(join("checkpoints", "spa-ppo-10"));
  expect(latestCheckpoint(run, "control/ppo")).toBeUndefined();
  expect(readdirSync(run.file("checkpoints"))).toEqual(["spa-ppo-10"]);
});

test("the newest few and the best stay; all but the newest lose their training state", async () => {
  for (const [step, validation] of [
    [1, 0.2],
    [2, 0.9],
    [3, 0.1],
    [4, 0.3],
    [5, undefined],
  ] as const) {
    await save(step, validation);
  }
  expect(run.checkpoints.map(({ step, training }) => [step, training])).toEqual([
    [2, false],
    [4, false],
    [5, true],
  ]);
  expect(readdirSync(run.file("checkpoints")).sort()).toEqual(["spa-ppo-2", "spa-ppo-4", "spa-ppo-5"]);
  const best = bestCheckpoint(run, stage)!;
  expect(best).toMatchObject({ step: 2, validation: 0.9, trainerFolder: undefined, criticFolder: undefined });
  expect(existsSync(join(best.folder, "model.safetensors"))).toBe(true);
  expect(existsSync(join(best.folder, "trainer"))).toBe(false);
});

test("stages rotate apart, and saving a step again changes nothing", async () => {
  await save(1);
  run.beginStage("control/ppo");
  for (const step of [1, 2, 3]) {
    await saveCheckpoint(run, { stage: "control/ppo", step, ...checkpointParts(step, 10), state: null });
  }
  await save(1);
  expect(run.checkpoints.map(({ name }) => name)).toEqual(["spa-ppo-1", "control-ppo-2", "control-ppo-3"]);
});

const damages: [what: string, damage: (folder: string) => void, message: string][] = [
  ["folder missing", (folder) => rmSync(folder, { recursive: true }), "the folder is missing"],
  ["weights missing", (folder) => rmSync(join(folder, "model.safetensors")), "model.safetensors is missing"],
  [
    "optimiser truncated",
    (folder) => truncateSync(join(folder, "trainer", "optimizer.safetensors"), 150),
    "trainer/optimizer.safetensors has 150 bytes instead of 200",
  ],
  [
    "critic longer",
    (folder) => appendFileSync(join(folder, "critic", "model.safetensors"), "x"),
    "critic/model.safetensors has 101 bytes instead of 100",
  ],
  [
    "foreign weights",
    (folder) => writeFileSync(join(folder, "model.safetensors"), Buffer.alloc(100)),
    "model.safetensors is not what was saved",
  ],
  ["state missing", (folder) => rmSync(join(folder, "state.json")), "state.json is missing"],
  ["state torn", (folder) => truncateSync(join(folder, "state.json"), 20), "state.json is damaged"],
  ["state foreign", (folder) => writeFileSync(join(folder, "state.json"), "[]"), "state.json is damaged"],
  [
    "a counter in the state changed",
    (folder) => {
      const file = join(folder, "state.json");
      writeFileSync(file, readFileSync(file, "utf8").replace('"state":{"step":20}', '"state":{"step":21}'));
    },
    "state.json is not what was saved: its sha256 is ",
  ],
];
test.each(damages)(
  "a broken checkpoint is an error that names an older whole one: %s",
  async (_what, damage, message) => {
    await save(10);
    const folder = await save(20);
    damage(folder);
    const error = errorOf(() => latestCheckpoint(run, stage));
    expect(error.code).toBe("BAD_CHECKPOINT");
    expect(error.message).toContain(`${folder} is broken: ${message}`);
    expect(error.hint).toContain(`${run.file("checkpoints", "spa-ppo-10")} (weights only) is whole`);
    expect(error.hint).toContain("--redo spa/ppo");
  },
);

test("a large file is compared with its digest before it is read", async () => {
  const large = Buffer.alloc(65 * 2 ** 20, 7);
  const parts = checkpointParts(10, 100);
  const folder = await saveCheckpoint(run, {
    stage,
    step: 10,
    ...parts,
    model: { save: (to) => writeFileSync(join(to, "model.safetensors"), large) },
    state: null,
  });
  const opened = latestCheckpoint(run, stage)!;
  await checkLargeFiles(run, opened.folder);
  large[40 * 2 ** 20] ^= 1;
  writeFileSync(join(folder, "model.safetensors"), large);
  await checkLargeFiles(run, opened.trainerFolder!);
  await checkLargeFiles(run, root);
  await expect(checkLargeFiles(run, opened.folder)).rejects.toMatchObject({
    code: "BAD_CHECKPOINT",
    message: expect.stringContaining(`${folder} is broken: model.safetensors is not what was saved`),
    hint: expect.stringContaining("--redo spa/ppo"),
  });
});

test("with no other checkpoint whole the hint says so", async () => {
  rmSync(join(await save(10), "config.json"));
  expect(errorOf(() => latestCheckpoint(run, stage)).hint).toContain(
    "no other checkpoint of this run is whole",
  );
});

test("a full disk leaves the last good checkpoint, names it, and nothing aside", async () => {
  const good = await save(10);
  const parts = checkpointParts(20, 100);
  parts.trainer.saveState = async (folder) => {
    symlinkSync("/dev/full", join(folder, "optimizer.safetensors"));
    writeFileSync(join(folder, "optimizer.safetensors"), "x");
  };
  const saving = saveCheckpoint(run, { stage, step: 20, ...parts, state: null });
  await expect(saving).rejects.toMatchObject({
    code: "DISK_FULL",
    message: expect.stringContaining(`the last good checkpoint is ${good}`),
  });
  expect(readdirSync(run.file("checkpoints"))).toEqual(["spa-ppo-10"]);
  expect(latestCheckpoint(run, stage)?.step).toBe(10);
});

test("locking removes checkpoints that the ledger does not name, and training state it has given up", async () => {
  await save(1);
  await save(2);
  for (const name of ["spa-ppo-3", "spa-ppo-4.99.partial", "mine", join("spa-ppo-1", "trainer")]) {
    mkdirSync(run.file("checkpoints", name), { recursive: true });
    writeFileSync(run.file("checkpoints", name, "file"), "x");
  }
  lock[Symbol.dispose]();
  lock = run.lock();
  expect(readdirSync(run.file("checkpoints")).sort()).toEqual(["mine", "spa-ppo-1", "spa-ppo-2"]);
  expect(existsSync(run.file("checkpoints", "spa-ppo-1", "trainer"))).toBe(false);
  expect(existsSync(run.file("checkpoints", "spa-ppo-2", "trainer"))).toBe(true);
});

test("forgetting a stage removes its checkpoints", async () => {
  await save(1);
  run.forgetStage(stage);
  expect(readdirSync(run.file("checkpoints"))).toEqual([]);
  expect(run.checkpoints).toEqual([]);
});
