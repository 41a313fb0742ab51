import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import type { Measurement } from "../../bench/measurement.ts";
import type { WorkerReport } from "../../bench/worker.ts";
import { packageRoot } from "../../lib/package.ts";

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** `npm run bench -- …` without set-up. */
function bench(args: string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  const script = join(packageRoot(), "bench", "run.mjs");
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [script, ...args],
      { env: { ...process.env, ...env } },
      (error, stdout, stderr) => {
        resolve({ code: typeof error?.code === "number" ? error.code : error ? 1 : 0, stdout, stderr });
      },
    );
  });
}

test("benchmarks give figures, as a table and as JSON; a missing peer is said plainly", async () => {
  const folder = mkdtempSync(join(tmpdir(), "spa-bench-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "bench.json");
  const names = [
    "gemm",
    "sampling",
    "serving",
    "rollout",
    "log-probs",
    "sft",
    "ppo",
    "event-loop",
    "advantages",
  ];
  const args = ["--quick", "--rounds", "1", "--threads", "1", "--peers", "--json", file, "--only", ...names];
  const { code, stdout, stderr } = await bench(args, { SPA_PEER_PYTHON: "/nowhere/python3" });
  expect(code, stderr).toBe(0);
  expect(stdout).toContain("no peer: /nowhere/python3 does not start");
  const { reports } = JSON.parse(readFileSync(file, "utf8")) as { reports: WorkerReport[] };
  expect(reports).toHaveLength(1);
  const byName = new Map(reports[0].measurements.map((measurement) => [measurement.name, measurement]));
  for (const { name, value } of byName.values()) expect(value, name).toBeGreaterThanOrEqual(0);
  for (const name of [
    "sampling",
    "serving, 64 clients, 32 slots",
    "generate loop, batches of 32",
    "collection of multi-turn episodes",
    "log-probs",
    "SFT step",
    "PPO step",
    "GAE",
  ]) {
    expect(stdout).toContain(name);
    expect(byName.get(name)!.value).toBeGreaterThan(0);
  }
  const step = byName.get("SFT step") as Measurement;
  expect(step.gemmShare).toBeCloseTo(step.flopsPerSecond! / byName.get("GEMM 512 x 512 x 512")!.value, 6);
  expect(step.peer).toBeUndefined();
});

test("wrong arguments are refused with what is allowed", async () => {
  const unknown = await bench(["--only", "speed"]);
  expect([unknown.code, unknown.stderr]).toEqual([
    2,
    expect.stringContaining("Allowed choices are gemm, sampling"),
  ]);
  const threads = await bench(["--threads", "zero"]);
  expect([threads.code, threads.stderr]).toEqual([2, expect.stringContaining("whole numbers like 1,2")]);
  const help = await bench(["--help"]);
  expect([help.code, help.stdout]).toEqual([0, expect.stringContaining("--peers")]);
});

test("the peer's script says which packages its Python lacks", async () => {
  const script = join(packageRoot(), "bench", "peers", "peer.py");
  // Without site-packages no Python has them.
  const { stdout } = await promisify(execFile)("python3", ["-I", "-S", script]).catch(
    (failure: Outcome) => failure,
  );
  const { error } = JSON.parse(stdout) as { error: string };
  expect(error).toMatch(/cannot import torch .* and transformers .*SPA_PEER_PYTHON/);
});
