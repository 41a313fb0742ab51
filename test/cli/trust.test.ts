import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadConfig } from "../../lib/config/load.ts";
import { resume } from "../../lib/pipeline.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { type Outcome, spa, writeTinyConfig } from "./spa.ts";

let folder: string;
let run: RunFolder;

const mark = () => join(folder, "executed");

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "spa-trust-"));
  writeTinyConfig(folder);
  writeFileSync(
    join(folder, "foreign.mjs"),
    `import { writeFileSync } from "node:fs"; writeFileSync(${JSON.stringify(mark())}, "");`,
  );
  const config = loadConfig(join(folder, "tiny.yaml"), [`environment.module=${join(folder, "foreign.mjs")}`]);
  run = RunFolder.create(config, { root: join(folder, "runs"), name: "foreign" });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function command(...args: string[]): Promise<Outcome> {
  return spa(folder, args, { SPA_CACHE: join(folder, "cache") });
}

test("commands do not execute what a run folder names, unless told to", async () => {
  for (const args of [
    ["train", "--resume"],
    ["train", "--resume", "runs/foreign", "--dry-run"],
    ["eval", "--run", "runs/foreign"],
    ["self-play", "--run", "runs/foreign"],
    ["ppo"],
  ]) {
    const { code, stderr } = await command(...args);
    expect([args, code]).toEqual([args, 2]);
    expect(stderr).toContain("error UNTRUSTED: ");
    expect(stderr).toContain(join(folder, "foreign.mjs"));
    expect(stderr).toContain("--trust");
  }
  for (const args of [["show"], ["compare", "runs/foreign"], ["export", "runs/foreign", "--to", "out"]])
    await command(...args);
  await expect(resume(run.path)).rejects.toMatchObject({ code: "UNTRUSTED", folder: run.path });
  expect(existsSync(mark())).toBe(false);
  await command("train", "--resume", "--trust");
  expect(existsSync(mark())).toBe(true);
});

test("a module that the user has named is executed on resume; another one in its place is not", async () => {
  const example = join(import.meta.dirname, "..", "..", "examples", "coin-grid-environment.mjs");
  copyFileSync(example, join(folder, "mine.mjs"));
  const { code, stdout } = await command("train", "tiny.yaml", "--env", "mine.mjs", "--dry-run");
  expect([code, stdout]).toEqual([0, expect.stringContaining("coin-grid")]);
  const config = run.file("config.yaml");
  const text = readFileSync(config, "utf8")
    .replace("foreign.mjs", "mine.mjs")
    .replace(/name: frozen-lake\n.*options:\n(.*\n)*?.*module/m, "name: coin-grid\n  options: {}\n  module");
  writeFileSync(config, text);
  const named = await command("train", "--resume", "--dry-run");
  expect([named.code, named.stderr]).toEqual([0, ""]);
  writeFileSync(config, text.replace("mine.mjs", "foreign.mjs"));
  expect((await command("train", "--resume", "--dry-run")).code).toBe(2);
});
