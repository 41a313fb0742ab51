import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { SpaError } from "../errors.ts";

/** The format of run folders that this version of the package writes and reads. */
export const runFormat = 1;

/** The folders within a checkpoint that only training needs; checkpoints other than a stage's newest lack them. */
export const trainingFolders = ["trainer", "critic"];

const count = z.number().min(0);

const stageSchema = z.object({
  id: z.string(),
  state: z.enum(["running", "done"]),
  /** Working time, interruptions apart. */
  seconds: count,
  tokensSampled: count,
  tokensTrained: count,
  /** The newest checkpoint's folder within the run folder. */
  checkpoint: z.string().optional(),
  result: z.json().optional(),
});

const checkpointSchema = z.object({
  /** The folder's name within checkpoints/. */
  name: z.string(),
  stage: z.string(),
  step: z.int().min(0),
  /** It holds the trainer's state, so that training can go on from it; else weights only. */
  training: z.boolean(),
  /** The larger, the better. */
  validation: z.number().optional(),
});

const ledgerSchema = z.object({
  format: z.literal(runFormat),
  package: z.string(),
  preset: z.string(),
  seed: z.int(),
  created: z.string(),
  stages: z.array(stageSchema),
  checkpoints: z.array(checkpointSchema),
});

export type Ledger = z.infer<typeof ledgerSchema>;
export type StageRecord = z.infer<typeof stageSchema>;
export type CheckpointRecord = z.infer<typeof checkpointSchema>;

/**
 * Reads and checks a run folder's run.json.
 *
 * @throws SpaError `BAD_CHECKPOINT` where there is none or it is damaged, `RUN_VERSION` if its format is another one
 */
export function readLedger(path: string): Ledger {
  const file = join(path, "run.json");
  if (!existsSync(file)) {
    const what = existsSync(path) ? "is no run folder: it has no run.json" : "does not exist";
    throw new SpaError("BAD_CHECKPOINT", `${path} ${what}`, {
      hint: "run folders stand in runs/ unless told otherwise",
    });
  }
  let content: { format?: unknown; package?: unknown } | null;
  try {
    content = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new SpaError("BAD_CHECKPOINT", `${file} is not JSON: ${(error as Error).message}`, {
      hint: "the file was damaged or edited; it is always written as a whole",
      cause: error,
    });
  }
  const format = content?.format;
  if (typeof format === "number" && format !== runFormat) {
    throw new SpaError(
      "RUN_VERSION",
      `${path} has run format ${format} (written by spa-ai ${content?.package}); this version reads format ${runFormat}`,
      {
        hint: `use spa-ai ${content?.package} for this run, or start a new one; its checkpoints load in any version`,
      },
    );
  }
  const ledger = ledgerSchema.safeParse(content);
  if (!ledger.success) {
    const [issue] = ledger.error.issues;
    throw new SpaError(
      "BAD_CHECKPOINT",
      `${file}: ${issue.path.join(".") || "the content"}: ${issue.message}`,
      {
        hint: "the file was damaged or edited; it is always written as a whole",
      },
    );
  }
  return ledger.data;
}
