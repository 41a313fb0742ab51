import { existsSync, mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Makes a folder, and those above it that are missing; one that is there is left as it is. In place of Node's `recursive`,
 * which climbs up and down without end where the system lets nobody make a folder, as in /proc.
 *
 * @throws what the system says
 */
export function makeFolders(folder: string): void {
  if (isFolder(folder)) return;
  try {
    mkdirSync(folder);
  } catch (error) {
    if (isFolder(folder)) return; // made by another process
    const above = dirname(folder);
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || existsSync(above)) throw error;
    makeFolders(above);
    makeFolders(folder);
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
