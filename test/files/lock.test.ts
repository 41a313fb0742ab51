import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { SpaError } from "../../lib/errors.ts";
import { acquireLock, lockHolder } from "../../lib/files/lock.ts";
import { buildProgram, killHard, type Program, waitForText } from "../run/programs/child.ts";

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

/** Without the named pipe by which a holder shows other containers that it lives. */
function locks(): string[] {
  return readdirSync(folder).filter((name) => !name.endsWith(".alive"));
}

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
  expect(locks()).toEqual(["lock.5"]);
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
  expect(locks()).toEqual(["lock.3"]);
});

test("four processes that contend for a lock whose holder died are never inside together", async () => {
  const dead = { pid: 2 ** 22 + 1, host: hostname(), processStart: "1", bootId: null };
  writeFileSync(join(folder, "lock.1"), JSON.stringify(dead));
  const children = Array.from({ length: 4 }, () => program.start([folder, "contend", "50"]));
  const outputs = await Promise.all(children.map((child) => waitForText(child, "finished")));
  expect(outputs).toHaveLength(4);
});

/** A process in a PID namespace of its own, as in a container; it keeps the host's name. */
const container = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"];
const hasContainers = spawnSync(container[0], [...container.slice(1), "true"]).status === 0;

test.runIf(hasContainers)(
  "a holder in another container is respected while it lives, and no longer",
  async () => {
    const child = program.start([folder], { command: container });
    await waitForText(child, "locked");
    const error = refusal();
    expect(error.code).toBe("RUN_LOCKED");
    expect(error.message).toMatch(/in use by process 1 on .+, another container/);
    expect(error.hint).toContain(join(folder, "lock.1"));
    await killHard(child);
    // The namespace ends with its first process, a little later.
    while (lockHolder(folder)) await new Promise((resolve) => setTimeout(resolve, 20));
    using _lock = acquireLock(folder);
    expect(locks()).toEqual(["lock.2"]);
  },
);

test.runIf(hasContainers)(
  "a lock is respected from within another container, and containers contend as processes do",
  async () => {
    {
      using _lock = acquireLock(folder);
      const child = program.start([folder, "try"], { command: container });
      await waitForText(child, "refused");
    }
    const children = [container, container, []].map((command) =>
      program.start([folder, "contend", "20"], { command }),
    );
    expect(await Promise.all(children.map((child) => waitForText(child, "finished")))).toHaveLength(3);
    expect(readdirSync(folder)).toEqual(locks());
  },
);

test("a holder in another container that gives no sign cannot be told to be dead", () => {
  const other = {
    pid: process.pid,
    host: hostname(),
    processStart: "1",
    bootId: null,
    pidNamespace: "pid:[1]",
  };
  writeFileSync(join(folder, "lock.1"), JSON.stringify(other));
  expect(refusal().message).toContain("another container");
  writeFileSync(join(folder, "lock.1"), JSON.stringify({ ...other, lifeSign: "../run.json" }));
  expect(refusal().code).toBe("RUN_LOCKED");
});

test("without hard links a lock is a folder, and excludes those with hard links", async () => {
  const script = `import fs from "node:fs"; import { syncBuiltinESMExports } from "node:module";
    fs.linkSync = () => { throw Object.assign(new Error("EPERM: not permitted, link"), { code: "EPERM", syscall: "link" }); };
    syncBuiltinESMExports();`;
  const node = ["--import", `data:text/javascript,${encodeURIComponent(script)}`];
  const child = program.start([folder], { node });
  await waitForText(child, "locked");
  expect(readdirSync(join(folder, "lock.1"))).toEqual(["holder"]);
  expect(refusal().message).toContain(`process ${child.pid}`);
  await killHard(child);
  const children = [node, node, []].map((options) =>
    program.start([folder, "contend", "20"], { node: options }),
  );
  expect(await Promise.all(children.map((other) => waitForText(other, "finished")))).toHaveLength(3);
});

test("a rival's file that is cleared away meanwhile is no failure", async () => {
  const children = Array.from({ length: 3 }, () => program.start([folder, "contend", "60"]));
  let running = true;
  const finished = Promise.all(children.map((child) => waitForText(child, "finished"))).finally(() => {
    running = false;
  });
  // As the holder of a run's lock does with all that stands aside.
  while (running) {
    for (const name of readdirSync(folder).filter((entry) => entry.endsWith(".partial")))
      rmSync(join(folder, name), { force: true });
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(await finished).toHaveLength(3);
});
