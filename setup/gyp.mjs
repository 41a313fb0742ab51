// Called by binding.gyp: node-gyp and prebuildify forward here, and the product goes where they look for it.
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { ensureLibtorch } from "./libtorch.mjs";
import { inRoot, run } from "./step.mjs";

const [productFolder] = process.argv.slice(2);
const libtorch = await ensureLibtorch();
const cmakeJs = inRoot("node_modules", "cmake-js", "bin", "cmake-js");
await run(
  process.execPath,
  [
    cmakeJs,
    "build",
    "--out",
    "build-cmake",
    "--config",
    "Release",
    "--parallel",
    "2",
    `--CDLIBTORCH=${libtorch.path}`,
  ],
  {
    show: true,
  },
);
// prebuildify packs the first addon by name and, as artifacts, the stub that opens libtorch for it.
const artifacts = inRoot("build-cmake", "artifacts");
for (const folder of [productFolder, artifacts]) mkdirSync(folder, { recursive: true });
copyFileSync(inRoot("build-cmake", "Release", "spa.node"), join(productFolder, "spa.node"));
for (const folder of [productFolder, artifacts]) {
  copyFileSync(inRoot("build-cmake", "Release", "spa_loader.node"), join(folder, "spa_loader.node"));
}
