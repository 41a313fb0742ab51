// `npm run setup`: brings whatever is missing and says what it does. Safe to run at any time; quick when all is there.
//
//   --quiet   print nothing when there is nothing to do
//   --tests   build the C++ tests too
//
// Plain JavaScript without packages, for it runs before there are any.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { ensureLibtorch } from "./libtorch.mjs";
import { ensureNative } from "./native.mjs";
import { checkNode } from "./prerequisites.mjs";
import { fingerprint, inRoot, lastLines, markStamp, run, SetupError, say, stampMatches } from "./step.mjs";

/** A clone has the lock file and sources; an installed package has neither and needs neither. */
const isClone = existsSync(inRoot("package-lock.json"));

async function ensurePackages() {
  const print = fingerprint(["package-lock.json"]);
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
  const print = fingerprint(["lib", "envs", "bench", "tsconfig.json", "tsconfig.build.json"]);
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
  markStamp("typescript", print);
  return true;
}

/** Everything in order; with `tests`, the C++ tests too. */
async function setUp({ quiet, tests }) {
  checkNode();
  const begin = process.hrtime.bigint();
  const packages = isClone && (await ensurePackages());
  const libtorch = await ensureLibtorch();
  const native = await ensureNative(libtorch);
  if (tests) await ensureNative(libtorch, { tests });
  const typescript = isClone && (await ensureTypeScript());
  if (!quiet || packages || native || typescript) {
    const seconds = Number(process.hrtime.bigint() - begin) / 1e9;
    say(`ready in ${seconds.toFixed(1)} s (libtorch ${libtorch.version}, ${libtorch.how})`);
  }
}

const given = (option) => process.argv.includes(option);
try {
  await setUp({ quiet: given("--quiet"), tests: given("--tests") });
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`\n[setup] ${error.message}\n[setup] To mend it: ${error.remedy}`);
  process.exit(3);
}
