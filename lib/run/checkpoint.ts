// Checkpoints: folders of Hugging Face files that any program can load, plus what training needs to go on.
//
//   checkpoints/<stage>-<step>/   config.json, model.safetensors, tokenizer.json, …
//                               (with lora: adapter_config.json, adapter_model.safetensors, value_head.safetensors)
//     critic/                     the critic's weights (where it has its own), likewise
//     trainer/                    the optimisers' state
//     state.json                  everything else, and the list of files with sizes and digests; the ledger has its own
//
// A checkpoint is written aside, synced, renamed, and only then named in the ledger; older ones lose their training
// state (and go, but for the newest few and the best) after that. So there is always one to go on from.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { z } from "zod";
import type { Json } from "../../envs/environment.ts";
import { SpaError } from "../errors.ts";
import { asidePath, commitFolder, removeLeftover, writeFileAtomically } from "../files/atomic-file.ts";
import {
  digestDamage,
  digestFile,
  digestSmallFile,
  type FileDigest,
  fileDamage,
  fileDigestSchema,
  sizeDamage,
} from "../files/file-digest.ts";
import { fileError } from "../files/file-error.ts";
import { makeFolders } from "../files/folders.ts";
import { checkpointName, trainingFolders } from "./ledger.ts";
import type { CheckpointRecord, RunFolder } from "./run-folder.ts";

/** Writes itself as files into a folder: a model. */
interface SavesFolder {
  save(folder: string): Promise<void> | void;
}

export interface CheckpointContent {
  stage: string;
  /** Updates or steps done. */
  step: number;
  model: SavesFolder;
  tokenizer: SavesFolder;
  critic?: SavesFolder | undefined;
  trainer?: { saveState(folder: string): Promise<void> } | undefined;
  /** Everything else that the stage needs to go on: counters, seeds, order of batches, accumulated counts. */
  state: Json;
  /** A validation score, the larger the better: the best checkpoint of a stage is kept. */
  validation?: number | undefined;
}

/** A checkpoint whose files have been checked. */
export interface Checkpoint {
  name: string;
  /** Absolute; a folder of Hugging Face files. */
  folder: string;
  stage: string;
  step: number;
  state: Json;
  validation: number | undefined;
  /** Undefined where the checkpoint has no critic of its own. */
  criticFolder: string | undefined;
  /** For `trainer.loadState`; undefined in a checkpoint that has lost its training state. */
  trainerFolder: string | undefined;
}

/** Larger files are compared when they are read ({@link checkLargeFiles}): it takes seconds. */
const largeFile = 64 * 2 ** 20;

const stateSchema = z.object({
  stage: z.string(),
  step: z.int(),
  validation: z.number().optional(),
  state: z.json(),
  // Earlier versions took no digests of large files.
  files: z.record(z.string(), fileDigestSchema.partial({ sha256: true })),
});

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}

async function writeAside(aside: string, content: CheckpointContent): Promise<void> {
  makeFolders(aside);
  await content.model.save(aside);
  await content.tokenizer.save(aside);
  if (content.critic) {
    mkdirSync(join(aside, "critic"));
    await content.critic.save(join(aside, "critic"));
  }
  if (content.trainer) {
    mkdirSync(join(aside, "trainer"));
    await content.trainer.saveState(join(aside, "trainer"));
  }
  const { stage, step, validation, state } = content;
  const files: { [name: string]: FileDigest } = {};
  for (const name of filesIn(aside)) files[name] = await digestFile(join(aside, name));
  writeFileAtomically(
    join(aside, "state.json"),
    `${JSON.stringify({ stage, step, validation, state, files })}\n`,
  );
}

/** Of a stage's checkpoints, oldest first: the newest `keep` and the best stay, and the newest alone keeps training state. */
function rotated(records: CheckpointRecord[], keep: number): CheckpointRecord[] {
  const best = bestOf(records);
  return records
    .filter((record, index) => index >= records.length - keep || record === best)
    .map((record) => ({ ...record, training: record.training && record === records.at(-1) }));
}

function bestOf(records: readonly CheckpointRecord[]): CheckpointRecord | undefined {
  const validated = records.filter((record) => record.validation !== undefined);
  return validated.reduce<CheckpointRecord | undefined>(
    (best, record) => (best === undefined || record.validation! >= best.validation! ? record : best),
    undefined,
  );
}

/** Removes from the disk what the ledger says a stage no longer has. */
function thin(run: RunFolder, before: readonly CheckpointRecord[], after: readonly CheckpointRecord[]): void {
  for (const record of before) {
    const folder = run.file("checkpoints", record.name);
    const kept = after.find((other) => other.name === record.name);
    if (!kept) rmSync(folder, { recursive: true, force: true });
    if (kept && !kept.training) {
      for (const name of trainingFolders) rmSync(join(folder, name), { recursive: true, force: true });
    }
  }
}

/**
 * Saves a stage's model, tokenizer, training state and `state` as the newest checkpoint of the stage, then thins older
 * ones. Killed at any instant, the run folder has the checkpoint before or this one. Saving the same step twice keeps
 * the first.
 *
 * @returns the checkpoint's folder
 * @throws SpaError `DISK_FULL`, which names the last good checkpoint
 */
export async function saveCheckpoint(run: RunFolder, content: CheckpointContent): Promise<string> {
  const { stage, step, validation } = content;
  const name = checkpointName(stage, step);
  const folder = run.file("checkpoints", name);
  const before = run.checkpoints.filter((record) => record.stage === stage);
  if (before.some((record) => record.name === name)) return folder;
  const aside = asidePath(folder);
  try {
    run.sync();
    rmSync(folder, { recursive: true, force: true });
    await writeAside(aside, content);
    await commitFolder(aside, folder);
    const record: CheckpointRecord = {
      name,
      stage,
      step,
      training: content.trainer !== undefined,
      state: digestSmallFile(join(folder, "state.json")),
      ...(await logDigest(run, stage)),
    };
    if (validation !== undefined && !Number.isNaN(validation)) record.validation = validation;
    const after = rotated([...before, record], run.config.checkpoints.keep);
    run.setCheckpoints(stage, after);
    thin(run, before, after);
  } catch (error) {
    removeLeftover(aside);
    throw namingLastGood(run, fileError(error, folder));
  }
  return folder;
}

async function logDigest(run: RunFolder, stage: string): Promise<Pick<CheckpointRecord, "trajectories">> {
  const { path } = run.trajectories(stage);
  return existsSync(path) ? { trajectories: await digestFile(path) } : {};
}

function namingLastGood(run: RunFolder, error: unknown): unknown {
  if (!(error instanceof SpaError) || error.code !== "DISK_FULL") return error;
  const good = run.checkpoints.at(-1);
  const kept = good
    ? `the last good checkpoint is ${run.file("checkpoints", good.name)}`
    : "there is no checkpoint yet";
  return new SpaError("DISK_FULL", `${error.message}; ${kept}`, {
    ...(error.hint && { hint: error.hint }),
    cause: error,
  });
}

type SavedState = z.infer<typeof stateSchema>;

/** A checkpoint's state.json, or what is wrong with it. */
function readState(folder: string, record: CheckpointRecord): SavedState | string {
  const file = join(folder, "state.json");
  if (!existsSync(folder)) return "the folder is missing";
  if (!existsSync(file)) return "state.json is missing";
  let state: SavedState;
  try {
    state = stateSchema.parse(JSON.parse(readFileSync(file, "utf8")));
  } catch {
    return "state.json is damaged";
  }
  const wrong =
    record.state && (sizeDamage(file, record.state) ?? digestDamage(digestSmallFile(file), record.state));
  return wrong === undefined ? state : `state.json ${wrong}`;
}

/** The state.json of a checkpoint whose files are all whole, as far as it shows at once; else what is wrong. */
function inspect(folder: string, record: CheckpointRecord): SavedState | string {
  const state = readState(folder, record);
  if (typeof state === "string") return state;
  for (const [name, { bytes, sha256 }] of Object.entries(state.files)) {
    if (!record.training && trainingFolders.some((part) => name.startsWith(`${part}/`))) continue;
    const file = join(folder, name);
    const wrong =
      sizeDamage(file, { bytes }) ??
      (sha256 !== undefined && bytes <= largeFile
        ? digestDamage(digestSmallFile(file), { bytes, sha256 })
        : undefined);
    if (wrong !== undefined) return `${name} ${wrong}`;
  }
  return state;
}

/** What can be done without a broken checkpoint: nothing is ever taken in its place unasked. */
function remedy(run: RunFolder, broken: CheckpointRecord): string {
  const whole = run.checkpoints
    .filter((record) => record !== broken)
    .findLast((record) => typeof inspect(run.file("checkpoints", record.name), record) !== "string");
  const again = `to do the stage again from its beginning: --resume ${run.path} --redo ${broken.stage}`;
  if (!whole) return `no other checkpoint of this run is whole; ${again}`;
  const content = whole.training ? "with training state" : "weights only";
  return `${run.file("checkpoints", whole.name)} (${content}) is whole and can be evaluated or loaded; ${again}`;
}

function brokenCheckpoint(run: RunFolder, record: CheckpointRecord, wrong: string): SpaError {
  const folder = run.file("checkpoints", record.name);
  return new SpaError("BAD_CHECKPOINT", `checkpoint ${folder} is broken: ${wrong}`, {
    hint: remedy(run, record),
  });
}

/**
 * Compares the large files of a checkpoint's folder, or of its `critic` or `trainer` folder, with their digests: to be
 * called before they are read. Other folders than those of this run's checkpoints are none of its business.
 *
 * @throws SpaError `BAD_CHECKPOINT`, as {@link latestCheckpoint}
 */
export async function checkLargeFiles(run: RunFolder, folder: string): Promise<void> {
  const part = trainingFolders.includes(basename(folder)) ? basename(folder) : "";
  const whole = part === "" ? folder : dirname(folder);
  const record = run.checkpoints.find(({ name }) => run.file("checkpoints", name) === whole);
  if (!record) return;
  const state = readState(whole, record);
  if (typeof state === "string") throw brokenCheckpoint(run, record, state);
  for (const [name, { bytes, sha256 }] of Object.entries(state.files)) {
    if (bytes <= largeFile || sha256 === undefined || join(dirname(name)) !== (part || ".")) continue;
    const wrong = await fileDamage(join(whole, name), { bytes, sha256 });
    if (wrong !== undefined) throw brokenCheckpoint(run, record, `${name} ${wrong}`);
  }
}

function openCheckpoint(run: RunFolder, record: CheckpointRecord): Checkpoint {
  const folder = run.file("checkpoints", record.name);
  const saved = inspect(folder, record);
  if (typeof saved === "string") throw brokenCheckpoint(run, record, saved);
  const part = (name: string) =>
    record.training && existsSync(join(folder, name)) ? join(folder, name) : undefined;
  return {
    name: record.name,
    folder,
    stage: record.stage,
    step: record.step,
    state: saved.state,
    validation: record.validation,
    criticFolder: part("critic"),
    trainerFolder: part("trainer"),
  };
}

/**
 * The newest checkpoint of a stage, its files checked, or undefined if the stage has none.
 *
 * @throws SpaError `BAD_CHECKPOINT` if it is broken; names an older one that is whole, if there is one
 */
export function latestCheckpoint(run: RunFolder, stage: string): Checkpoint | undefined {
  const record = run.checkpoints.filter((other) => other.stage === stage).at(-1);
  return record && openCheckpoint(run, record);
}

/** The checkpoint of a stage with the best validation score; undefined if none has a score. Else as {@link latestCheckpoint}. */
export function bestCheckpoint(run: RunFolder, stage: string): Checkpoint | undefined {
  const record = bestOf(run.checkpoints.filter((other) => other.stage === stage));
  return record && openCheckpoint(run, record);
}
