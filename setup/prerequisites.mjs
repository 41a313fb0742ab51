// What must be on the machine before anything is built. Each missing piece is one sentence with its remedy.
import { statfsSync } from "node:fs";
import { run, SetupError } from "./step.mjs";

const MINIMUM_NODE = [20, 19];
const MINIMUM_CMAKE = [3, 25];
const MINIMUM_GCC = 11;
/** Wheel, unpacked libtorch and build tree together. */
const DISK_BYTES = 3 * 1024 ** 3;

const install = (packages) =>
  process.platform === "darwin"
    ? `brew install ${packages.brew}`
    : `sudo apt-get install -y ${packages.debian}`;

const below = (version, minimum) =>
  version[0] < minimum[0] || (version[0] === minimum[0] && (version[1] ?? 0) < (minimum[1] ?? 0));

export function checkNode() {
  const version = process.versions.node.split(".").map(Number);
  if (below(version, MINIMUM_NODE)) {
    throw new SetupError(
      `Node.js ${process.versions.node} is too old: ${MINIMUM_NODE.join(".")} or later is needed.`,
      "install Node.js 20.19 or later from https://nodejs.org",
    );
  }
}

export function checkDisk(folder, bytes = DISK_BYTES) {
  const disk = statfsSync(folder);
  const free = disk.bavail * disk.bsize;
  if (free < bytes) {
    const gib = (n) => (n / 1024 ** 3).toFixed(1);
    throw new SetupError(
      `Too little disk space at ${folder}: ${gib(free)} GiB free, ${gib(bytes)} GiB needed.`,
      "free some space, or set SPA_CACHE to a folder on a larger disk",
    );
  }
}

/** The first word that looks like a version in what a program prints, as numbers; undefined if it does not run. */
async function versionOf(command, args = ["--version"]) {
  try {
    const match = /(\d+)\.(\d+)/.exec(await run(command, args));
    return match ? [Number(match[1]), Number(match[2])] : [0, 0];
  } catch {
    return undefined;
  }
}

export async function checkCompiler() {
  const compiler = process.env.CXX ?? (process.platform === "darwin" ? "clang++" : "g++");
  const version = await versionOf(
    compiler,
    process.platform === "darwin" ? ["--version"] : ["-dumpfullversion"],
  );
  if (!version) {
    throw new SetupError(
      `No C++ compiler: '${compiler}' does not run.`,
      process.platform === "darwin" ? "xcode-select --install" : install({ debian: "g++" }),
    );
  }
  if (compiler.endsWith("g++") && version[0] < MINIMUM_GCC) {
    throw new SetupError(
      `g++ ${version[0]} is too old for C++20: ${MINIMUM_GCC} or later is needed.`,
      install({ debian: "g++-12" }),
    );
  }
}

export async function checkCmake() {
  const version = await versionOf("cmake");
  if (!version) throw new SetupError("CMake is missing.", install({ debian: "cmake make", brew: "cmake" }));
  if (below(version, MINIMUM_CMAKE)) {
    throw new SetupError(
      `CMake ${version.join(".")} is too old: ${MINIMUM_CMAKE.join(".")} or later is needed.`,
      "python3 -m pip install --user --upgrade cmake",
    );
  }
  if (!(await versionOf("make")) && !(await versionOf("ninja"))) {
    throw new SetupError("Neither make nor ninja is installed.", install({ debian: "make", brew: "ninja" }));
  }
}

export async function checkPython() {
  if (!(await versionOf("python3"))) {
    throw new SetupError(
      "Python 3 is missing (its pip brings libtorch).",
      install({ debian: "python3 python3-pip", brew: "python" }),
    );
  }
  if (!(await versionOf("python3", ["-m", "pip", "--version"]))) {
    throw new SetupError(
      "pip is missing (it brings libtorch).",
      install({ debian: "python3-pip", brew: "python" }),
    );
  }
}
