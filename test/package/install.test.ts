// The package as its users have it: packed, installed by npm into a project, moved, set up, and run.
import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build as esbuild } from "esbuild";
import { build as viteBuild } from "vite";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { addonInfo } from "../../lib/index.ts";
import { packageRoot } from "../../lib/package.ts";
import { writeTinyConfig } from "../cli/spa.ts";

const root = packageRoot();
const libtorch = addonInfo().libtorchLocation.path;
/** The oldest that is supported, and the newest. */
const compilers = ["5.4.5", "6.0.3"];
let scratch: string;
let project: string;
let cache: string;

/** The environment of a user without LIBTORCH, and without a compiler that set-up could call. */
function environment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const { LIBTORCH: _, ...rest } = process.env;
  return { ...rest, SPA_CACHE: cache, CXX: "no-compiler", NODE_OPTIONS: "", ...more };
}

function run(command: string, args: string[], more: NodeJS.ProcessEnv = {}) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: project,
    env: environment(more),
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

/** Runs a command that must succeed, and gives what it printed. */
function output(command: string, args: string[], more: NodeJS.ProcessEnv = {}): string {
  const { status, stdout, stderr } = run(command, args, more);
  expect(status, stdout + stderr).toBe(0);
  return stdout;
}

const installed = (...parts: string[]) => join(project, "node_modules", "spa-ai", ...parts);

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), "spa-install-"));
  cache = join(scratch, "cache");
  project = join(scratch, "project");
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "project", private: true }));
  execFileSync("npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", scratch], { cwd: root });
  const tarball = readdirSync(scratch).find((name) => name.endsWith(".tgz"))!;
  const wanted = [
    join(scratch, tarball),
    ...compilers.map((version) => `ts-${version}@npm:typescript@${version}`),
  ];
  output("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", ...wanted]);
  output("npm", ["ci", "--prefer-offline", "--no-audit", "--no-fund"]);
}, 300_000);
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

test("npm ci builds and downloads nothing", () => {
  expect(existsSync(installed("dist", "lib", "index.js"))).toBe(true);
  expect(existsSync(installed("build"))).toBe(false);
  expect(existsSync(cache)).toBe(false);
});

/** Writes a wheel that pip takes for the one that set-up wants, and prints its name. */
const forgeWheel = `
import os, platform, sys, zipfile
tag = f"cp3{sys.version_info[1]}"
name = f"torch-2.13.0+cpu-{tag}-{tag}-manylinux_2_28_{platform.machine()}.whl"
with zipfile.ZipFile(os.path.join(sys.argv[1], name), "w") as wheel:
    wheel.writestr("torch-2.13.0+cpu.dist-info/METADATA", "Metadata-Version: 2.1\\nName: torch\\nVersion: 2.13.0+cpu\\n")
    wheel.writestr("torch-2.13.0+cpu.dist-info/WHEEL", f"Wheel-Version: 1.0\\nRoot-Is-Purelib: false\\nTag: {tag}-{tag}-manylinux_2_28_{platform.machine()}\\n")
    wheel.writestr("torch/lib/libtorch.so", "forged")
print(name)
`;

describe("spa setup", () => {
  test("--help helps, and an unknown option is refused, with nothing done", () => {
    for (const name of ["spa", "spa-ai"]) {
      expect(output("npx", [name, "setup", "--help"])).toMatch(
        /^Usage: spa setup \[options\][\s\S]*SPA_CACHE/,
      );
    }
    const { status, stderr } = run("npx", ["spa", "setup", "--hlep"]);
    expect(status).toBe(2);
    expect(stderr).toContain("unknown option '--hlep'");
    expect(existsSync(cache)).toBe(false);
  });

  test("a cache that cannot be written, or no home for one, is one error with the remedy", () => {
    writeFileSync(join(scratch, "file"), "");
    for (const [more, message] of [
      [{ SPA_CACHE: join(scratch, "file", "cache") }, "cannot be used"],
      [{ SPA_CACHE: "", XDG_CACHE_HOME: "", HOME: "" }, "There is no home folder"],
    ] as const) {
      const { status, stderr } = run("npx", ["spa", "setup"], { ...more, LIBTORCH: libtorch });
      expect(status).toBe(3);
      expect(stderr).toContain(message);
      expect(stderr).toContain("To mend it: set SPA_CACHE");
      expect(stderr).not.toMatch(/^\s+at /m);
    }
  });

  test.runIf(process.platform === "linux")("refuses and removes a wheel of another digest", () => {
    const wheels = join(scratch, "wheels");
    // A module in torch's place hides one that may be installed.
    mkdirSync(join(wheels, "path"), { recursive: true });
    writeFileSync(join(wheels, "path", "torch.py"), "");
    const name = output("python3", ["-c", forgeWheel, wheels]).trim();
    const more = {
      PIP_FIND_LINKS: wheels,
      PIP_NO_INDEX: "1",
      PYTHONPATH: join(wheels, "path"),
      LIBTORCH: "",
    };
    const { status, stderr } = run("npx", ["spa", "setup"], { ...more, SPA_CACHE: join(scratch, "forged") });
    expect(status, stderr).toBe(3);
    expect(stderr).toMatch(/^\[setup\] The wheel torch-\S+ .*sha256 \w{64}.*; it was removed\.$/m);
    expect(stderr).toContain(name);
    expect(readdirSync(join(scratch, "forged", "libtorch"))).toEqual([]);
  });

  test("finds what was built for the same sources and libtorch, after the project has moved", async () => {
    expect(run("npx", ["spa", "setup"], { LIBTORCH: libtorch }).stderr).toContain("No C++ compiler");
    // The clone's addon is the one that set-up would build here, and takes the way into the cache that a built one takes.
    vi.stubEnv("SPA_CACHE", cache);
    const { putInCache } = await import(pathToFileURL(installed("setup", "native.mjs")).href);
    await putInCache(join(root, "build-cmake", "Release"), { path: libtorch });
    vi.unstubAllEnvs();
    const moved = join(scratch, "moved project, größer");
    renameSync(project, moved);
    project = moved;
    expect(output("npx", ["spa", "setup"], { LIBTORCH: libtorch })).toContain("ready in");
    expect(output("npx", ["spa", "doctor"])).toContain("Everything works.");
    const names = readdirSync(cache, { recursive: true, encoding: "utf8" });
    expect(names.filter((name) => !/^native(\/|$)/.test(name) || name.includes("partial"))).toEqual([]);
    const texts = names
      .filter((name) => name.endsWith(".json"))
      .map((name) => readFileSync(join(cache, name), "utf8"));
    expect(texts.join()).not.toContain(scratch);
  });
});

const program = `
const { Engine, SpaError, loadConfig } = SPA;
const { createEnvironment } = ENVIRONMENTS;
const engine = await Engine.create({ device: "cpu", threads: 1 });
await engine.dispose();
const environment = createEnvironment("frozen-lake", { size: 4 });
environment.reset({ seed: 1 });
console.log(loadConfig("nano-sokoban").environment.name, environment.name, new SpaError("INTERNAL", "x").code);
`;
const said = "sokoban frozen-lake INTERNAL\n";

describe("runs", () => {
  test("on the command line: a whole pipeline", () => {
    writeTinyConfig(project);
    output("npx", ["spa", "train", "tiny.yaml", "--name", "first"]);
    expect(existsSync(join(project, "runs", "first", "results.json"))).toBe(true);
  });

  test("as an ES module", () => {
    const imports = 'import * as SPA from "spa-ai"; import * as ENVIRONMENTS from "spa-ai/envs";';
    writeFileSync(join(project, "esm.mjs"), imports + program);
    expect(output("node", ["esm.mjs"])).toBe(said);
  });

  test.each([
    ["require", 'const SPA = require("spa-ai"), ENVIRONMENTS = require("spa-ai/envs");', ""],
    ["import()", "", 'const SPA = await import("spa-ai"), ENVIRONMENTS = await import("spa-ai/envs");'],
  ])("in CommonJS by %s", (_way, outside, inside) => {
    writeFileSync(join(project, "commonjs.cjs"), `${outside}(async () => {${inside}${program}})();`);
    expect(output("node", ["commonjs.cjs"])).toBe(said);
  });

  describe.each(compilers)("compiled by TypeScript %s", (version) => {
    test.each([
      ["nodenext", "nodenext"],
      ["esnext", "bundler"],
    ])("as module %s, resolved as %s, libraries checked", (module, moduleResolution) => {
      const typed = `
import * as SPA from "spa-ai"; import * as ENVIRONMENTS from "spa-ai/envs";
export const config: SPA.Config = SPA.loadConfig("nano-sokoban");
export const play = (environment: ENVIRONMENTS.Environment): string => environment.name;
export const score = (model: SPA.Model, batch: SPA.ScoreBatch) => model.score(batch);
${program}`;
      writeFileSync(join(project, "typed.mts"), typed);
      writeFileSync(
        join(project, "typed.cts"),
        'export const spa = import("spa-ai").then((spa) => spa.Engine);',
      );
      const compilerOptions = { strict: true, target: "es2022", skipLibCheck: false, outDir: "out", module };
      const files = ["typed.mts", ...(module === "nodenext" ? ["typed.cts"] : [])];
      writeFileSync(
        join(project, "tsconfig.json"),
        JSON.stringify({ compilerOptions: { ...compilerOptions, moduleResolution }, files }),
      );
      const { status, stdout } = run("node", [`node_modules/ts-${version}/bin/tsc`, "-p", "."]);
      expect(status, stdout).toBe(0);
      expect(output("node", ["out/typed.mjs"])).toBe(said);
    });
  });

  test("in bundles of esbuild and vite that leave it outside", async () => {
    const imports = 'import * as SPA from "spa-ai"; import * as ENVIRONMENTS from "spa-ai/envs";';
    const entry = join(project, "service.mjs");
    writeFileSync(entry, imports + program);
    const outfile = join(project, "bundles", "esbuild.mjs");
    await esbuild({
      entryPoints: [entry],
      outfile,
      bundle: true,
      platform: "node",
      format: "esm",
      external: ["spa-ai"],
    });
    await viteBuild({
      root: project,
      configFile: false,
      logLevel: "error",
      build: {
        ssr: entry,
        outDir: "bundles",
        emptyOutDir: false,
        target: "node20",
        rolldownOptions: { external: [/^spa-ai/], output: { entryFileNames: "vite.mjs" } },
      },
    });
    for (const name of ["esbuild.mjs", "vite.mjs"]) expect(output("node", [`bundles/${name}`])).toBe(said);
  });

  test("in a bundle without that, the error says how", async () => {
    const entry = join(project, "inside.mjs");
    writeFileSync(entry, 'import { Engine } from "spa-ai"; await Engine.create({});');
    await viteBuild({
      root: project,
      configFile: false,
      logLevel: "error",
      ssr: { noExternal: true },
      build: {
        ssr: entry,
        outDir: scratch,
        emptyOutDir: false,
        target: "node20",
        rolldownOptions: { output: { entryFileNames: "bundle.mjs" } },
      },
    });
    const { status, stderr } = run("node", [join(scratch, "bundle.mjs")]);
    expect(status).toBe(1);
    expect(stderr).toContain("--external:spa-ai");
  });

  test("the environments in a browser, where there is no node", async () => {
    const entry = join(project, "browser.mjs");
    const play =
      'const game = createEnvironment("sokoban"); game.reset({ seed: 1 }); print(game.render("grid"));';
    writeFileSync(entry, `import { createEnvironment } from "spa-ai/envs"; ${play}`);
    const { outputFiles } = await esbuild({
      entryPoints: [entry],
      bundle: true,
      platform: "browser",
      write: false,
    });
    const { createEnvironment } = await import(pathToFileURL(installed("dist", "envs", "index.js")).href);
    const here = createEnvironment("sokoban");
    here.reset({ seed: 1 });
    const { runInNewContext } = await import("node:vm");
    const printed: string[] = [];
    runInNewContext(outputFiles[0].text, { print: (text: string) => printed.push(text) });
    expect(printed).toEqual([here.render("grid")]);
  });
});

test("a set-up that nothing is missing for writes nothing: folders may be read-only", () => {
  const before = readdirSync(cache, { recursive: true }).length;
  expect(output("npx", ["spa", "setup", "--quiet"], { LIBTORCH: libtorch })).toBe("");
  expect(readdirSync(cache, { recursive: true }).length).toBe(before);
});
