import { existsSync, readFileSync } from "node:fs";
import { writeFileAtomically } from "../../atomic-file.ts";
import type { RunFolder } from "../run-folder.ts";
import { renderPage } from "./page.ts";
import type { Evaluations } from "./result-section.ts";

/**
 * Writes report.html into a run folder: results, curves, stages and trajectories as far as the run has come. The file
 * needs no network and no other file.
 *
 * @returns its path
 * @throws SpaError `BAD_CHECKPOINT` for a damaged log, `DISK_FULL`
 */
export async function writeReport(run: RunFolder): Promise<string> {
  const file = run.file("report.html");
  writeFileAtomically(file, renderPage(run, readEvaluations(run)));
  return file;
}

/** The evaluations of results.json; none where there is no such file yet. */
function readEvaluations(run: RunFolder): Evaluations {
  const file = run.file("results.json");
  if (!existsSync(file)) return {};
  return (JSON.parse(readFileSync(file, "utf8")) as { evaluations?: Evaluations }).evaluations ?? {};
}
