// A run folder may come from anybody, and names the JavaScript module of its environment, or the address of a server that has it.
// That is executed, or spoken to, where this user has named the same before (--env, a setting, a configuration of a program), or
// says so now (--trust). What was named is kept outside of run folders, in <cache>/environments, one a line.

import { appendFileSync, existsSync, readFileSync, realpathSync } from "node:fs";
import { join, resolve } from "node:path";
import { cacheFolder } from "#locations";
import type { Config } from "../config/schema.ts";
import { SpaError } from "../errors.ts";
import { makeFolders } from "../files/folders.ts";

/** The setting `environment`. */
type Environment = Pick<Config["environment"], "module" | "options">;

/** Named in this process: there may be no place to keep it. */
const named = new Set<string>();

function isTrusted(source: string): boolean {
  if (named.has(source)) return true;
  const folder = cacheFolder();
  try {
    return (
      folder !== undefined && readFileSync(join(folder, "environments"), "utf8").split("\n").includes(source)
    );
  } catch {
    return false;
  }
}

/** Where an environment comes from that is not the package's own; null where it is. */
function foreignSource({ module, options }: Environment): string | null {
  if (module !== null) return existsSync(module) ? realpathSync(module) : null;
  return typeof options.url === "string" ? options.url : null;
}

/** Notes that the user has named an environment. A file that does not exist is not noted. */
export function trustEnvironment(environment: Environment): void {
  const source = foreignSource(environment);
  if (source === null || isTrusted(source)) return;
  named.add(source);
  const folder = cacheFolder();
  if (folder === undefined || source.includes("\n")) return;
  try {
    makeFolders(folder);
    appendFileSync(join(folder, "environments"), `${source}\n`);
  } catch {
    // It is asked again, then.
  }
}

/**
 * @param environment that the run folder `folder` names
 * @throws SpaError `UNTRUSTED` where the user has not named it
 */
export function requireTrusted(environment: Environment, folder: string): void {
  const source = foreignSource(environment);
  if (source === null || isTrusted(source)) return;
  const { module } = environment;
  const wants = module === null ? `speak to ${source}` : `execute ${resolve(module)}`;
  throw new SpaError("UNTRUSTED", `${folder} wants to ${wants}, which you have not named before`, {
    hint: `look at that ${module === null ? "address" : "file"}, then add --trust (in a program: trust: true)`,
  });
}
