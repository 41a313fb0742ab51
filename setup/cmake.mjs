// The one way in which CMake is called: by the set-up and, through binding.gyp, by node-gyp and prebuildify.
import { existsSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { homeFolder, isClone } from "./locations.mjs";
import { root, run } from "./step.mjs";

// Named, because cmake-js would take Ninja where there is one, and a build folder knows one generator only: installing
// Ninja later would break it.
const GENERATOR = "Unix Makefiles";

/** Configures and builds in `folder` everything but the tests, or `target` alone. */
export async function buildWithCmake(folder, libtorch, target) {
  forgetOtherBuild(folder);
  const cmakeJs = createRequire(import.meta.url).resolve("cmake-js/bin/cmake-js");
  const settings = ["--out", folder, "--config", "Release", "--parallel", "2", "--generator", GENERATOR];
  const definitions = [`--CDLIBTORCH=${libtorch.path}`, `--CDUSE_CUDA=${process.env.USE_CUDA ?? "AUTO"}`];
  // ccache serves clones, which compile again; without a home folder it fails.
  if (!isClone(root) || homeFolder() === undefined) definitions.push("--CDCCACHE=OFF");
  const only = target === undefined ? [] : ["--target", target];
  await run(process.execPath, [cmakeJs, "build", ...settings, ...only, ...definitions], { show: true });
}

/** CMake refuses a build folder of another generator, or of a project that has moved. */
function forgetOtherBuild(folder) {
  const cache = `${folder}/CMakeCache.txt`;
  if (!existsSync(cache)) return;
  const text = readFileSync(cache, "utf8");
  const wanted = [`CMAKE_GENERATOR:INTERNAL=${GENERATOR}\n`, `CMAKE_HOME_DIRECTORY:INTERNAL=${root}\n`];
  if (wanted.every((line) => text.includes(line))) return;
  rmSync(cache);
  rmSync(`${folder}/CMakeFiles`, { recursive: true, force: true });
}
