import type { Progress } from "../run/progress.ts";
import type { RunFolder } from "../run/run-folder.ts";
import type { RunObserver } from "../run/run-observer.ts";
import { visibleText } from "../visible-text.ts";
import { writeReport } from "./write-report.ts";

/**
 * Writes report.html whenever a run has saved what it came to. That it cannot be written is told once, and stops no run: the
 * report is made from what the run folder has.
 */
export function runningReport(run: RunFolder, progress: Progress): RunObserver {
  let hasFailed = false;
  return {
    saves: () => {
      try {
        writeReport(run);
      } catch (error) {
        if (!hasFailed)
          progress.note(`warning: the report is not written: ${visibleText((error as Error).message)}`);
        hasFailed = true;
      }
    },
  };
}
