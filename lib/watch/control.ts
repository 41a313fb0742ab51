import { spawn } from "node:child_process";
import { join } from "node:path";
import { SpaError } from "../errors.ts";
import { lockHolder } from "../files/lock.ts";
import { placeOf } from "../files/lock-holder.ts";
import { packageRoot } from "../package.ts";
import type { RunFolder } from "../run/run-folder.ts";

/**
 * Does to a run what Ctrl-C does: it ends after the step under way, which is saved.
 *
 * @throws SpaError `BAD_ARGUMENT` where nobody works in it, or where the process cannot be reached from here
 */
export function stopRun(run: RunFolder): void {
  const holder = lockHolder(run.path);
  if (!holder) throw new SpaError("BAD_ARGUMENT", `nobody works in ${run.name}`);
  if (placeOf(holder) !== "here" || holder.pid === process.pid)
    throw new SpaError("BAD_ARGUMENT", `${run.name} is worked in on another machine or in another container`);
  process.kill(holder.pid, "SIGINT");
}

/**
 * Goes on with a run as `spa train --resume` does, in a process that outlives this one.
 *
 * @throws SpaError `BAD_ARGUMENT` where somebody works in it
 */
export function resumeRun(run: RunFolder): void {
  if (lockHolder(run.path)) throw new SpaError("BAD_ARGUMENT", `somebody works in ${run.name} already`);
  const args = [join(packageRoot(), "bin", "spa.mjs"), "train", "--resume", run.path, "--quiet"];
  spawn(process.execPath, args, { detached: true, stdio: "ignore" }).unref();
}
