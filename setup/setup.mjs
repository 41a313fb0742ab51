// `npm run setup` and `spa setup`: brings whatever is missing and says what it does. Safe to run at any time; quick when
// all is there.
//
// Plain JavaScript without packages, for it runs before there are any.
import { existsSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { ensureLibtorch } from "./libtorch.mjs";
import { fingerprint, isClone } from "./locations.mjs";
import { ensureNative } from "./native.mjs";
import { checkNode } from "./prerequisites.mjs";
import {
  asSetupError,
  inRoot,
  lastLines,
  markStamp,
  root,
  run,
  SetupError,
  say,
  stampMatches,
} from "./step.mjs";

const clone = isClone(root);

const help = `Usage: ${clone ? "npm run setup --" : "spa setup"} [options]

Brings what is missing: ${clone ? "npm packages, libtorch, the native addon, compiled TypeScript" : "libtorch and the native addon, compiled once for all projects of this user"}.
Does nothing when all is there.

Options:
  --quiet     print nothing when there is nothing to do${clone ? "\n  --tests     build the C++ tests too" : ""}
  -h, --help  print this

Variables:
  LIBTORCH    folder of a libtorch (include/ and lib/) to use; without it python3's torch is taken, or a wheel downloaded
  SPA_CACHE   where what is downloaded and built is kept, about 500 MB (XDG_CACHE_HOME/spa-ai, or ~/.cache/spa-ai);
              spa looks there too, so keep it set
  USE_CUDA    ON, OFF or AUTO (CUDA kernels where libtorch has CUDA and there is an nvcc)

Exit codes: 0 ready, 2 unknown option, 3 something is missing that set-up cannot bring`;

async function ensurePackages() {
  const print = fingerprint(root, ["package-lock.json"]);
  if (existsSync(inRoot("node_modules")) && stampMatches("packages", print)) return false;
  say("installing npm packages");
  try {
    await run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], {
      env: { NODE_ENV: "development" },
    });
  } catch (failure) {
    throw new SetupError(
      `npm packages could not be installed: ${lastLines(failure.output, 5)}`,
      "check the network (npm ping) and run 'npm run setup' again",
    );
  }
  markStamp("packages", print);
  return true;
}

async function ensureTypeScript() {
  const print = fingerprint(root, ["lib", "envs", "bench", "tsconfig.json", "tsconfig.build.json"]);
  if (existsSync(inRoot("dist", "lib", "index.js")) && stampMatches("typescript", print)) return false;
  say("compiling TypeScript");
  const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
  try {
    await run(process.execPath, [tsc, "-p", "tsconfig.build.json"]);
  } catch (failure) {
    throw new SetupError(
      `TypeScript does not compile:\n${lastLines(failure.output)}`,
      "mend the named lines and run 'npm run setup' again",
    );
  }
  removeOrphans();
  markStamp("typescript", print);
  return true;
}

/** What was compiled from files that are gone or have moved, which tsc leaves. */
function removeOrphans() {
  const folder = inRoot("dist");
  for (const file of readdirSync(folder, { recursive: true })) {
    const source = file.replace(/(\.d\.ts|\.js)(\.map)?$/, ".ts");
    if (source !== file && !existsSync(inRoot(source))) rmSync(join(folder, file));
  }
}

/** Everything in order; with `tests`, the C++ tests too. */
async function setUp({ quiet, tests }) {
  checkNode();
  const begin = process.hrtime.bigint();
  const packages = clone && (await ensurePackages());
  const libtorch = await ensureLibtorch();
  const native = await ensureNative(libtorch);
  if (tests) await ensureNative(libtorch, { tests });
  const typescript = clone && (await ensureTypeScript());
  if (!quiet || packages || native || typescript) {
    const seconds = Number(process.hrtime.bigint() - begin) / 1e9;
    say(`ready in ${seconds.toFixed(1)} s (libtorch ${libtorch.version}, ${libtorch.how})`);
  }
}

for (const [signal, number] of Object.entries({ SIGHUP: 1, SIGINT: 2, SIGTERM: 15 })) {
  process.once(signal, () => process.exit(128 + number));
}
// As `spa setup` the command's name comes first.
const given = process.argv.slice(2).filter((argument, index) => index > 0 || argument !== "setup");
const known = ["--quiet", "--help", "-h", ...(clone ? ["--tests"] : [])];
const unknown = given.find((argument) => !known.includes(argument));
if (unknown !== undefined) {
  console.error(`error: unknown option '${unknown}'\n\n${help}`);
  process.exitCode = 2;
} else if (given.includes("--help") || given.includes("-h")) {
  console.log(help);
} else {
  try {
    await setUp({ quiet: given.includes("--quiet"), tests: given.includes("--tests") });
  } catch (error) {
    const { message, remedy } = asSetupError(error);
    console.error(`\n[setup] ${message}\n[setup] To mend it: ${remedy}`);
    process.exitCode = 3;
  }
}
