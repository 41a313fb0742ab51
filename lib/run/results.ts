import { join } from "node:path";
import { z } from "zod";
import { readShape } from "../files/shape.ts";
import { type Evaluation, kOf, nameRates, type PassRates, rateAt } from "./evaluation.ts";
import { type LevelFigures, levelFiguresSchema } from "./level-figures.ts";
import { worldModelSchema } from "./world-model.ts";

/** Of the test levels, also how many begin in a state of SFT's data; absent without such data. */
type TestLevelFigures = LevelFigures & { seenInTraining?: number | undefined };

/** The content of results.json. */
export interface Results {
  preset: string;
  seed: number;
  /** Of the levels that are reported on and tuned on; absent where an earlier version wrote. */
  levels?: { test: TestLevelFigures; tuning: LevelFigures };
  /** By policy: random, base, baseWorldModel, sft, control, spa, formatOnly. */
  evaluations: { [policy: string]: Evaluation };
  /** Arms that have ended before their training was done, with the reason; absent where there are none. */
  untrained?: { [arm: string]: string };
  stages: { name: string; seconds: number; tokensSampled: number; tokensTrained: number }[];
}

/** What the ledger keeps of SFT's data: the test levels that begin in its states, by their places. */
export const dataResultSchema = z.looseObject({ heldStarts: z.array(z.int().min(0)).optional() });

/** What the ledger keeps of an evaluation. */
export interface EvaluationResult {
  policy: string;
  evaluation: Evaluation;
}

/** Pass rates as they may be written: earlier versions called every Pass@k `passAt8`. */
function writtenRates<Rate>(rate: z.ZodType<Rate>) {
  return z
    .object({
      passAt1: rate,
      passAtK: rate.optional(),
      passAt8: rate.optional(),
      passAt: z.record(z.string().regex(/^[1-9]\d*$/), rate).optional(),
    })
    .refine(({ passAtK, passAt8 }) => (passAtK ?? passAt8) !== undefined, { error: "passAtK is missing" });
}

const share = z.number().nullable();

const evaluationSchema: z.ZodType<Evaluation> = writtenRates(z.number())
  .safeExtend({
    ci95: writtenRates(z.tuple([z.number(), z.number()])),
    formatRate: z.number(),
    observationAccuracy: share,
    predictionAccuracy: share,
    predictionAccuracyChanged: share,
    worldModel: worldModelSchema.optional(),
    byDistance: z.record(z.string(), writtenRates(z.number()).safeExtend({ levels: z.int() })),
    levels: z.int(),
    samples: z.int().min(1),
    successes: z.array(z.int().min(0)).optional(),
  })
  .transform((written) => {
    const { passAt1, passAtK, passAt8, passAt, ci95, byDistance, levels, samples, successes, ...shares } =
      written;
    const k = kOf(samples);
    const named = <Rate>(rates: Partial<PassRates<Rate>> & { passAt1: Rate }): PassRates<Rate> => ({
      ...nameRates(rates.passAt1, rateAt(k, { samples }, rates) as Rate, k),
      ...(rates.passAt && { passAt: rates.passAt }),
    });
    return {
      ...named({ passAt1, passAtK, passAt8, passAt }),
      k,
      ci95: named(ci95),
      ...shares,
      byDistance: Object.fromEntries(
        Object.entries(byDistance).map(([distance, rates]) => [
          distance,
          { ...named(rates), levels: rates.levels },
        ]),
      ),
      levels,
      samples,
      ...(successes && { successes }),
    };
  });

export const evaluationResultSchema: z.ZodType<EvaluationResult> = z.object({
  policy: z.string(),
  evaluation: evaluationSchema,
});

const resultsSchema: z.ZodType<Results> = z.object({
  preset: z.string(),
  seed: z.int(),
  levels: z
    .object({
      test: levelFiguresSchema.extend({ seenInTraining: z.int().optional() }),
      tuning: levelFiguresSchema,
    })
    .optional(),
  evaluations: z.record(z.string(), evaluationSchema),
  untrained: z.record(z.string(), z.string()).optional(),
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
