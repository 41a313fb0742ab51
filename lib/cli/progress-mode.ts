import { createProgress, defaultProgressMode, type Progress, type ProgressMode } from "../run/progress.ts";

/** Options that say how progress is told. */
export interface ProgressOptionValues {
  quiet?: boolean;
  log: "auto" | "plain" | "json";
}

function progressMode({ quiet, log }: ProgressOptionValues): ProgressMode {
  if (quiet) return "quiet";
  return log === "auto" ? defaultProgressMode(process.stderr.isTTY === true) : log;
}

/** The progress display that the options ask for; `plan` names the stages in order. */
export function progressFor(options: ProgressOptionValues, plan: readonly string[] = []): Progress {
  const mode = progressMode(options);
  return createProgress({ mode, stream: mode === "json" ? process.stdout : process.stderr, plan });
}
