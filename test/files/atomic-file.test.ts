import {
  existsSync,
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
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { SpaError } from "../../lib/errors.ts";
import { asidePath, commitFolder, writeFileAtomically } from "../../lib/files/atomic-file.ts";
import { JsonLines } from "../../lib/files/json-lines.ts";
import { MetricsLog } from "../../lib/run/metrics.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "spa-files-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return error instanceof SpaError ? error.code : String(error);
  }
  return "none";
}

/** Linux's device on which every write fails for want of space; the tests that need it say so by its name. */
const full = "/dev/full";

describe("atomic files", () => {
  test("a file is replaced and nothing stays aside", () => {
    const file = join(folder, "file");
    writeFileAtomically(file, "old");
    writeFileAtomically(file, Uint8Array.of(1, 2, 3));
    expect([...readFileSync(file)]).toEqual([1, 2, 3]);
    expect(readdirSync(folder)).toEqual(["file"]);
  });

  test("on a full disk the old content stays and the error is DISK_FULL", () => {
    const file = join(folder, "file");
    writeFileAtomically(file, "old");
    symlinkSync(full, asidePath(file));
    expect(codeOf(() => writeFileAtomically(file, "new"))).toBe("DISK_FULL");
    expect(readFileSync(file, "utf8")).toBe("old");
    expect(readdirSync(folder)).toEqual(["file"]);
  });

  test("a folder appears whole; a target that is not empty is an error and stays", async () => {
    const aside = join(folder, "a.partial");
    mkdirSync(join(aside, "inner"), { recursive: true });
    writeFileSync(join(aside, "inner", "x"), "x");
    await commitFolder(aside, join(folder, "a"));
    expect(readFileSync(join(folder, "a", "inner", "x"), "utf8")).toBe("x");
    expect(existsSync(aside)).toBe(false);
    mkdirSync(aside);
    await expect(commitFolder(aside, join(folder, "a"))).rejects.toThrow(/ENOTEMPTY/);
    expect(existsSync(join(folder, "a", "inner", "x"))).toBe(true);
  });
});

describe("JSON lines", () => {
  test("rows come back; NaN is left out, infinities become the largest numbers", () => {
    const lines = new JsonLines<object>(join(folder, "log"));
    lines.append({ a: 1, b: Number.NaN }, { c: Number.POSITIVE_INFINITY, d: Number.NEGATIVE_INFINITY });
    lines.append();
    expect(lines.read()).toEqual([{ a: 1 }, { c: Number.MAX_VALUE, d: -Number.MAX_VALUE }]);
  });

  test("a file that does not exist has no rows and can be filtered and repaired", () => {
    const lines = new JsonLines(join(folder, "none"));
    lines.filter(() => false);
    lines.repair();
    expect(lines.read()).toEqual([]);
    expect(readdirSync(folder)).toEqual([]);
  });

  test("cut at any byte, the whole rows before it remain", () => {
    const row = fc.dictionary(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), { maxKeys: 3 });
    const path = join(folder, "log");
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 6 }), fc.nat(), (rows, cut) => {
        const bytes = Buffer.from(rows.map((value) => `${JSON.stringify(value)}\n`).join(""));
        const kept = bytes.subarray(0, cut % (bytes.length + 1));
        writeFileSync(path, kept);
        const whole = rows.slice(0, kept.filter((byte) => byte === 10).length);
        const lines = new JsonLines(path);
        expect(lines.read()).toEqual(JSON.parse(JSON.stringify(whole)));
        lines.repair();
        lines.append({ next: 1 });
        lines.close();
        expect(new JsonLines(path).read()).toEqual([...JSON.parse(JSON.stringify(whole)), { next: 1 }]);
      }),
      { numRuns: 200 },
    );
  });

  test("an end of zeros, as a power cut leaves it, is cut off", () => {
    const path = join(folder, "log");
    writeFileSync(path, '{"a":1}\n\0\0\0\0\n\0\0');
    const lines = new JsonLines(path);
    lines.repair();
    expect(readFileSync(path, "utf8")).toBe('{"a":1}\n');
  });

  test("a damaged line before the end is an error that names it", () => {
    const path = join(folder, "log");
    writeFileSync(path, '{"a":1}\n{"b"\n{"c":1}\n');
    expect(() => new JsonLines(path).read()).toThrow(/log, line 2, is not JSON/);
  });

  test("on a full disk appending is DISK_FULL", () => {
    const path = join(folder, "log");
    symlinkSync(full, path);
    expect(codeOf(() => new JsonLines<object>(path).append({ a: 1 }))).toBe("DISK_FULL");
  });
});

describe("metrics", () => {
  test("float32 noise is cut, whole numbers stay, what does not apply is left out", () => {
    const log = new MetricsLog(join(folder, "metrics.jsonl"));
    log.append({
      stage: "s",
      step: 1,
      loss: Math.fround(0.1),
      tokens: 12_345_678_901,
      kl: Number.NaN,
      other: undefined,
    });
    expect(readFileSync(log.path, "utf8")).toBe(
      '{"stage":"s","step":1,"loss":0.100000001,"tokens":12345678901}\n',
    );
    expect(Math.fround(log.read()[0].loss as number)).toBe(Math.fround(0.1));
  });

  test("truncation drops later steps of one stage, at the end or in the middle, and appending goes on", () => {
    const log = new MetricsLog(join(folder, "metrics.jsonl"));
    for (const [stage, step] of [
      ["a", 1],
      ["a", 2],
      ["b", 1],
      ["b", 2],
      ["b", 3],
    ] as const)
      log.append({ stage, step });
    log.truncateAfter("b", 1);
    log.truncateAfter("a", 1);
    log.append({ stage: "b", step: 2 });
    expect(log.read().map(({ stage, step }) => `${stage}${step}`)).toEqual(["a1", "b1", "b2"]);
    log.truncateAfter("b", -1);
    expect(log.read()).toEqual([{ stage: "a", step: 1 }]);
  });
});
