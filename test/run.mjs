// Brings what is missing, runs tests, C++ and TypeScript, and closes with one line: `N passed, N failed`.
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, extname, join } from "node:path";
import { BUILD_FOLDER } from "../setup/locations.mjs";
import { inRoot } from "../setup/step.mjs";

const help = `Usage: npm test -- [filters]
       npm test -- native [filters]     (or npm run test:native -- [filters])
       npm test -- kernels [filters]    (or npm run test:kernels -- [filters])

Without filters every test runs, C++ and TypeScript.

  test/envs collector -t "two words"    TypeScript tests: vitest's filters, parts of paths, and options
  native                                C++ tests alone
  native kernel_linear                  those of a file in native/test
  native "odd shapes" gemm              those with one of these in their names; * and ? stand for any text and character
  kernels                               the CUDA kernels alone, on the CPU: no CUDA, GPU or libtorch is needed
  kernels rms_norm                      those of a file in native/test/cuda_kernels, or by name as above
  kernels --sanitize                    under AddressSanitizer and UndefinedBehaviorSanitizer

  -h, --help  print this

Exit codes: 0 all passed, 1 some failed or none was chosen, 3 set-up failed`;

/** Runs a command in the root with its output shown, and resolves with that and the exit status. */
function run(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: inRoot(),
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, OMP_WAIT_POLICY: "passive" },
    });
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
      process.stdout.write(chunk);
    });
    child.on("error", (error) => resolve({ code: 1, output: String(error) }));
    child.on("close", (code) => resolve({ code: code ?? 1, output }));
  });
}

/** doctest's options: a filter is a file where `folder` has one of that name, else part of a test's name. */
function doctestOptions(folder, filters) {
  const sources = readdirSync(folder).map((file) => basename(file, extname(file)));
  const files = [];
  const names = [];
  for (const filter of filters) {
    const name = basename(filter, ".cc").replaceAll("*", "");
    if (sources.some((source) => source.startsWith(name))) files.push(`*/${name}*`);
    else names.push(`*${filter.replaceAll(",", "\\,")}*`);
  }
  return [
    ...(files.length > 0 ? [`--source-file=${files.join(",")}`] : []),
    ...(names.length > 0 ? [`--test-case=${names.join(",")}`] : []),
  ];
}

/** doctest's closing line: `[doctest] test cases:  12 |  12 passed | 0 failed | 0 skipped`. */
async function runDoctest(program, options) {
  const { code, output } = await run(program, options);
  const counts = /test cases:\s*\d+\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed/.exec(output);
  const [passed, failed] = counts ? [Number(counts[1]), Number(counts[2])] : [0, 1];
  // A crash prints no counts, or good counts and a bad exit status: both are failures.
  return { passed, failed: code === 0 ? failed : Math.max(failed, 1) };
}

function runNative(filters) {
  return runDoctest(inRoot(BUILD_FOLDER, "spa_tests"), doctestOptions(inRoot("native", "test"), filters));
}

/** The CUDA kernels on the CPU: a CMake project of its own. */
async function runKernels(given) {
  if (process.platform !== "linux") {
    console.log(`the CUDA kernels are tested on Linux alone, not on ${process.platform}`);
    return { passed: 0, failed: 0 };
  }
  const sanitize = given.includes("--sanitize");
  const filters = given.filter((argument) => argument !== "--sanitize");
  const source = inRoot("native", "test", "cuda_kernels");
  const folder = inRoot(sanitize ? "build-kernels-sanitize" : "build-kernels");
  const configure = ["-S", source, "-B", folder, `-DSPA_SANITIZE=${sanitize ? "ON" : "OFF"}`];
  for (const step of [configure, ["--build", folder, "--parallel", "2"]]) {
    const { code } = await run("cmake", step);
    if (code !== 0) return { passed: 0, failed: 1 };
  }
  return runDoctest(join(folder, "spa_kernel_tests"), doctestOptions(source, filters));
}

async function runTypeScript(filters) {
  const folder = mkdtempSync(join(tmpdir(), "spa-test-"));
  const report = join(folder, "report.json");
  try {
    const vitest = inRoot("node_modules", "vitest", "vitest.mjs");
    const { code } = await run(process.execPath, [
      vitest,
      "run",
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${report}`,
      ...filters,
    ]);
    const { numPassedTests, numFailedTests, testResults } = JSON.parse(readFileSync(report, "utf8"));
    const brokenFiles = testResults.filter(
      (file) => file.status === "failed" && file.assertionResults.length === 0,
    ).length;
    const failed = numFailedTests + brokenFiles;
    return { passed: numPassedTests, failed: code === 0 ? failed : Math.max(failed, 1) };
  } catch {
    return { passed: 0, failed: 1 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What the arguments choose, as filters by kind; absent: nothing of that kind. */
function choiceOf(filters) {
  if (filters.length === 0) return { native: [], kernels: [], typeScript: [] };
  const [first, ...others] = filters;
  if (/^kernels$|^native\/test\/cuda_kernels\/?$/.test(first)) return { kernels: others };
  if (first.startsWith("native/test/cuda_kernels/")) return { kernels: filters };
  if (/^native(\/(test\/?)?)?$/.test(first)) return { native: others };
  return first.startsWith("native/") ? { native: filters } : { typeScript: filters };
}

async function runChosen({ native, kernels, typeScript }) {
  if (native || typeScript) {
    const setUp = [inRoot("setup", "setup.mjs"), ...(native ? ["--tests"] : ["--quiet"])];
    const { code } = await run(process.execPath, setUp);
    if (code !== 0) return code;
  }
  const results = [];
  if (native) results.push(await runNative(native));
  if (kernels) results.push(await runKernels(kernels));
  if (typeScript) results.push(await runTypeScript(typeScript));
  const total = (key) => results.reduce((sum, result) => sum + result[key], 0);
  console.log(`\n${total("passed")} passed, ${total("failed")} failed`);
  return total("failed") > 0 || total("passed") === 0 ? 1 : 0;
}

const given = process.argv.slice(2);
if (given.includes("--help") || given.includes("-h")) {
  console.log(help);
} else {
  process.exitCode = await runChosen(choiceOf(given));
}
