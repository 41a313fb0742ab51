// How the addon and libtorch are found, and what is said when they are not.
import { spawn } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { addonInfo } from "../../lib/index.ts";
import { packageRoot } from "../../lib/native/loader.ts";
import { scratchFolder } from "./fixtures.ts";
import { buildProgram, ending, type Program } from "./programs/program.ts";

let program: Program;
beforeAll(async () => {
  program = await buildProgram("load");
});
afterAll(() => program[Symbol.dispose]());

const { libtorchLocation } = addonInfo();
const release = join(packageRoot(), "build-cmake", "Release");

/** A package root of its own, with the program in dist/lib/native as in an installed package. */
function makePackage(): string {
  const root = scratchFolder();
  mkdirSync(join(root, "dist", "lib", "native"), { recursive: true });
  writeFileSync(join(root, "package.json"), JSON.stringify({ name: "spa-ai", type: "module" }));
  copyFileSync(program.file, join(root, "dist", "lib", "native", "load.mjs"));
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

async function load(root: string, libtorch?: string): Promise<Outcome> {
  const { LIBTORCH: _, ...environment } = process.env;
  const env = libtorch === undefined ? environment : { ...environment, LIBTORCH: libtorch };
  const child = spawn(process.execPath, [join(root, "dist", "lib", "native", "load.mjs")], { env });
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
    writeFileSync(
      join(folder, process.platform === "darwin" ? "libtorch.dylib" : "libtorch.so"),
      "no library",
    );
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
