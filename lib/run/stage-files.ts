import { existsSync } from "node:fs";
import { relative } from "node:path";
import { SpaError } from "../errors.ts";
import { beginningDamage, digestFile, type FileDigest, fileDamage } from "../files/file-digest.ts";
import type { CheckpointRecord } from "./ledger.ts";
import type { RunFolder } from "./run-folder.ts";

/** The digests of a stage's trajectories and of what else it leaves, as the ledger keeps them. @param paths absolute */
export async function stageFiles(
  run: RunFolder,
  stage: string,
  paths: readonly string[],
): Promise<{ [name: string]: FileDigest }> {
  const files: { [name: string]: FileDigest } = {};
  for (const path of [...paths, run.trajectories(stage).path].filter(existsSync)) {
    files[relative(run.path, path)] = await digestFile(path);
  }
  return files;
}

/**
 * Compares a file that a finished stage has left with its digest, before it is read.
 *
 * @returns false where the stage was finished by a version that kept no digests
 * @throws SpaError BAD_CHECKPOINT, with what was found and the way out
 */
export async function checkStageFile(run: RunFolder, stage: string, path: string): Promise<boolean> {
  const expected = run.stage(stage)?.files?.[relative(run.path, path)];
  if (!expected) return false;
  const wrong = await fileDamage(path, expected);
  if (wrong !== undefined) throw damagedFile(run, stage, path, wrong);
  return true;
}

/** {@link checkStageFile} for all files of a finished stage that are still there: who needs one misses it. */
export async function checkStageFiles(run: RunFolder, stage: string): Promise<void> {
  for (const name of Object.keys(run.stage(stage)?.files ?? {})) {
    const path = run.file(name);
    if (existsSync(path)) await checkStageFile(run, stage, path);
  }
}

/** Compares the trajectories of a stage that goes on from a checkpoint with what they were then. */
export async function checkTrajectories(
  run: RunFolder,
  stage: string,
  checkpoint: CheckpointRecord | undefined,
): Promise<void> {
  if (!checkpoint?.trajectories) return;
  const { path } = run.trajectories(stage);
  const wrong = await beginningDamage(path, checkpoint.trajectories);
  if (wrong !== undefined) throw damagedFile(run, stage, path, wrong);
}

function damagedFile(run: RunFolder, stage: string, path: string, wrong: string): SpaError {
  return new SpaError("BAD_CHECKPOINT", `${path} ${wrong}`, {
    hint: `put the file back if you have a copy, or do the stage again: --resume ${run.path} --redo ${stage}`,
  });
}
