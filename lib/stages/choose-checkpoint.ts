import { SpaError } from "../errors.ts";
import { didYouMean } from "../nearest-name.ts";
import { type Checkpoint, latestCheckpoint } from "../run/checkpoint.ts";
import type { RunFolder } from "../run/run-folder.ts";

/**
 * What a run stands for outside of it: the newest checkpoint of a stage, by default of spa/ppo, or of the stage that was saved last.
 *
 * @throws SpaError UNKNOWN_NAME for a stage without checkpoint, BAD_CHECKPOINT
 */
export function chooseCheckpoint(run: RunFolder, stage: string | undefined): Checkpoint {
  const stages = [...new Set(run.checkpoints.map((record) => record.stage))];
  const chosen = stage ?? (stages.includes("spa/ppo") ? "spa/ppo" : stages.at(-1));
  const checkpoint = chosen === undefined ? undefined : latestCheckpoint(run, chosen);
  if (checkpoint) return checkpoint;
  const what =
    chosen === undefined
      ? "no checkpoint yet"
      : `no checkpoint of a stage "${chosen}"${didYouMean(chosen, stages)}`;
  throw new SpaError("UNKNOWN_NAME", `${run.path} has ${what}`, {
    hint: stages.length > 0 ? `stages with checkpoints: ${stages.join(", ")}` : "train first: spa train",
  });
}
