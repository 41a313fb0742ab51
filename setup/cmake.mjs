// The one way in which CMake is called: by the set-up and, through binding.gyp, by node-gyp and prebuildify.
import { existsSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { BUILD_FOLDER, inRoot, run } from "./step.mjs";

// Named, because cmake-js would take Ninja where there is one, and a build folder knows one generator only: installing
// Ninja later would break it.
const GENERATOR = "Unix Makefiles";

/** Configures and builds everything but the tests, or `target` alone. */
export async function buildWithCmake(libtorch, target) {
  forgetOtherGenerator(inRoot(BUILD_FOLDER));
  const cmakeJs = createRequire(import.meta.url).resolve("cmake-js/bin/cmake-js");
  const settings = [
    "--out",
    BUILD_FOLDER,
    "--config",
    "Release",
    "--parallel",
    "2",
    "--generator",
    GENERATOR,
  ];
  const definitions = [`--CDLIBTORCH=${libtorch.path}`, `--CDUSE_CUDA=${process.env.USE_CUDA ?? "AUTO"}`];
  const only = target === undefined ? [] : ["--target", target];
  await run(process.execPath, [cmakeJs, "build", ...settings, ...only, ...definitions], { show: true });
}

function forgetOtherGenerator(folder) {
  const cache = `${folder}/CMakeCache.txt`;
  if (!existsSync(cache) || readFileSync(cache, "utf8").includes(`CMAKE_GENERATOR:INTERNAL=${GENERATOR}\n`))
    return;
  rmSync(cache);
  rmSync(`${folder}/CMakeFiles`, { recursive: true, force: true });
}
