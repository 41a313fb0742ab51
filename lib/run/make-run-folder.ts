// A new run folder is written aside, locked, and renamed: it is there as a whole or not at all, and what a process leaves that
// was ended meanwhile is known by its lock, which nobody holds.

import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { stringify } from "yaml";
import type { Config } from "../config/schema.ts";
import { asidePath, removeLeftover, syncFolder, writeFileAtomically } from "../files/atomic-file.ts";
import { fileError } from "../files/file-error.ts";
import { makeFolders } from "../files/folders.ts";
import { acquireLock, lockHolder } from "../files/lock.ts";
import { packageVersion } from "../package.ts";
import { type Ledger, runFormat } from "./ledger.ts";

/** The folders in a run folder. */
export const innerFolders = ["trajectories", "data", "checkpoints"];

/**
 * Makes a run folder that has not begun. False if something is there already.
 *
 * @throws SpaError `DISK_FULL`, `FILE_FAILED`
 */
export function makeRunFolder(path: string, config: Config, now: Date): boolean {
  if (existsSync(path)) return false;
  for (let attempt = 1; ; attempt++) {
    const mark = randomBytes(4).toString("hex");
    const aside = asidePath(join(dirname(path), `.${basename(path)}.${mark}`));
    try {
      writeAside(aside, config, now);
      renameSync(aside, path);
      syncFolder(dirname(path));
      return true;
    } catch (error) {
      removeLeftover(aside);
      const { code } = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
      if (code === "ENOTEMPTY" || code === "EEXIST") return false;
      // Another process took it for abandoned, in an instant in which it was not locked.
      if (code === "ENOENT" && attempt < 5 && existsSync(dirname(path))) continue;
      throw fileError(error, path);
    }
  }
}

function writeAside(aside: string, config: Config, now: Date): void {
  const ledger: Ledger = {
    format: runFormat,
    package: packageVersion(),
    preset: config.preset,
    seed: config.seed,
    created: now.toISOString(),
    stages: [],
    checkpoints: [],
  };
  makeFolders(aside);
  {
    using _lock = acquireLock(aside);
    clearAbandoned(dirname(aside));
    for (const folder of innerFolders) mkdirSync(join(aside, folder));
    writeFileSync(join(aside, "metrics.jsonl"), "");
    writeFileAtomically(join(aside, "config.yaml"), stringify(config));
    writeFileAtomically(join(aside, "run.json"), `${JSON.stringify(ledger, null, 2)}\n`);
  }
  rmSync(join(aside, "lock.1"), { recursive: true });
}

/** Removes run folders in `root` whose maker was ended before they were whole. */
function clearAbandoned(root: string): void {
  for (const name of readdirSync(root)) {
    if (!name.startsWith(".") || !/\.\d+\.partial$/.test(name)) continue;
    const folder = join(root, name);
    const taken = asidePath(folder);
    try {
      if (lockHolder(folder)) continue;
      // Whoever renames it has it: its maker, if it lives after all, makes another.
      renameSync(folder, taken);
    } catch {
      continue;
    }
    removeLeftover(taken);
  }
}
