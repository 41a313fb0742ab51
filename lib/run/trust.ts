// A run folder may come from anybody, and names the JavaScript module of its environment. It is executed where this user has
// named the same file before (--env, a setting, a configuration of a program), or says so now (--trust). What was named is
// kept outside of run folders, in <cache>/environments, one path a line.

import { appendFileSync, existsSync, readFileSync, realpathSync } from "node:fs";
import { join, resolve } from "node:path";
import { cacheFolder } from "#locations";
import { SpaError } from "../errors.ts";
import { makeFolders } from "../files/folders.ts";

/** Named in this process: there may be no place to keep it. */
const named = new Set<string>();

function isTrusted(file: string): boolean {
  if (named.has(file)) return true;
  const folder = cacheFolder();
  try {
    return (
      folder !== undefined && readFileSync(join(folder, "environments"), "utf8").split("\n").includes(file)
    );
  } catch {
    return false;
  }
}

/** Notes that the user has named an environment's module. A file that does not exist is not noted. */
export function trustModule(module: string): void {
  if (!existsSync(module)) return;
  const file = realpathSync(module);
  if (isTrusted(file)) return;
  named.add(file);
  const folder = cacheFolder();
  if (folder === undefined || file.includes("\n")) return;
  try {
    makeFolders(folder);
    appendFileSync(join(folder, "environments"), `${file}\n`);
  } catch {
    // It is asked again, then.
  }
}

/**
 * @param module of the environment that the run folder `folder` names; null where it has none of its own
 * @throws SpaError `UNTRUSTED` where the user has not named it
 */
export function requireTrusted(module: string | null, folder: string): void {
  if (module === null || !existsSync(module) || isTrusted(realpathSync(module))) return;
  throw new SpaError(
    "UNTRUSTED",
    `${folder} wants to execute ${resolve(module)}, which you have not named before`,
    {
      hint: "look at that file, then add --trust (in a program: trust: true)",
    },
  );
}
