// Runs every test, C++ and TypeScript, and closes with one line: `N passed, N failed`.
// Arguments go to vitest (a file or -t pattern); the C++ tests then stay out.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BUILD_FOLDER } from "../setup/locations.mjs";
import { inRoot } from "../setup/step.mjs";

const chosen = process.argv.slice(2);

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

/** doctest's closing line: `[doctest] test cases:  12 |  12 passed | 0 failed | 0 skipped`. */
async function runNative() {
  const { code, output } = await run(inRoot(BUILD_FOLDER, "spa_tests"), []);
  const counts = /test cases:\s*\d+\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed/.exec(output);
  const [passed, failed] = counts ? [Number(counts[1]), Number(counts[2])] : [0, 1];
  // A crash prints no counts, or good counts and a bad exit status: both are failures.
  return { passed, failed: code === 0 ? failed : Math.max(failed, 1) };
}

async function runTypeScript() {
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
      ...chosen,
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

const results = chosen.length > 0 ? [await runTypeScript()] : [await runNative(), await runTypeScript()];
const total = (key) => results.reduce((sum, result) => sum + result[key], 0);
console.log(`\n${total("passed")} passed, ${total("failed")} failed`);
process.exitCode = total("failed") > 0 || total("passed") === 0 ? 1 : 0;
