import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { spa, writeTinyConfig } from "./spa.ts";

const program = join(import.meta.dirname, "..", "..", "bin", "spa.mjs");
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "spa-output-"));
  writeTinyConfig(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a shell command in which `$SPA` is the program; `code` is that of `spa`. */
async function shell(command: string): Promise<{ code: number; stdout: string; stderr: string }> {
  const script = `set -o pipefail; SPA="${process.execPath} ${program}"; ${command}`;
  const child = spawn("bash", ["-c", script], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  const written = { stdout: "", stderr: "" };
  child.stdout.on("data", (data) => {
    written.stdout += data;
  });
  child.stderr.on("data", (data) => {
    written.stderr += data;
  });
  const code = await new Promise<number>((resolve) => child.on("close", resolve));
  return { code, ...written };
}

const train = (name: string) => `$SPA train tiny.yaml --name ${name} "arms=[control]" ppo.steps=1`;

function expectFinished(name: string): void {
  const run = RunFolder.open(join(folder, "runs", name));
  expect(run.stage("evaluate/control")?.state).toBe("done");
  expect(existsSync(run.file("report.html"))).toBe(true);
}

test("a full disk behind standard error silences it, which is said once; training goes on to its results", async () => {
  const { code, stdout } = await shell(`${train("full-error")} 2>/dev/full`);
  expect(code).toBe(0);
  expect(stdout.match(/standard error cannot be written to \(no space left on device\)/g)).toHaveLength(1);
  expect(stdout).toContain("control");
  expectFinished("full-error");
});

test("a full disk behind standard output does not end training; the code tells that the results were not written there", async () => {
  const { code, stderr } = await shell(`${train("full-output")} --log json >/dev/full`);
  expect(code).toBe(5);
  expect(stderr.match(/standard output cannot be written to \(no space left on device\)/g)).toHaveLength(1);
  expect(stderr).not.toMatch(/^ +at /m);
  expectFinished("full-output");
});

test("a reader that has seen enough ends nothing", async () => {
  const { code, stdout, stderr } = await shell(`${train("closed")} --log json | head -1`);
  expect([code, stderr]).toEqual([0, ""]);
  expect(JSON.parse(stdout)).toMatchObject({ event: "note" });
  expectFinished("closed");
  expect(await shell(`$SPA show runs/closed --stage base | head -1`)).toMatchObject({ code: 0, stderr: "" });
});

test("a command whose output is all it does fails where that cannot be written", async () => {
  for (const args of ["presets nano-sokoban", "--help"]) {
    const { code, stderr } = await shell(`$SPA ${args} >/dev/full`);
    expect([args, code]).toEqual([args, 5]);
    expect(stderr).toContain("no space left on device");
  }
  expect((await shell("$SPA nonsense 2>/dev/full")).code).toBe(2);
  expect((await spa(folder, ["presets"])).code).toBe(0);
  expect(readFileSync(join(folder, "runs", "closed", "results.json"), "utf8")).toContain("control");
});
