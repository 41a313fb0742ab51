import type { Environment } from "../../envs/environment.ts";
import type { Config } from "../config/schema.ts";
import type { Progress } from "../run/progress.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { tryEnvironment } from "./environment-check.ts";

/** What a run is tried with before its first stage. */
export interface PreflightParts {
  tokenizer: Tokenizer;
  createEnvironment: () => Environment;
  /** Told what is weak but does not stop the run. */
  progress?: Progress | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Finds before the first stage what would fail in a later one, or come to wrong numbers. Takes well under a second for the
 * environments of the package, and draws nothing that a run draws.
 *
 * @throws SpaError ABORTED, BAD_ENVIRONMENT
 */
export async function preflight(config: Config, parts: PreflightParts): Promise<void> {
  const { tokenizer, createEnvironment, progress, signal } = parts;
  await tryEnvironment(config, tokenizer, createEnvironment, {
    note: (text) => progress?.note(text),
    signal,
  });
}
