// What every set-up step shares: the project's root, running a command with its output shown, failing with one
// sentence and the command that mends it, folders for half-made things, and stamps that tell whether a step's inputs
// changed since it last ran.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { BUILD_FOLDER, cacheFolder, writeAtomically } from "./locations.mjs";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const inRoot = (...parts) => join(root, ...parts);

/** A failure that the user can mend: one sentence, and the command or action that does it. */
export class SetupError extends Error {
  constructor(message, remedy) {
    super(message);
    this.remedy = remedy;
  }
}

export function say(text) {
  console.log(`[setup] ${text}`);
}

/**
 * Runs a command in the project's root and resolves with its combined output.
 *
 * With `show`, the output also passes through to the terminal as it comes.
 * Rejects with `{ code, output }` if the command fails or does not exist (code "ENOENT").
 */
export function run(command, args, { show = false, env = {} } = {}) {
  return new Promise((resolve, reject) => {
    // A group of its own, so that a compiler's children end with set-up.
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    const stop = () => {
      try {
        process.kill(-child.pid, "SIGTERM");
      } catch {
        // It has ended by itself.
      }
    };
    process.once("exit", stop);
    let output = "";
    for (const [stream, sink] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      stream.on("data", (chunk) => {
        output += chunk;
        if (show) sink.write(chunk);
      });
    }
    child.on("error", (error) => reject({ code: error.code, output: String(error) }));
    child.on("close", (code) => {
      process.off("exit", stop);
      if (code === 0) resolve(output);
      else reject({ code, output });
    });
  });
}

/** The last lines of a command's output: where compilers and package managers say what went wrong. */
export function lastLines(output, count = 15) {
  return output.trimEnd().split("\n").slice(-count).join("\n");
}

const cacheRemedy =
  "set SPA_CACHE to a folder that can be written, for set-up and for every later call of spa";

/** What cannot be written or read is the machine's matter, not a defect; any other error is thrown on. */
export function asSetupError(error) {
  if (error instanceof SetupError) return error;
  if (error.syscall === undefined) throw error;
  const cache = cacheFolder();
  const path = error.path ?? root;
  if (cache !== undefined && (path.startsWith(cache) || cache.startsWith(path))) {
    return new SetupError(`The cache folder ${cache} cannot be used: ${error.message}.`, cacheRemedy);
  }
  return new SetupError(`${error.message}.`, `give this user the right to read and write ${path}`);
}

const DAY = 24 * 3600 * 1000;

/**
 * Runs `work` with a folder of its own in a folder of the cache. It is removed afterwards, however set-up ends; what a
 * killed one left behind goes after a day.
 *
 * @throws SetupError where there is no place for a cache
 */
export async function withScratchFolder(name, work) {
  const cache = cacheFolder();
  if (cache === undefined) {
    throw new SetupError("There is no home folder to keep what set-up builds in.", cacheRemedy);
  }
  const parent = join(cache, name);
  mkdirSync(parent, { recursive: true });
  for (const left of readdirSync(parent).filter((entry) => entry.startsWith("partial-"))) {
    const folder = join(parent, left);
    const status = statSync(folder, { throwIfNoEntry: false });
    if (status && Date.now() - status.mtimeMs > DAY) rmSync(folder, { recursive: true, force: true });
  }
  const scratch = mkdtempSync(join(parent, "partial-"));
  // A compiler that was just told to stop may still write.
  const remove = () => rmSync(scratch, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  process.once("exit", remove);
  try {
    return await work(scratch);
  } finally {
    process.off("exit", remove);
    remove();
  }
}

const stampFile = (name) => inRoot(BUILD_FOLDER, `${name}.stamp`);

/** True if `markStamp(name, print)` was called with this fingerprint. */
export function stampMatches(name, print) {
  try {
    return readFileSync(stampFile(name), "utf8") === print;
  } catch {
    return false;
  }
}

export function markStamp(name, print) {
  writeAtomically(stampFile(name), print);
}
