// What every set-up step shares: the project's root, running a command with its output shown, failing with one
// sentence and the command that mends it, and stamps that tell whether a step's inputs changed since it last ran.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

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
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
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
    child.on("close", (code) => (code === 0 ? resolve(output) : reject({ code, output })));
  });
}

/** The last lines of a command's output: where compilers and package managers say what went wrong. */
export function lastLines(output, count = 15) {
  return output.trimEnd().split("\n").slice(-count).join("\n");
}

function* filesUnder(path) {
  const status = statSync(path, { throwIfNoEntry: false });
  if (!status) return;
  if (!status.isDirectory()) {
    yield [path, status];
    return;
  }
  for (const name of readdirSync(path).sort()) yield* filesUnder(join(path, name));
}

/** A fingerprint of the contents of files and folders (relative to the root) and of any further strings. */
export function fingerprint(paths, extra = []) {
  const hash = createHash("sha256").update(JSON.stringify(extra));
  for (const path of paths) {
    for (const [file] of filesUnder(inRoot(path)))
      hash.update(file.slice(root.length)).update(readFileSync(file));
  }
  return hash.digest("hex");
}

/** CMake's folder, with what set-up notes down; `build` belongs to node-gyp, which wipes it. */
export const BUILD_FOLDER = "build-cmake";

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

export function writeAtomically(file, text) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.partial`, text);
  renameSync(`${file}.partial`, file);
}
