// Called by binding.gyp: node-gyp and prebuildify forward here, and the product goes where they look for it.
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { buildWithCmake } from "./cmake.mjs";
import { ensureLibtorch } from "./libtorch.mjs";
import { BUILD_FOLDER } from "./locations.mjs";
import { inRoot } from "./step.mjs";

const [productFolder] = process.argv.slice(2);
const libtorch = await ensureLibtorch();
await buildWithCmake(inRoot(BUILD_FOLDER), libtorch);
// prebuildify packs the first addon by name and, as artifacts, the stub that opens libtorch for it.
const artifacts = inRoot(BUILD_FOLDER, "artifacts");
for (const folder of [productFolder, artifacts]) mkdirSync(folder, { recursive: true });
copyFileSync(inRoot(BUILD_FOLDER, "Release", "spa.node"), join(productFolder, "spa.node"));
for (const folder of [productFolder, artifacts]) {
  copyFileSync(inRoot(BUILD_FOLDER, "Release", "spa_loader.node"), join(folder, "spa_loader.node"));
}
