// Builds the addon with cmake-js (build-cmake/Release/*.node), and on demand the C++ tests.
import { existsSync } from "node:fs";
import { buildWithCmake } from "./cmake.mjs";
import { checkCmake, checkCompiler, checkDisk } from "./prerequisites.mjs";
import {
  BUILD_FOLDER,
  fingerprint,
  inRoot,
  lastLines,
  markStamp,
  SetupError,
  say,
  stampMatches,
} from "./step.mjs";

const SOURCES = [
  "CMakeLists.txt",
  "native/addon.cc",
  "native/loader_stub.c",
  "native/binding",
  "native/engine",
  "native/kernels",
  "native/cmake",
];

/** Compiles what changed. `tests` adds the doctest executable build-cmake/spa_tests. Resolves true if anything was built. */
export async function ensureNative(libtorch, { tests = false } = {}) {
  const name = tests ? "native-tests" : "native";
  const sources = tests ? [...SOURCES, "native/test"] : SOURCES;
  const print = fingerprint(sources, [
    libtorch.path,
    libtorch.version,
    process.env.USE_CUDA ?? "AUTO",
    process.arch,
  ]);
  const product = tests ? inRoot(BUILD_FOLDER, "spa_tests") : inRoot(BUILD_FOLDER, "Release", "spa.node");
  if (existsSync(product) && stampMatches(name, print)) return false;
  await checkCompiler();
  await checkCmake();
  checkDisk(1024 ** 3);
  say(
    `compiling the native ${tests ? "tests" : "addon"} against libtorch ${libtorch.version} (the first time takes two or three minutes)`,
  );
  try {
    await buildWithCmake(libtorch, tests ? "spa_tests" : undefined);
  } catch (failure) {
    throw new SetupError(
      `the native build failed:\n${lastLines(failure.output)}`,
      "see the compiler's message above; 'rm -rf build-cmake' starts afresh",
    );
  }
  markStamp(name, print);
  return true;
}
