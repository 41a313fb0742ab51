// Builds the addon with CMake: in a clone in build-cmake, which keeps what the next build needs; for an installed
// package in a scratch folder, of which two files (2 MB) stay in the cache. On demand the C++ tests, in a clone.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { buildWithCmake } from "./cmake.mjs";
import {
  addonFolder,
  BUILD_FOLDER,
  fingerprint,
  isClone,
  NATIVE_SOURCES,
  nativeFolder,
} from "./locations.mjs";
import { checkCmake, checkCompiler, checkDisk } from "./prerequisites.mjs";
import {
  inRoot,
  lastLines,
  markStamp,
  root,
  SetupError,
  say,
  stampMatches,
  withScratchFolder,
} from "./step.mjs";

const useCuda = () => process.env.USE_CUDA ?? "AUTO";

/** Compiles what changed. `tests` means the doctest executable of a clone, build-cmake/spa_tests. Resolves true if anything was built. */
export function ensureNative(libtorch, { tests = false } = {}) {
  return isClone(root) ? ensureInClone(libtorch, tests) : ensureInCache(libtorch);
}

async function ensureInClone(libtorch, tests) {
  const name = tests ? "native-tests" : "native";
  const sources = tests ? [...NATIVE_SOURCES, "native/test", "native/third_party"] : NATIVE_SOURCES;
  const print = fingerprint(root, sources, [libtorch.path, libtorch.version, useCuda(), process.arch]);
  const folder = inRoot(BUILD_FOLDER);
  const product = tests ? join(folder, "spa_tests") : join(folder, "Release", "spa.node");
  if (existsSync(product) && stampMatches(name, print)) return false;
  await compile(folder, libtorch, tests ? "spa_tests" : undefined);
  markStamp(name, print);
  return true;
}

async function ensureInCache(libtorch) {
  const native = nativeFolder(root);
  const isBuilt = () => native !== undefined && isInCache(addonFolder(root, native, libtorch.path));
  if (isBuilt()) return false;
  await withScratchFolder("native", async (scratch) => {
    const build = join(scratch, "build");
    mkdirSync(build);
    await compile(build, libtorch);
    if (!isBuilt()) await putInCache(join(build, "Release"), libtorch);
  });
  return true;
}

function isInCache(folder) {
  const note = join(folder, "use-cuda");
  return existsSync(join(folder, "spa.node")) && existsSync(note) && readFileSync(note, "utf8") === useCuda();
}

/**
 * Gives the addon in the folder `release` its place in the cache, whole or not at all.
 * @public the test of an installed package calls the copy there
 */
export function putInCache(release, libtorch) {
  const target = addonFolder(root, nativeFolder(root), libtorch.path);
  return withScratchFolder("native", (scratch) => {
    const aside = join(scratch, "addon");
    mkdirSync(aside);
    for (const name of ["spa.node", "spa_loader.node"]) copyFileSync(join(release, name), join(aside, name));
    writeFileSync(join(aside, "use-cuda"), useCuda());
    mkdirSync(dirname(target), { recursive: true });
    rmSync(target, { recursive: true, force: true });
    try {
      renameSync(aside, target);
    } catch (error) {
      // Another set-up was quicker.
      if (!isInCache(target)) throw error;
    }
  });
}

async function compile(folder, libtorch, target) {
  await checkCompiler();
  await checkCmake();
  mkdirSync(folder, { recursive: true });
  checkDisk(folder, 1024 ** 3);
  const what = target === undefined ? "addon" : "tests";
  say(
    `compiling the native ${what} against libtorch ${libtorch.version} (the first time takes two or three minutes)`,
  );
  try {
    await buildWithCmake(folder, libtorch, target);
  } catch (failure) {
    throw new SetupError(
      `the native build failed:\n${lastLines(failure.output)}`,
      isClone(root)
        ? "see the compiler's message above; 'rm -rf build-cmake' starts afresh"
        : "see the compiler's message above, and run 'npx spa setup' again",
    );
  }
}
