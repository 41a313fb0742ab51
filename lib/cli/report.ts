import type { Command } from "commander";
import { writeReport } from "../report/write-report.ts";
import { RunFolder } from "../run/run-folder.ts";
import { lastRun, namedRun } from "./find-run.ts";
import { print } from "./print.ts";
import { showPath } from "./run-options.ts";

const help = `
A run writes its report at every checkpoint and when it ends, however it ends. This writes it again: for a run that was killed, for
one of an earlier version, or between two checkpoints of one that is under way.

Examples:
  spa report                  of the run started last
  spa report runs/first`;

/** `spa report`. */
export function addReportCommand(program: Command, finish: (code: number) => void): void {
  program
    .command("report")
    .description("write report.html of a run as far as it has come")
    .argument("[run]", "the run folder (default: the one started last)")
    .addHelpText("after", help)
    .action((folder: string | undefined) => {
      const run = RunFolder.open(folder === undefined ? lastRun() : namedRun(folder));
      print(showPath(writeReport(run)));
      finish(0);
    });
}
