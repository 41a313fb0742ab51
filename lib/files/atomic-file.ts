// Files and folders that are either whole or not there, whenever the process dies or the power goes. Everything that
// a run must find again is written here: aside first, synced to disk, then renamed, then the folder synced.

import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { open, readdir, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileError } from "./file-error.ts";

/** What stands aside until it is whole ends with this; leftovers may be deleted by whoever owns the folder. */
export const partialSuffix = ".partial";

/** Where `path` is written before it is renamed; the process number keeps two writers apart. */
export function asidePath(path: string): string {
  return `${path}.${process.pid}${partialSuffix}`;
}

/** Clears away what a failed attempt left. That this fails, too, says less than the failure before it. */
export function removeLeftover(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch {
    // The caller throws the first failure; whoever owns the folder clears leftovers away later.
  }
}

/**
 * Replaces `file` in one instant: readers see the old content or the new, never a part. Survives loss of power.
 *
 * @param content whole, or in pieces that are written one after another
 * @throws SpaError `DISK_FULL`, `FILE_FAILED`; the old content is still there then
 */
export function writeFileAtomically(file: string, content: string | Uint8Array | Iterable<Uint8Array>): void {
  const aside = asidePath(file);
  try {
    const descriptor = openSync(aside, "w");
    try {
      const isWhole = typeof content === "string" || content instanceof Uint8Array;
      for (const piece of isWhole ? [content] : content) writeFileSync(descriptor, piece);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(aside, file);
  } catch (error) {
    removeLeftover(aside);
    throw fileError(error, file);
  }
  syncFolder(dirname(file));
}

/** Brings a folder's entries (new names, renames, deletions) to disk. */
export function syncFolder(folder: string): void {
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      await syncTree(path);
    } else if (entry.isFile()) {
      const file = await open(path, "r");
      try {
        await file.sync();
      } finally {
        await file.close();
      }
    }
  }
  syncFolder(folder);
}

/**
 * Makes the folder `aside`, with everything in it, appear as `target` in one instant.
 *
 * @param target must not exist, or be an empty folder
 */
export async function commitFolder(aside: string, target: string): Promise<void> {
  try {
    await syncTree(aside);
    await rename(aside, target);
  } catch (error) {
    throw fileError(error, target);
  }
  syncFolder(dirname(target));
}

/**
 * Replaces several files together: `write` fills (and syncs) the one aside for each, then all are renamed. After an
 * error the old files are as they were.
 *
 * @throws SpaError `DISK_FULL`, `FILE_FAILED`
 */
export async function replaceFiles(
  paths: readonly string[],
  write: (asides: string[]) => Promise<void>,
): Promise<void> {
  const asides = paths.map(asidePath);
  try {
    await write(asides);
    for (const [index, path] of paths.entries()) await rename(asides[index], path);
    for (const folder of new Set(paths.map(dirname))) syncFolder(folder);
  } catch (error) {
    asides.forEach(removeLeftover);
    throw fileError(error, paths[0]);
  }
}

/** Writes a new file and syncs it to disk. */
export async function writeSynced(path: string, text: string): Promise<void> {
  const handle = await open(path, "w");
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
