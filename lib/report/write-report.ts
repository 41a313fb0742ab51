import { writeFileAtomically } from "../files/atomic-file.ts";
import { readResults } from "../run/results.ts";
import type { RunFolder } from "../run/run-folder.ts";
import { renderPage } from "./page.ts";

/**
 * Writes report.html into a run folder: results, curves, stages and trajectories as far as the run has come. The file
 * needs no network and no other file. The folder may be that of a run that is under way in another process.
 *
 * @returns its path
 * @throws SpaError `BAD_CHECKPOINT` for a damaged log or results.json, `DISK_FULL`, `FILE_FAILED`
 */
export function writeReport(run: RunFolder): string {
  const file = run.file("report.html");
  writeFileAtomically(file, renderPage(run, readResults(run.path)));
  return file;
}
