// How the addon and libtorch are found, and what is said when they are not.
import { spawn } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { addonInfo } from "../../lib/index.ts";
import { packageRoot } from "../../lib/package.ts";
import { addonFolder, nativeFolder } from "../../setup/locations.mjs";
import { scratchFolder } from "../engine/fixtures.ts";
import { buildProgram, ending, type Program } from "../programs/program.ts";

let program: Program;
beforeAll(async () => {
  program = await buildProgram("load");
});
afterAll(() => program[Symbol.dispose]());

const { libtorchLocation } = addonInfo();
const release = join(packageRoot(), "build-cmake", "Release");
const libraryName = process.platform === "darwin" ? "libtorch.dylib" : "libtorch.so";

/** A package root of its own, with the program in dist/lib/addon; without a lock file, as npm installs it. */
function makeInstalled(): string {
  const root = scratchFolder();
  mkdirSync(join(root, "dist", "lib", "addon"), { recursive: true });
  const { name, version, binary } = JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8"));
  writeFileSync(join(root, "package.json"), JSON.stringify({ name, version, binary, type: "module" }));
  copyFileSync(program.file, join(root, "dist", "lib", "addon", "load.mjs"));
  mkdirSync(join(root, "native", "engine"), { recursive: true });
  writeFileSync(join(root, "native", "engine", "session.cc"), "// source");
  return root;
}

/** The same as a clone, which has the lock file. */
function makePackage(): string {
  const root = makeInstalled();
  writeFileSync(join(root, "package-lock.json"), "{}");
  return root;
}

function addBuild(root: string, folder = join("build-cmake", "Release")): void {
  mkdirSync(join(root, folder), { recursive: true });
  for (const name of ["spa.node", "spa_loader.node"])
    symlinkSync(join(release, name), join(root, folder, name));
}

function addRecord(root: string, text: string): void {
  mkdirSync(join(root, "build-cmake"), { recursive: true });
  writeFileSync(join(root, "build-cmake", "libtorch.json"), text);
}

interface Outcome {
  code?: string;
  message?: string;
  hint?: string;
  libtorchLocation?: { path: string; how: string };
  addonFile?: string;
}

async function load(root: string, libtorch?: string, more: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  const { LIBTORCH: _, ...environment } = { ...process.env, ...more };
  const env = libtorch === undefined ? environment : { ...environment, LIBTORCH: libtorch };
  const child = spawn(process.execPath, [join(root, "dist", "lib", "addon", "load.mjs")], { env });
  const { code, signal, output } = await ending(child);
  expect({ code, signal }, output).toEqual({ code: 0, signal: null });
  return JSON.parse(output) as Outcome;
}

const record = JSON.stringify({ path: libtorchLocation.path, version: "2", how: "a test" });

describe("found", () => {
  test("by set-up's record", async () => {
    const root = makePackage();
    addBuild(root);
    addRecord(root, record);
    const found = await load(root);
    expect(found.libtorchLocation).toEqual({ path: libtorchLocation.path, how: "a test" });
    expect(found.addonFile).toBe(join(root, "build-cmake", "Release", "spa.node"));
  });

  test("by the variable, which goes before the record", async () => {
    const root = makePackage();
    addBuild(root);
    addRecord(root, JSON.stringify({ path: "/nowhere" }));
    expect((await load(root, libtorchLocation.path)).libtorchLocation?.how).toMatch(/LIBTORCH/);
  });

  test("as a prebuild", async () => {
    const root = makePackage();
    addBuild(root, join("prebuilds", `${process.platform}-${process.arch}`));
    expect((await load(root, libtorchLocation.path)).addonFile).toMatch(/prebuilds/);
  });

  test("from sources as from dist", () => {
    expect(addonInfo().addonFile).toBe(join(release, "spa.node"));
    expect(JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8")).name).toBe("spa-ai");
  });
});

describe("an installed package finds its build in the user's cache", () => {
  /** A package whose build is in a cache of its own. */
  function makeCached() {
    const root = makeInstalled();
    const cache = scratchFolder();
    vi.stubEnv("SPA_CACHE", cache);
    const native = nativeFolder(root)!;
    const folder = addonFolder(root, native, libtorchLocation.path);
    vi.unstubAllEnvs();
    addBuild("/", folder);
    writeFileSync(join(native, "libtorch.json"), record);
    return { root, cache, native, folder };
  }

  test("by the record, or for the libtorch of the variable", async () => {
    const { root, cache, folder } = makeCached();
    for (const variable of [undefined, libtorchLocation.path]) {
      expect((await load(root, variable, { SPA_CACHE: cache })).addonFile).toBe(join(folder, "spa.node"));
    }
  });

  test("after package and cache have moved, by a libtorch in the cache that is named from there", async () => {
    const { root, cache, native } = makeCached();
    mkdirSync(join(cache, "libtorch"));
    symlinkSync(libtorchLocation.path, join(cache, "libtorch", "2-x"));
    writeFileSync(
      join(native, "libtorch.json"),
      JSON.stringify({ path: "../../libtorch/2-x", how: "a test" }),
    );
    renameSync(root, `${root} moved ü`);
    renameSync(cache, `${cache} moved ü`);
    const found = await load(`${root} moved ü`, undefined, { SPA_CACHE: `${cache} moved ü` });
    expect(found.libtorchLocation?.path).toBe(join(`${cache} moved ü`, "libtorch", "2-x"));
    expect(found.addonFile?.startsWith(`${cache} moved ü`)).toBe(true);
  });

  test.each([
    [{ SPA_CACHE: undefined, XDG_CACHE_HOME: "<here>" }, "spa-ai"],
    [{ SPA_CACHE: undefined, XDG_CACHE_HOME: undefined, HOME: "<here>" }, ".cache/spa-ai"],
    [{ SPA_CACHE: undefined, XDG_CACHE_HOME: "relative", HOME: "<here>" }, ".cache/spa-ai"],
  ])("with %j in %s", async (variables, place) => {
    const { root, cache } = makeCached();
    const here = scratchFolder();
    mkdirSync(join(here, ".cache"));
    renameSync(cache, join(here, place));
    const given = Object.entries(variables).map(([name, value]) => [name, value === "<here>" ? here : value]);
    expect((await load(root, undefined, Object.fromEntries(given))).addonFile).toContain(here);
  });

  test("not one of other sources, another version or another libtorch", async () => {
    const { root, cache } = makeCached();
    const env = { SPA_CACHE: cache };
    const other = scratchFolder();
    mkdirSync(join(other, "lib"));
    symlinkSync(join(libtorchLocation.path, "lib", libraryName), join(other, "lib", libraryName));
    expect((await load(root, other, env)).message).toContain("spa.node: no such file");
    const description = readFileSync(join(root, "package.json"), "utf8");
    writeFileSync(join(root, "package.json"), description.replace(/"version":"[^"]+"/, '"version":"0.0.9"'));
    expect((await load(root, undefined, env)).code).toBe("ADDON_MISSING");
    writeFileSync(join(root, "package.json"), description);
    expect((await load(root, undefined, env)).code).toBeUndefined();
    appendFileSync(join(root, "native", "engine", "session.cc"), "// changed");
    expect((await load(root, undefined, env)).code).toBe("ADDON_MISSING");
  });

  test("without a home folder the error says so, and names the variable", async () => {
    const { code, message, hint } = await load(makeInstalled(), undefined, {
      HOME: "",
      XDG_CACHE_HOME: undefined,
      SPA_CACHE: undefined,
    });
    expect(code).toBe("ADDON_MISSING");
    expect(message).toContain("there is no home folder, and SPA_CACHE is not set");
    expect(hint).toContain("npx spa setup");
  });
});

describe("not found: one error that lists what was tried and the command to run", () => {
  const missing = async (root: string, libtorch?: string) => {
    const outcome = await load(root, libtorch);
    expect(outcome.code).toBe("ADDON_MISSING");
    expect(outcome.hint).toContain("npm run setup");
    return outcome.message!;
  };

  test("nothing was set up", async () => {
    const root = makePackage();
    const message = await missing(root);
    expect(message).toContain("the LIBTORCH variable: not set");
    expect(message).toContain(`${join(root, "build-cmake", "libtorch.json")}: no such file`);
    expect(message).toContain(`${join(root, "build-cmake", "Release", "spa.node")}: no such file`);
    expect(message).toContain("prebuilds");
  });

  test("a wrong variable is not papered over by the record", async () => {
    const root = makePackage();
    addBuild(root);
    addRecord(root, record);
    expect(await missing(root, "/nowhere")).toMatch(/LIBTORCH=\/nowhere: no lib\/libtorch/);
  });

  test("libtorch was deleted", async () => {
    const root = makePackage();
    addBuild(root);
    addRecord(root, JSON.stringify({ path: "/gone" }));
    expect(await missing(root)).toMatch(/libtorch\.json names \/gone: no lib\/libtorch/);
  });

  test.each(["", "{}", "[1", '{"path":3}'])("a record that holds %j", async (text) => {
    const root = makePackage();
    addBuild(root);
    addRecord(root, text);
    expect(await missing(root)).toContain("libtorch.json");
  });

  test("a libtorch that cannot be opened", async () => {
    const root = makePackage();
    addBuild(root);
    const folder = join(root, "torch", "lib");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, libraryName), "no library");
    expect(await missing(root, join(root, "torch"))).toMatch(/spa\.node: .*libtorch/);
  });

  test("an addon that cannot be opened", async () => {
    const root = makePackage();
    addBuild(root);
    rmSync(join(root, "build-cmake", "Release", "spa.node"));
    cpSync(program.file, join(root, "build-cmake", "Release", "spa.node"));
    expect(await missing(root, libtorchLocation.path)).toMatch(/spa\.node: /);
  });

  test("no stub beside the addon", async () => {
    const root = makePackage();
    addBuild(root);
    rmSync(join(root, "build-cmake", "Release", "spa_loader.node"));
    expect(await missing(root, libtorchLocation.path)).toMatch(/spa_loader\.node: no such file/);
  });
});
