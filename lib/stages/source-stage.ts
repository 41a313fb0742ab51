import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../config/schema.ts";
import { SpaError } from "../errors.ts";
import { digestSmallFile } from "../files/file-digest.ts";
import { isAdapterFolder } from "../formats/adapter-folder.ts";
import { didYouMean } from "../nearest-name.ts";
import { checkLargeFiles, latestCheckpoint } from "../run/checkpoint.ts";
import { RunFolder } from "../run/run-folder.ts";

/** The setting `model` of a run that starts from another run's stage. */
type StageModel = Extract<Config["model"], { kind: "stage" }>;

/** What a run starts from: the newest checkpoint of another run's finished stage. */
interface SourceStage {
  run: RunFolder;
  /** The checkpoint's. Absolute. */
  folder: string;
  /** The sha256 of its state.json, which has those of all its files. */
  digest: string;
}

/** What a run starts from, in words; undefined where that is a model of its own or a pretrained one. */
export function describeStart({ model }: Pick<Config, "model">): string | undefined {
  return model.kind === "stage" ? `starts from ${model.stage} of ${model.run}` : undefined;
}

/**
 * Finds the checkpoint that a run starts from, and checks its files but for large ones ({@link checkWeights}).
 *
 * @throws SpaError BAD_CHECKPOINT where the run folder is gone or damaged, or the checkpoint is not that of `digest`;
 * UNKNOWN_NAME where no such stage is finished; UNSUPPORTED where the stage trained an adapter
 */
export function openSourceStage({ run: path, stage, digest }: StageModel): SourceStage {
  if (!existsSync(join(path, "run.json"))) throw missingRun(path, stage, digest);
  const run = RunFolder.open(path);
  const finished = finishedStages(run);
  if (stage === null || !finished.includes(stage)) throw unfinishedStage(path, stage, finished);
  const { folder } = latestCheckpoint(run, stage)!;
  if (isAdapterFolder(folder)) {
    throw new SpaError("UNSUPPORTED", `${folder} is a LoRA adapter; a run starts from a whole model`, {
      hint: `merge it, and start from that: spa export ${path} --stage ${stage} --to ./start, then model=./start`,
    });
  }
  const found = digestSmallFile(join(folder, "state.json")).sha256;
  if (digest !== null && digest !== found) {
    throw new SpaError(
      "BAD_CHECKPOINT",
      `${folder} is not the checkpoint that the run started from: the sha256 of its state.json is ${short(found)} instead of ${short(digest)}`,
      { hint: "its stage was done again since; put the former run folder back, or start a new run" },
    );
  }
  return { run, folder, digest: found };
}

/** Compares the files that are too large for {@link openSourceStage}. @throws SpaError BAD_CHECKPOINT */
export function checkWeights({ run, folder }: SourceStage): Promise<void> {
  return checkLargeFiles(run, folder);
}

/** Stages that a run can start from. */
function finishedStages(run: RunFolder): string[] {
  return run.stages
    .filter(({ id, state }) => state === "done" && run.checkpoints.some((saved) => saved.stage === id))
    .map(({ id }) => id);
}

function missingRun(path: string, stage: string | null, digest: string | null): SpaError {
  const what = existsSync(path) ? "is no run folder: it has no run.json" : "does not exist";
  const hint =
    digest === null
      ? "start: <run folder>#<stage> names a run folder, such as runs/first#spa/sft"
      : "put that run folder back; if it was moved, write its new place into this run's config.yaml, as model.run";
  return new SpaError(
    "BAD_CHECKPOINT",
    `the run starts from ${stage ?? "a stage"} of ${path}, which ${what}`,
    {
      hint,
    },
  );
}

function unfinishedStage(path: string, stage: string | null, finished: readonly string[]): SpaError {
  const what =
    stage === null
      ? `a run starts from a stage of ${path}, and none is named`
      : `${path} has not finished a stage "${stage}" with a checkpoint${didYouMean(stage, finished)}`;
  const hint =
    finished.length === 0
      ? `no stage of it is finished: spa train --resume ${path}`
      : `finished stages: ${finished.join(", ")}; write start=${path}#${finished.at(-1)}`;
  return new SpaError("UNKNOWN_NAME", what, { hint });
}

function short(sha256: string): string {
  return `${sha256.slice(0, 12)}…`;
}
