// Where things are: what set-up downloads and builds, and where the addon's loader finds it. One file for both.
//
//   <cache>/libtorch/<version>-<platform>-<arch>/           a downloaded libtorch: include/ and lib/
//   <cache>/native/<version>-<platform>-<arch>-napi<n>-<digest of the native sources>/
//       libtorch.json                                       the libtorch that set-up settled on
//       libtorch-<digest>/spa.node, spa_loader.node         the addon, compiled for a libtorch
//
// No path of a project or package is in a name or a file, so one build serves all projects and outlives their moves.
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join, relative, resolve, sep } from "node:path";

/** The user's home folder; undefined for a user without one (a container's unknown uid, an empty HOME). */
export function homeFolder() {
  try {
    const folder = homedir();
    return isAbsolute(folder) ? folder : undefined;
  } catch {
    return undefined;
  }
}

/** The cache of this user: SPA_CACHE, or spa-ai in XDG_CACHE_HOME or in ~/.cache; undefined without a home folder. */
export function cacheFolder() {
  const { SPA_CACHE, XDG_CACHE_HOME } = process.env;
  if (SPA_CACHE) return resolve(SPA_CACHE);
  if (XDG_CACHE_HOME && isAbsolute(XDG_CACHE_HOME)) return join(XDG_CACHE_HOME, "spa-ai");
  const home = homeFolder();
  return home && join(home, ".cache", "spa-ai");
}

/** A clone of the repository, which has the lock file; npm never packs that into a package. */
export function isClone(root) {
  return existsSync(join(root, "package-lock.json"));
}

/** CMake's folder in a clone, with what set-up notes down; `build` belongs to node-gyp, which wipes it. */
export const BUILD_FOLDER = "build-cmake";

/** What the addon is compiled from, relative to the package's root. */
export const NATIVE_SOURCES = [
  "CMakeLists.txt",
  "native/addon.cc",
  "native/loader_stub.c",
  "native/binding",
  "native/engine",
  "native/kernels",
  "native/cmake",
];

/**
 * The folder that holds a package's native part: the clone's own, which keeps object files for the next build, or one in
 * the cache for an installed package; undefined where there is no cache.
 */
export function nativeFolder(root) {
  if (isClone(root)) return join(root, BUILD_FOLDER);
  const cache = cacheFolder();
  if (cache === undefined) return undefined;
  const { version, binary } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const abi = `${process.platform}-${process.arch}-napi${binary.napi_versions[0]}`;
  return join(cache, "native", `${version}-${abi}-${fingerprint(root, NATIVE_SOURCES).slice(0, 16)}`);
}

/** The folder in a package's native folder that holds the addon for a libtorch; of no use without one, but for messages. */
export function addonFolder(root, native, libtorch) {
  if (isClone(root)) return join(native, "Release");
  return join(native, libtorch === undefined ? "libtorch-*" : `libtorch-${libtorchDigest(libtorch)}`);
}

/** Which libraries a libtorch has, by name and size: two copies of one build are the same to the linker. */
function libtorchDigest(path) {
  const hash = createHash("sha256");
  // A wheel's OpenMP runtime lies beside the package in torch.libs.
  for (const folder of [join(path, "lib"), join(dirname(path), "torch.libs")]) {
    for (const [file, { size }] of filesUnder(folder)) hash.update(`${file.slice(folder.length)} ${size}\n`);
  }
  return hash.digest("hex").slice(0, 16);
}

const recordFile = (native) => join(native, "libtorch.json");

/**
 * The libtorch that set-up settled on, `{ path, version, how }`, with an absolute path; undefined where there is no record.
 *
 * @throws Error that says what is wrong with the record
 */
export function readLibtorchRecord(native) {
  const file = recordFile(native);
  if (!existsSync(file)) return undefined;
  const record = JSON.parse(readFileSync(file, "utf8"));
  if (typeof record.path !== "string") throw new Error("it names no path");
  return { ...record, path: resolve(native, record.path) };
}

/** Writes the record, unless it says the same already. What is in the cache is named from there: caches can be moved. */
export function writeLibtorchRecord(native, { path, ...rest }) {
  const cache = cacheFolder();
  const isCached = cache !== undefined && path.startsWith(cache + sep) && native.startsWith(cache + sep);
  const text = `${JSON.stringify({ path: isCached ? relative(native, path) : path, ...rest }, null, 2)}\n`;
  const file = recordFile(native);
  if (!existsSync(file) || readFileSync(file, "utf8") !== text) writeAtomically(file, text);
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

/** A fingerprint of the contents of files and folders (relative to `root`) and of any further strings. */
export function fingerprint(root, paths, extra = []) {
  const hash = createHash("sha256").update(JSON.stringify(extra));
  for (const path of paths) {
    for (const [file] of filesUnder(join(root, path)))
      hash.update(file.slice(root.length)).update(readFileSync(file));
  }
  return hash.digest("hex");
}

export function writeAtomically(file, text) {
  mkdirSync(dirname(file), { recursive: true });
  const aside = `${file}.${process.pid}.partial`;
  writeFileSync(aside, text);
  renameSync(aside, file);
}
