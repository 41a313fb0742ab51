import { join } from "node:path";
import { z } from "zod";
import type { Evaluation } from "../stages/evaluate.ts";
import { readShape } from "./shape.ts";

/** The content of results.json. */
export interface Results {
  preset: string;
  seed: number;
  /** By policy: random, base, baseWorldModel, sft, control, spa, formatOnly. */
  evaluations: { [policy: string]: Evaluation };
  stages: { name: string; seconds: number; tokensSampled: number; tokensTrained: number }[];
}

/** What the ledger keeps of an evaluation. */
export interface EvaluationResult {
  policy: string;
  evaluation: Evaluation;
}

const rates = { passAt1: z.number(), passAt8: z.number() };
const interval = z.tuple([z.number(), z.number()]);
const share = z.number().nullable();

const evaluationSchema: z.ZodType<Evaluation> = z.object({
  ...rates,
  ci95: z.object({ passAt1: interval, passAt8: interval }),
  formatRate: z.number(),
  observationAccuracy: share,
  predictionAccuracy: share,
  predictionAccuracyChanged: share,
  byDistance: z.record(z.string(), z.object({ ...rates, levels: z.int() })),
  levels: z.int(),
  samples: z.int(),
});

export const evaluationResultSchema: z.ZodType<EvaluationResult> = z.object({
  policy: z.string(),
  evaluation: evaluationSchema,
});

const resultsSchema: z.ZodType<Results> = z.object({
  preset: z.string(),
  seed: z.int(),
  evaluations: z.record(z.string(), evaluationSchema),
  stages: z.array(
    z.object({ name: z.string(), seconds: z.number(), tokensSampled: z.number(), tokensTrained: z.number() }),
  ),
});

/**
 * A run folder's results.json; undefined where there is none yet.
 *
 * @throws SpaError `BAD_CHECKPOINT` with file and field, `FILE_FAILED`
 */
export function readResults(folder: string): Results | undefined {
  const hint = "the file was damaged or edited; spa eval --run <folder> writes it again";
  return readShape(resultsSchema, join(folder, "results.json"), hint);
}
