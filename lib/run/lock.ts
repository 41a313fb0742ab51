// A lock on a folder that dies with its process. Lock files are numbered, `lock.1`, `lock.2`, …, and only the highest
// counts. To take the lock is to create the next number, which the file system lets one process do; so two processes
// that both find a dead holder cannot both take over, which with one fixed name they could. The highest file is never
// deleted (releasing empties it, which no full disk can prevent), so a number is never used twice.

import { execFileSync } from "node:child_process";
import {
  existsSync,
  linkSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { asidePath } from "../atomic-file.ts";
import { SpaError } from "../errors.ts";
import { fileError } from "../file-error.ts";

/** Who holds a lock. */
export interface LockHolder {
  pid: number;
  host: string;
  /** Start of the process in a form of the operating system's own: tells it from a later one with the same pid. */
  processStart: string | null;
  /** Start of the operating system: a process of an earlier one is dead. */
  bootId: string | null;
}

function bootId(): string | null {
  const file = "/proc/sys/kernel/random/boot_id";
  return existsSync(file) ? readFileSync(file, "utf8").trim() : null;
}

/** Undefined when there is no such process (a zombie counts as none), null when the system does not tell. */
function processStart(pid: number): string | null | undefined {
  try {
    if (existsSync("/proc/self/stat")) {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
    }
    return execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8" }).trim() || null;
  } catch {
    return isRunning(pid) ? null : undefined;
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function isAlive(holder: LockHolder): boolean {
  if (holder.bootId !== null && holder.bootId !== bootId()) return false;
  const start = processStart(holder.pid);
  if (start === undefined) return false;
  return start === null || holder.processStart === null || start === holder.processStart;
}

function highestLock(folder: string): number {
  const numbers = readdirSync(folder).map((name) => Number(/^lock\.(\d+)$/.exec(name)?.[1] ?? 0));
  return Math.max(0, ...numbers);
}

/** What a lock file says. An empty one has been released; another unreadable one is the work of another program. */
function readLock(file: string): LockHolder | undefined {
  try {
    const content = JSON.parse(readFileSync(file, "utf8")) as LockHolder | null;
    return Number.isInteger(content?.pid) ? (content as LockHolder) : undefined;
  } catch {
    return undefined;
  }
}

/** The holder that a lock file names, unless it is known to be dead. */
function holderOf(file: string): LockHolder | undefined {
  const holder = readLock(file);
  return holder && (holder.host !== hostname() || isAlive(holder)) ? holder : undefined;
}

/** Who holds the folder's lock at this moment, as far as can be told (a holder on another host may be dead). */
export function lockHolder(folder: string): LockHolder | undefined {
  return holderOf(join(folder, `lock.${highestLock(folder)}`));
}

/** Creates `file` with its content at once; false if it exists. */
function createExclusively(file: string, content: string): boolean {
  const aside = asidePath(file);
  try {
    writeFileSync(aside, content);
    linkSync(aside, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw fileError(error, file);
  } finally {
    rmSync(aside, { force: true });
  }
}

function lockedError(folder: string, holder: LockHolder, file: string): SpaError {
  const elsewhere = holder.host !== hostname();
  return new SpaError(
    "RUN_LOCKED",
    `${folder} is in use by process ${holder.pid} on ${holder.host}${elsewhere ? ", another host" : ""}`,
    {
      hint: elsewhere
        ? `if no process works in it there any more, delete ${file}`
        : `wait for it, or stop it (kill ${holder.pid}: it saves and ends)`,
    },
  );
}

/**
 * Takes the lock of `folder`, over the dead body of a former holder if need be.
 *
 * @returns an object whose disposal releases the lock
 * @throws SpaError `RUN_LOCKED`, which names the holder's process and host
 */
export function acquireLock(folder: string): Disposable {
  const self: LockHolder = {
    pid: process.pid,
    host: hostname(),
    processStart: processStart(process.pid) ?? null,
    bootId: bootId(),
  };
  for (;;) {
    const highest = highestLock(folder);
    const last = join(folder, `lock.${highest}`);
    const holder = holderOf(last);
    if (holder) throw lockedError(folder, holder, last);
    const file = join(folder, `lock.${highest + 1}`);
    if (!createExclusively(file, `${JSON.stringify(self)}\n`)) continue;
    // The listing may be older than a lock that came and went since: then a higher number exists, and counts.
    if (highestLock(folder) > highest + 1) {
      rmSync(file, { force: true });
      continue;
    }
    for (let number = highest; number > 0 && existsSync(join(folder, `lock.${number}`)); number--) {
      rmSync(join(folder, `lock.${number}`), { force: true });
    }
    return {
      [Symbol.dispose]: () => {
        if (existsSync(file)) truncateSync(file);
      },
    };
  }
}
