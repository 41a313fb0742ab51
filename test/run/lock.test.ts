import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { SpaError } from "../../lib/errors.ts";
import { acquireLock, lockHolder } from "../../lib/run/lock.ts";
import { buildProgram, killHard, type Program, waitForText } from "./programs/child.ts";

let program: Program;
let folder: string;

beforeAll(async () => {
  program = await buildProgram("locker");
});
afterAll(() => program[Symbol.dispose]());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "spa-lock-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function refusal(): SpaError {
  try {
    acquireLock(folder);
  } catch (error) {
    return error as SpaError;
  }
  throw new Error("the lock was given");
}

test("another process's lock is respected, named, and taken over once that process is killed", async () => {
  const child = program.start([folder]);
  await waitForText(child, "locked");
  const error = refusal();
  expect(error.code).toBe("RUN_LOCKED");
  expect(error.message).toContain(`process ${child.pid} on ${hostname()}`);
  expect(error.hint).toContain(`kill ${child.pid}`);
  expect(lockHolder(folder)?.pid).toBe(child.pid);
  await killHard(child);
  expect(lockHolder(folder)).toBeUndefined();
  using _lock = acquireLock(folder);
  expect(lockHolder(folder)?.pid).toBe(process.pid);
});

test("a released lock is free; one process cannot hold it twice", () => {
  for (let round = 0; round < 3; round++) {
    using _lock = acquireLock(folder);
    expect(refusal().message).toContain(`process ${process.pid}`);
  }
  expect(lockHolder(folder)).toBeUndefined();
  expect(readdirSync(folder)).toEqual(["lock.3"]);
});

test("a pid that now belongs to another process does not hold the lock", () => {
  const holder = { pid: process.pid, host: hostname(), processStart: "1", bootId: null };
  writeFileSync(join(folder, "lock.4"), JSON.stringify(holder));
  using _lock = acquireLock(folder);
  expect(readdirSync(folder)).toEqual(["lock.5"]);
});

test("a lock of an earlier boot is stale; one of another host is not", () => {
  const holder = { pid: process.pid, host: hostname(), processStart: null, bootId: "earlier" };
  writeFileSync(join(folder, "lock.1"), JSON.stringify(holder));
  acquireLock(folder)[Symbol.dispose]();
  writeFileSync(join(folder, "lock.9"), JSON.stringify({ ...holder, host: "elsewhere" }));
  const error = refusal();
  expect(error.message).toContain("on elsewhere, another host");
  expect(error.hint).toContain(join(folder, "lock.9"));
});

test("a lock file of no sense holds nobody off", () => {
  writeFileSync(join(folder, "lock.1"), "");
  writeFileSync(join(folder, "lock.2"), "null");
  using _lock = acquireLock(folder);
  expect(readdirSync(folder)).toEqual(["lock.3"]);
});

test("four processes that contend for a lock whose holder died are never inside together", async () => {
  const dead = { pid: 2 ** 22 + 1, host: hostname(), processStart: "1", bootId: null };
  writeFileSync(join(folder, "lock.1"), JSON.stringify(dead));
  const children = Array.from({ length: 4 }, () => program.start([folder, "contend", "50"]));
  const outputs = await Promise.all(children.map((child) => waitForText(child, "finished")));
  expect(outputs).toHaveLength(4);
});
