import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { SpaError } from "../errors.ts";

/**
 * Files that are replaced whole: written aside, synced to disk, renamed into place. Whoever reads sees the old file or
 * the new one, whatever happens to this process.
 */

/** Turns an operating system's "no space" into `DISK_FULL`; other errors stay as they are. */
export function asDiskError(error: unknown, path: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== "ENOSPC" && code !== "EDQUOT") return error;
  return new SpaError("DISK_FULL", `${path} could not be written: no space is left on the disk`, {
    hint: "free some space and try again; what was there before is unchanged",
    cause: error,
  });
}

/**
 * Replaces several files together: `write` fills the one aside for each (and syncs it), then all are renamed. After an
 * error the old files are as they were.
 */
export async function replaceFiles(
  paths: string[],
  write: (asides: string[]) => Promise<void>,
): Promise<void> {
  const asides = paths.map((path) => `${path}.${process.pid}.tmp`);
  try {
    await write(asides);
    for (const [i, path] of paths.entries()) await rename(asides[i], path);
    for (const folder of new Set(paths.map(dirname))) await syncFolder(folder);
  } catch (error) {
    for (const aside of asides) await rm(aside, { force: true });
    throw asDiskError(error, paths[0]);
  }
}

/** Writes a new file and syncs it to disk. */
export async function writeSynced(path: string, text: string): Promise<void> {
  const handle = await open(path, "w");
  try {
    await handle.writeFile(text);
    await handle.sync();
  } catch (error) {
    throw asDiskError(error, path);
  } finally {
    await handle.close();
  }
}

/** A rename is only certain to survive a power cut once its folder is synced. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
