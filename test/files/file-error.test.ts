import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { exitCodeOf } from "../../lib/cli/exit-codes.ts";
import { configSchema } from "../../lib/config/schema.ts";
import { SpaError } from "../../lib/errors.ts";
import { fileError } from "../../lib/files/file-error.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "spa-file-error-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

test.each([
  ["ENOTDIR", "a file where a folder is needed", () => readdirSync(join(folder, "file"))],
  ["EISDIR", "a folder stands", () => readFileSync(folder)],
  ["ENOENT", "check the path", () => readFileSync(join(folder, "none"))],
  ["ENAMETOOLONG", "a shorter name", () => mkdirSync(join(folder, "x".repeat(300)))],
  ["ELOOP", "in a circle", () => readFileSync(join(folder, "loop"))],
  ["EEXIST", "move away", () => mkdirSync(join(folder, "file"))],
  ["EROFS|EACCES|EPERM|ENOENT", "", () => writeFileSync("/proc/self/none", "")],
  ["EIO", "the disk or network drive", () => readFileSync("/proc/self/mem")],
])("%s is told with path, action and remedy", (code, hint, action) => {
  writeFileSync(join(folder, "file"), "");
  symlinkSync("loop", join(folder, "loop"));
  const error = fileError(thrownBy(action)) as SpaError;
  expect(error).toBeInstanceOf(SpaError);
  expect(error.code).toBe("FILE_FAILED");
  expect(error.message).toMatch(new RegExp(`could not be (read|made|listed|opened): .+ \\((${code})\\b`));
  expect(error.hint).toContain(hint);
  expect(exitCodeOf(error)).toBe(5);
});

test.each([
  ["ENOSPC", "DISK_FULL", "the disk is full"],
  ["EDQUOT", "DISK_FULL", "your disk quota is used up"],
  ["EFBIG", "DISK_FULL", "larger than the system allows"],
  ["EMFILE", "CAPACITY", "too many open files"],
])("%s while writing is %s", (code, expected, text) => {
  const errno = code === "EMFILE" ? -24 : -1;
  const system = Object.assign(new Error(`${code}: reason, write`), { code, errno, syscall: "write" });
  const error = fileError(system, "runs/a/metrics.jsonl") as SpaError;
  expect(error.code).toBe(expected);
  expect(error.message).toContain("runs/a/metrics.jsonl could not be written");
  expect(error.message).toContain(text);
});

test("what is no error of the file system stays as it is", () => {
  const network = Object.assign(new Error("x"), { code: "ECONNREFUSED", errno: -111, syscall: "connect" });
  for (const error of [network, new TypeError("x"), new SpaError("ABORTED", "x"), "x", undefined]) {
    expect(fileError(error)).toBe(error);
  }
});

test("a run folder that cannot be made is told by the first failure, not by that of clearing up", () => {
  writeFileSync(join(folder, "runs"), "a file");
  const error = thrownBy(() =>
    RunFolder.create(configSchema.parse({ preset: "test" }), { root: join(folder, "runs") }),
  );
  expect(error).toMatchObject({
    code: "FILE_FAILED",
    message: expect.stringContaining(join(folder, "runs")),
  });
  const name = "n".repeat(300);
  const tooLong = thrownBy(() =>
    RunFolder.create(configSchema.parse({ preset: "test" }), { root: folder, name }),
  );
  expect(tooLong).toMatchObject({ code: "FILE_FAILED", hint: "choose a shorter name" });
});

test("a file that the limit of sizes cuts is DISK_FULL, and the program names it", () => {
  const module = new URL("../../dist/lib/files/atomic-file.js", import.meta.url).href;
  const script = `import(${JSON.stringify(module)}).then(({ writeFileAtomically }) => {
    process.on("SIGXFSZ", () => {});
    try { writeFileAtomically("big", new Uint8Array(64 * 1024)); } catch (error) { console.log(error.code); }
  })`;
  const command = `ulimit -f 8; exec ${process.execPath} -e '${script}'`;
  expect(execFileSync("bash", ["-c", command], { cwd: folder, encoding: "utf8" }).trim()).toBe("DISK_FULL");
  expect(readdirSync(folder)).toEqual([]);
});
