import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { SpaError } from "../errors.ts";
import { nearestName } from "../nearest-name.ts";
import { RunFolder } from "../run/run-folder.ts";

/** Where runs are made unless told otherwise. */
export const runsFolder = "runs";

/** The run folders in a folder, by their paths. */
function runsIn(folder: string): string[] {
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return [];
  return readdirSync(folder)
    .sort()
    .map((name) => join(folder, name))
    .filter((path) => existsSync(join(path, "run.json")));
}

/**
 * The path of a run folder that the user names.
 *
 * @throws SpaError BAD_CHECKPOINT where there is none, with the run that was meant or those that there are
 */
export function namedRun(folder: string): string {
  if (existsSync(join(folder, "run.json"))) return folder;
  const isThere = existsSync(folder);
  const others = isThere ? runsIn(folder) : [...new Set([...runsIn(dirname(folder)), ...runsIn(runsFolder)])];
  const nearest = nearestName(
    basename(folder),
    others.map((path) => basename(path)),
  );
  const meant = others.find((path) => basename(path) === nearest);
  const what = isThere ? "is no run folder: it has no run.json" : "does not exist";
  throw new SpaError("BAD_CHECKPOINT", `${folder} ${what}${meant ? `; did you mean ${meant}?` : ""}`, {
    hint: others.length > 0 ? `runs: ${listed(others)}` : "run folders stand in runs/ unless told otherwise",
  });
}

function listed(paths: readonly string[]): string {
  const shown = paths.slice(-8).join(", ");
  return paths.length > 8 ? `…, ${shown}` : shown;
}

/** The run folder that was started last. @throws SpaError BAD_ARGUMENT where there is none */
export function lastRun(): string {
  const folder = RunFolder.latest(runsFolder);
  if (folder) return folder;
  throw new SpaError("BAD_ARGUMENT", "there is no run folder in runs/", {
    hint: "start one with: npx spa train",
  });
}
