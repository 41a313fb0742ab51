import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { SpaError } from "../errors.ts";
import { fileDigestSchema } from "../files/file-digest.ts";
import { checkShape, readShape } from "../files/shape.ts";

/** The format of run folders that this version of the package writes and reads. */
export const runFormat = 1;

/** The folders within a checkpoint that only training needs; checkpoints other than a stage's newest lack them. */
export const trainingFolders = ["trainer", "critic"];

/** A stage's id as part of a file name: `spa/ppo` -> `spa-ppo`. */
export function stageFileName(stage: string): string {
  return stage.replaceAll("/", "-");
}

const count = z.number().min(0);

/** Ids become names of files and folders, so they hold nothing that leads elsewhere. */
const stageId = z.string().regex(/^[\w-]+(\/[\w-]+)*$/, "must be words joined by slashes");

export function isStageId(id: string): boolean {
  return stageId.safeParse(id).success;
}

const stageSchema = z.object({
  id: stageId,
  /** `skipped`: what came before it is such that it is not done, and its arm ends. */
  state: z.enum(["running", "done", "skipped"]),
  /** Why it is skipped. */
  reason: z.string().optional(),
  /** Working time, interruptions apart. */
  seconds: count,
  tokensSampled: count,
  tokensTrained: count,
  /** The newest checkpoint's folder within the run folder. */
  checkpoint: z.string().optional(),
  result: z.json().optional(),
  /** The files that a finished stage has left, by their path within the run folder; folders of earlier versions lack it. */
  files: z.record(z.string().regex(/^(data|trajectories)\/[\w.-]+$/), fileDigestSchema).optional(),
});

const checkpointFields = z.object({
  /** The folder's name within checkpoints/: that of {@link checkpointName}. */
  name: z.string(),
  stage: stageId,
  step: z.int().min(0),
  /** It holds the trainer's state, so that training can go on from it; else weights only. */
  training: z.boolean(),
  /** The larger, the better. */
  validation: z.number().optional(),
  /** Its state.json, which has the digests of the other files; checkpoints of earlier versions lack it. */
  state: fileDigestSchema.optional(),
  /** The stage's trajectories as they stood when it was saved. */
  trajectories: fileDigestSchema.optional(),
});

/** The name of a checkpoint's folder. */
export function checkpointName(stage: string, step: number): string {
  return `${stageFileName(stage)}-${step}`;
}

const checkpointSchema = checkpointFields.refine(
  ({ name, stage, step }) => name === checkpointName(stage, step),
  { path: ["name"], message: "must be stage and step, joined by hyphens" },
);

const sessionSchema = z.object({
  /** ISO 8601. */
  began: z.string(),
  /** When it last wrote into the ledger. */
  ended: z.string(),
  /** Version of the package. */
  package: z.string(),
  /** Of the folder in which the program ran, if that is in a git repository; `-dirty` behind it: with changes. */
  commit: z.string().optional(),
  /** Processor, memory, devices, system, Node.js; in words. */
  machine: z.string(),
});

const ledgerSchema = z.object({
  format: z.literal(runFormat),
  package: z.string(),
  preset: z.string(),
  seed: z.int(),
  created: z.string(),
  stages: z.array(stageSchema),
  checkpoints: z.array(checkpointSchema),
  /** Processes that have worked in the folder, in order; folders of earlier versions lack it. */
  sessions: z.array(sessionSchema).optional(),
});

export type Ledger = z.infer<typeof ledgerSchema>;
export type SessionRecord = z.infer<typeof sessionSchema>;
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
  const hint = "the file was damaged or edited; it is always written as a whole";
  const content = readShape(z.looseObject({ format: z.unknown(), package: z.unknown() }), file, hint)!;
  const { format } = content;
  if (typeof format === "number" && format !== runFormat) {
    throw new SpaError(
      "RUN_VERSION",
      `${path} has run format ${format} (written by spa-ai ${content.package}); this version reads format ${runFormat}`,
      {
        hint: `use spa-ai ${content.package} for this run, or start a new one; its checkpoints load in any version`,
      },
    );
  }
  return checkShape(ledgerSchema, content, { file, hint });
}
