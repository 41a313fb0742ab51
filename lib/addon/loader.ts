import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, join, resolve } from "node:path";
import { addonFolder, isClone, nativeFolder, readLibtorchRecord } from "#locations";
import { SpaError } from "../errors.ts";
import { packageRoot } from "../package.ts";
import type { Addon, AddonInfo } from "./addon.ts";
import { libtorchVersion } from "./libtorch-version.ts";

/** Which libtorch is in use, and how it was found. */
export interface LibtorchLocation {
  /** The folder that holds `lib/libtorch.so` (`.dylib` on macOS). */
  path: string;
  /** In words, e.g. `"the LIBTORCH variable"`. */
  how: string;
}

interface Loaded {
  addon: Addon;
  libtorch: LibtorchLocation;
  /** The addon's file. */
  file: string;
}

interface Stub {
  /** Opens a shared library; null, or what the dynamic linker says is wrong. */
  load(path: string): string | null;
}

const require = createRequire(import.meta.url);
const libraryName = process.platform === "darwin" ? "libtorch.dylib" : "libtorch.so";

let loaded: Loaded | undefined;

/**
 * The native addon, loaded on first use. libtorch is opened before, through a stub addon that does not need it, so
 * that a missing library is an error here and not a linker message.
 *
 * libtorch is looked for in the LIBTORCH variable, then in the `libtorch.json` that set-up writes. The addon is looked for
 * where set-up builds it (a clone's `build-cmake/`, else the user's cache: setup/locations.mjs), in `build/Release` (of
 * node-gyp) and in `prebuilds/<platform>-<arch>` (the layout of prebuildify).
 *
 * @throws SpaError `ADDON_MISSING` with everything that was tried.
 */
export function loadAddon(): Addon {
  loaded ??= load(packageRoot());
  return loaded.addon;
}

/** What `spa doctor` prints about the native side. @throws SpaError `ADDON_MISSING`. */
export function addonInfo(): AddonInfo & { libtorchLocation: LibtorchLocation; addonFile: string } {
  const info = loadAddon().info();
  const { libtorch, file } = loaded!;
  return { ...info, libtorchLocation: libtorch, addonFile: file };
}

function load(root: string): Loaded {
  const tried: string[] = [];
  const native = nativeFolder(root);
  if (native === undefined)
    tried.push("the cache of set-up: there is no home folder, and SPA_CACHE is not set");
  const libtorch = findLibtorch(native, tried);
  for (const folder of addonFolders(root, native, libtorch)) {
    const file = ["spa.node", "spa-ai.node"].map((name) => join(folder, name)).find(existsSync);
    if (file === undefined) {
      tried.push(`${join(folder, "spa.node")}: no such file`);
      continue;
    }
    if (libtorch === undefined) {
      tried.push(`${file}: not loaded, for libtorch is missing`);
      continue;
    }
    try {
      openLibtorch(folder, libtorch.path);
      const addon = require(file) as Addon;
      addon.initialize(SpaError);
      return { addon, libtorch, file };
    } catch (error) {
      tried.push(`${file}: ${error instanceof Error ? error.message : String(error)}`);
      tried.push(...otherVersion(native, libtorch));
    }
  }
  throw new SpaError(
    "ADDON_MISSING",
    `the native addon could not be loaded. Tried:\n${tried.map((line) => `  - ${line}`).join("\n")}`,
    {
      hint: isClone(root)
        ? "run `npm run setup`, which fetches libtorch and builds the addon"
        : installedHint,
    },
  );
}

const installedHint =
  "run `npx spa setup`, which fetches libtorch and builds the addon; with SPA_CACHE, if set-up had it";

function addonFolders(root: string, native: string | undefined, libtorch?: LibtorchLocation): string[] {
  const own = native === undefined ? [] : [addonFolder(root, native, libtorch?.path)];
  return [
    ...own,
    join(root, "build", "Release"),
    join(root, "prebuilds", `${process.platform}-${process.arch}`),
  ];
}

/** The first libtorch that exists; what is not there is added to `tried`. */
function findLibtorch(native: string | undefined, tried: string[]): LibtorchLocation | undefined {
  const { LIBTORCH } = process.env;
  if (LIBTORCH) {
    // Whoever sets the variable wants that one: a wrong path is not papered over by another.
    if (holdsLibtorch(LIBTORCH)) return { path: resolve(LIBTORCH), how: "the LIBTORCH variable" };
    tried.push(`LIBTORCH=${LIBTORCH}: no lib/${libraryName} in it`);
    return undefined;
  }
  tried.push("the LIBTORCH variable: not set");
  if (native === undefined) return undefined;
  const file = join(native, "libtorch.json");
  const location = readRecord(native);
  if (typeof location === "string") {
    tried.push(`${file}: ${location}`);
    return undefined;
  }
  if (holdsLibtorch(location.path)) return location;
  tried.push(`${file} names ${location.path}: no lib/${libraryName} in it`);
  return undefined;
}

/** A linker's message does not say that the addon was compiled for another libtorch. */
function otherVersion(native: string | undefined, { path }: LibtorchLocation): string[] {
  const built = native === undefined ? "" : readRecord(native);
  const expected = typeof built === "string" ? undefined : libtorchVersion(built.path)?.version;
  const found = libtorchVersion(path)?.version;
  if (expected === undefined || found === undefined || expected === found) return [];
  return [`the addon was compiled for libtorch ${expected}, but ${path} is libtorch ${found}`];
}

/** The libtorch that set-up settled on, or why it cannot be told. */
function readRecord(native: string): LibtorchLocation | string {
  try {
    const record = readLibtorchRecord(native);
    if (record === undefined) return "no such file (set-up writes it)";
    return { path: record.path, how: record.how ?? "libtorch.json" };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function holdsLibtorch(folder: string): boolean {
  return existsSync(join(folder, "lib", libraryName));
}

/** Opens libtorch through the stub, unless a copy of the process's library path already provides it. */
function openLibtorch(folder: string, libtorch: string): void {
  const file = join(folder, "spa_loader.node");
  if (!existsSync(file)) {
    const paths = process.env.LD_LIBRARY_PATH?.split(delimiter) ?? [];
    if (paths.includes(join(libtorch, "lib"))) return;
    throw new Error(`${file}: no such file, and LD_LIBRARY_PATH does not name ${join(libtorch, "lib")}`);
  }
  const problem = (require(file) as Stub).load(join(libtorch, "lib", libraryName));
  if (problem !== null) throw new Error(problem);
}
