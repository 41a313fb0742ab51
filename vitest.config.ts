import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { defineConfig } from "vitest/config";

const root = import.meta.dirname;
const tests = readdirSync(posix.join(root, "test"), { encoding: "utf8", recursive: true })
  .filter((file) => file.endsWith(".test.ts"))
  .map((file) => `test/${file}`);

/** What a file imports but for types, with paths from the root. */
function importsOf(file: string): string[] {
  const text = readFileSync(posix.join(root, file), "utf8");
  const names = Array.from(text.matchAll(/^import (?!type\b)[^"]*"([^"]+)"/gm), ([, name]) => name);
  return names.map((name) => (name.startsWith(".") ? posix.join(posix.dirname(file), name) : name));
}

/** Whether a test starts processes (a browser among them) or an engine, itself or in a file of test/ that it imports. `npm run check` runs the others. */
function isSlow(file: string): boolean {
  return importsOf(file).some(
    (name) =>
      /^node:(child_process|worker_threads)$|^playwright-core$|^lib\/(index\.ts|pipeline\.ts|engine\/)/.test(
        name,
      ) ||
      (name.startsWith("test/") && isSlow(name)),
  );
}

// A slow test file gets a process of its own: the addon holds threads and native state, and two engines with different
// process-wide settings must not meet. Fast ones share two processes, for most of their time is that of imports. Two files at
// a time, one per core.
export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    env: { OMP_WAIT_POLICY: "passive" },
    projects: [
      {
        extends: true,
        test: { name: "fast", isolate: false, include: tests.filter((file) => !isSlow(file)) },
      },
      { extends: true, test: { name: "slow", include: tests.filter(isSlow) } },
    ],
  },
});
