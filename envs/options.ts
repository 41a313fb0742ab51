import { z } from "zod";
import { SpaError } from "../lib/errors.ts";
import { nearestName } from "../lib/nearest-name.ts";
import type { Json, ResetOptions } from "./environment.ts";

/** The hint for a name that is not among `known`: the nearest one if there is a near one, else all of them. */
export function nameHint(word: string, known: readonly string[]): string {
  const nearest = nearestName(word, known);
  const all = `known: ${known.join(", ")}`;
  return nearest === undefined ? all : `did you mean "${nearest}"? (${all})`;
}

/**
 * Checks an environment's options against its schema and fills in the defaults.
 *
 * @throws SpaError UNKNOWN_NAME for a key that the schema does not have, BAD_ARGUMENT for a value it refuses
 */
export function parseOptions<Schema extends z.ZodObject>(
  environment: string,
  schema: Schema,
  options: unknown,
): z.output<Schema> {
  const result = schema.safeParse(options);
  if (result.success) {
    return result.data;
  }
  const issue = result.error.issues[0];
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0];
    throw new SpaError("UNKNOWN_NAME", `environment "${environment}" has no option "${key}"`, {
      hint: nameHint(key, Object.keys(schema.shape)),
    });
  }
  const where = issue.path.length === 0 ? "options" : `option "${issue.path.join(".")}"`;
  throw new SpaError("BAD_ARGUMENT", `environment "${environment}", ${where}: ${issue.message}`, {
    hint: "correct the value; every option has a default and may be left out",
  });
}

/**
 * Checks what `reset` was given: a seed, a level text, or both.
 *
 * @throws SpaError BAD_ARGUMENT when there is neither, or a seed that is not an integer from 0 to `largestSeed`
 */
export function checkReset(
  environment: string,
  options: ResetOptions,
  largestSeed = Number.MAX_SAFE_INTEGER,
): ResetOptions {
  const { seed, level } = options ?? {};
  if (seed === undefined && level === undefined) {
    throw new SpaError("BAD_ARGUMENT", `${environment}: reset() needs a seed, a level, or both`, {
      hint: "for example reset({ seed: 1 })",
    });
  }
  if (seed !== undefined && !(Number.isSafeInteger(seed) && seed >= 0 && seed <= largestSeed)) {
    throw new SpaError("BAD_ARGUMENT", `${environment}: reset() got the seed ${String(seed)}`, {
      hint: `a seed is an integer from 0 to ${largestSeed}`,
    });
  }
  if (level !== undefined && typeof level !== "string") {
    throw new SpaError("BAD_ARGUMENT", `${environment}: reset() got a level that is not a text`, {
      hint: 'a level is what render("grid") prints at the start of an episode',
    });
  }
  return { seed, level };
}

/** The state of PCG64 inside an environment's state. */
export const pcg64StateSchema = z.strictObject({
  state: z.string().regex(/^\d{1,39}$/),
  increment: z.string().regex(/^\d{1,39}$/),
  buffered: z.int().min(0).max(0xffffffff).nullable(),
});

/**
 * Checks a state that is to be restored.
 *
 * @throws SpaError BAD_ARGUMENT when it is not one that this environment's `state()` returned
 */
export function parseState<Schema extends z.ZodObject>(
  environment: string,
  schema: Schema,
  state: Json,
): z.output<Schema> {
  const result = schema.safeParse(state);
  if (result.success) {
    return result.data;
  }
  throw foreignState(environment, z.prettifyError(result.error));
}

/** The error for a state that does not belong to this environment. */
export function foreignState(environment: string, why: string): SpaError {
  return new SpaError("BAD_ARGUMENT", `${environment}: restore() got a state that does not fit: ${why}`, {
    hint: "pass what state() of an environment with the same name returned",
  });
}

/** The error for `step()` when no episode is under way. */
export function noEpisode(environment: string, finished: boolean): SpaError {
  const why = finished ? "the episode is over" : "no episode has been started";
  return new SpaError("EPISODE_OVER", `${environment}: ${why}`, {
    hint: "call reset() before the next step()",
  });
}
