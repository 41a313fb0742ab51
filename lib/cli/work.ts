import { SpaError, type SpaErrorCode } from "../errors.ts";
import { withRun, writeResults } from "../pipeline.ts";
import { formatDuration, type Progress } from "../run/progress.ts";
import type { Results } from "../run/results.ts";
import { RunFolder } from "../run/run-folder.ts";
import type { StageContext } from "../stages/context.ts";
import { scheduleStages } from "../stages/schedule.ts";
import { interruptionCode, untilInterrupted } from "./interrupt.ts";
import { print, printError, printJson } from "./print.ts";
import { progressFor } from "./progress-mode.ts";
import { resultsTable } from "./results-table.ts";
import { type RunOptionValues, showPath } from "./run-options.ts";

function progressOf(folder: string, options: RunOptionValues): Progress {
  const schedule = scheduleStages(RunFolder.open(folder).config).map((stage) => stage.id);
  return progressFor(options, schedule);
}

/** Failures after which the user wants to know what is left. */
const namesCheckpoint: ReadonlySet<SpaErrorCode> = new Set([
  "NOT_FINITE",
  "DISK_FULL",
  "FILE_FAILED",
  "OUT_OF_MEMORY",
]);

function withLastCheckpoint(error: unknown, folder: string): unknown {
  if (
    !(error instanceof SpaError) ||
    !namesCheckpoint.has(error.code) ||
    error.message.includes("checkpoint")
  )
    return error;
  const last = RunFolder.open(folder).checkpoints.at(-1);
  const kept = last
    ? `the last good checkpoint is ${showPath(`${folder}/checkpoints/${last.name}`)}`
    : "there is no checkpoint yet";
  const hint = error.hint ?? `go on from there: npx spa train --resume ${showPath(folder)}`;
  return new SpaError(error.code, `${error.message}; ${kept}`, { hint, cause: error });
}

/** What to type to go on after a stop. */
function reportInterruption(progress: Progress, options: RunOptionValues, folder: string): void {
  const text = `stopped. Go on with: npx spa train --resume ${showPath(folder)}`;
  if (options.quiet) printError(text);
  else progress.note(text);
}

/**
 * Works in a run folder: progress, Ctrl-C, and errors that name the last good checkpoint. Prints in the end what the run has come to.
 *
 * @param body gets the context of the stages
 * @returns the exit code
 */
export async function workInRun(
  folder: string,
  options: RunOptionValues,
  body: (context: StageContext) => Promise<void>,
): Promise<number> {
  const progress = progressOf(folder, options);
  const { trust = false } = options;
  const notices = {
    first: () => progress.note("stopping after this step, which is saved; Ctrl-C again stops at once"),
    second: () => printError(`\nstopped at once. Go on with: npx spa train --resume ${showPath(folder)}`),
  };
  const work = async (context: StageContext) => {
    progress.note(`run folder: ${showPath(folder)}`);
    await body(context);
    return writeResults(context);
  };
  try {
    const results = await untilInterrupted(notices, (signal) =>
      withRun(folder, { progress, signal, trust }, work),
    );
    printOutcome(RunFolder.open(folder), results, options);
    return 0;
  } catch (error) {
    progress.done();
    const code = interruptionCode();
    if (code !== undefined && error instanceof SpaError && error.code === "ABORTED") {
      reportInterruption(progress, options, folder);
      return code;
    }
    throw withLastCheckpoint(error, folder);
  }
}

/** Prints what a run has come to: a table, or one JSON line. */
function printOutcome(run: RunFolder, results: Results, options: RunOptionValues): void {
  const report = run.file("report.html");
  if (options.log === "json") {
    printJson({ event: "results", folder: run.path, report, ...results });
    return;
  }
  if (Object.keys(results.evaluations).length > 0) print(`\n${resultsTable(results.evaluations)}\n`);
  for (const [arm, reason] of Object.entries(results.untrained ?? {}))
    print(`${arm} has not been trained: ${reason}\n`);
  const seconds = run.stages.reduce((sum, stage) => sum + stage.seconds, 0);
  print(
    `worked ${formatDuration(seconds)}; report: ${showPath(report)}; results: ${showPath(run.file("results.json"))}`,
  );
}
