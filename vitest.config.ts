import { defineConfig } from "vitest/config";

// Each test file gets a process of its own (pool "forks"): the addon holds threads and native state, and two
// engines with different process-wide settings must not meet. Two files at a time, one per core.
export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    env: { OMP_WAIT_POLICY: "passive" },
  },
});
