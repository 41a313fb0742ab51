import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { makeFolders } from "../../lib/files/folders.ts";

function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), "spa-folders-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test("what is missing is made, what is there stays", () => {
  const folder = join(scratch(), "a", "b", "c");
  makeFolders(folder);
  writeFileSync(join(folder, "kept"), "");
  makeFolders(folder);
  expect(statSync(join(folder, "kept")).isFile()).toBe(true);
});

test("a file in the way is an error", () => {
  const file = join(scratch(), "file");
  writeFileSync(file, "");
  expect(() => makeFolders(file)).toThrow(expect.objectContaining({ code: "EEXIST" }));
  expect(() => makeFolders(join(file, "below"))).toThrow(expect.objectContaining({ code: "ENOTDIR" }));
});

test.runIf(process.platform === "linux")("where nobody can make a folder it ends with an error", () => {
  for (const folder of ["/proc/nothing", "/proc/nothing/below"])
    expect(() => makeFolders(folder)).toThrow(expect.objectContaining({ code: "ENOENT" }));
});
