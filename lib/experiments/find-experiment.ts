import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { z } from "zod";
import { SpaError } from "../errors.ts";
import { didYouMean } from "../nearest-name.ts";
import { experiments } from "./definitions/index.ts";
import type { Experiment } from "./experiment.ts";

/** As far as it can be told before it is run. */
const experimentSchema = z.object({
  name: z.string().regex(/^[\w-]+$/, "must be letters, digits, hyphens: folders are named after it"),
  claim: z.string(),
  source: z.string().default("your own"),
  about: z.string().default(""),
  preset: z.string(),
  seeds: z.int().min(1).default(3),
  arms: z.function(),
});

/**
 * An experiment of the package by its name, or one of the user's own: the default export of a JavaScript file.
 *
 * @throws SpaError UNKNOWN_NAME with the nearest name, BAD_ARGUMENT for a file that is none
 */
export async function findExperiment(name: string): Promise<Experiment> {
  if (/\.m?js$/.test(name)) return readExperiment(resolve(name));
  const found = experiments.find((experiment) => experiment.name === name);
  if (found) return found;
  const names = experiments.map((experiment) => experiment.name);
  throw new SpaError("UNKNOWN_NAME", `there is no experiment "${name}"${didYouMean(name, names)}`, {
    hint: `experiments: ${names.join(", ")}; spa experiment list explains them`,
  });
}

async function readExperiment(file: string): Promise<Experiment> {
  const hint = "docs/experiments.md shows one";
  if (!existsSync(file)) throw new SpaError("BAD_ARGUMENT", `${file} does not exist`, { hint });
  let content: unknown;
  try {
    content = ((await import(pathToFileURL(file).href)) as { default?: unknown }).default;
  } catch (error) {
    throw new SpaError("BAD_ARGUMENT", `${file} cannot be loaded: ${String(error)}`, { hint, cause: error });
  }
  const { success, data, error } = experimentSchema.safeParse(content);
  if (success) return { ...(content as Experiment), ...(data as Omit<Experiment, "arms">) };
  const [{ path, message }] = error.issues;
  throw new SpaError(
    "BAD_ARGUMENT",
    `${file} is no experiment: ${path.join(".") || "its default export"}: ${message}`,
    {
      hint,
    },
  );
}
