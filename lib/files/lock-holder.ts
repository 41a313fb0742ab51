// Who holds a lock, and whether that process lives. A process number says who it is only within one namespace of one running
// system; across containers of one system the kernel is asked in another way: a named pipe beside the lock, which its
// holder keeps open, has a reader for as long as the holder lives, whatever ends it.

import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, constants, existsSync, openSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { removeLeftover } from "./atomic-file.ts";

/** Who holds a lock. */
export interface LockHolder {
  pid: number;
  host: string;
  /** Start of the process in a form of the operating system's own: tells it from a later one with the same pid. */
  processStart: string | null;
  /** Start of the operating system: a process of an earlier one is dead. */
  bootId: string | null;
  /** Where `pid` is counted, in the operating system's form; containers have one each. */
  pidNamespace?: string | null;
  /** The named pipe in the folder that the process keeps open. */
  lifeSign?: string;
}

function bootId(): string | null {
  const file = "/proc/sys/kernel/random/boot_id";
  return existsSync(file) ? readFileSync(file, "utf8").trim() : null;
}

function pidNamespace(): string | null {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return null;
  }
}

/** /proc may show the processes of a namespace above this one. */
function hasOwnProc(): boolean {
  try {
    return readlinkSync("/proc/self") === String(process.pid);
  } catch {
    return false;
  }
}

/** Undefined when there is no such process (a zombie counts as none), null when the system does not tell. */
function processStart(pid: number): string | null | undefined {
  try {
    if (existsSync("/proc/self/stat")) {
      if (pid !== process.pid && !hasOwnProc()) return isRunning(pid) ? null : undefined;
      const stat = readFileSync(`/proc/${pid === process.pid ? "self" : pid}/stat`, "utf8");
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

/** This process as the holder of a lock. */
export function thisProcess(lifeSign?: string): LockHolder {
  return {
    pid: process.pid,
    host: hostname(),
    processStart: processStart(process.pid) ?? null,
    bootId: bootId(),
    pidNamespace: pidNamespace(),
    ...(lifeSign !== undefined && { lifeSign }),
  };
}

/** Where a holder stands, seen from this process: processes here can be looked up, those of other containers asked. */
export function placeOf(holder: LockHolder): "here" | "container" | "host" | "earlier start" {
  const [host, boot] = [hostname(), bootId()];
  const known = holder.bootId !== null && boot !== null;
  if (known ? holder.bootId !== boot : holder.host !== host) {
    return holder.host === host ? "earlier start" : "host";
  }
  const namespace = pidNamespace();
  return (holder.pidNamespace ?? namespace) === namespace ? "here" : "container";
}

/** Whether a holder of the lock on `folder` lives. What cannot be told counts as alive. */
export function isAlive(holder: LockHolder, folder: string): boolean {
  switch (placeOf(holder)) {
    case "earlier start":
      return false;
    case "host":
      return true;
    case "container":
      return (
        holder.lifeSign === undefined || !isSign(holder.lifeSign) || isOpen(join(folder, holder.lifeSign))
      );
    case "here": {
      const start = processStart(holder.pid);
      if (start === undefined) return false;
      return start === null || holder.processStart === null || start === holder.processStart;
    }
  }
}

/** A named pipe that shows that this process lives. */
export interface LifeSign {
  /** Its name in the folder. */
  name: string;
  end(): void;
}

function isSign(name: string): boolean {
  return /^lock\.\d+\.[0-9a-f]+\.alive$/.test(name);
}

/** Whether a process has the pipe open. A pipe that is gone or cannot be asked counts as open. */
function isOpen(pipe: string): boolean {
  try {
    closeSync(openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK));
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ENXIO";
  }
}

/** Shows in `folder` that this process lives; undefined where the system or the file system has no named pipes. */
export function openLifeSign(folder: string): LifeSign | undefined {
  const name = `lock.${process.pid}.${randomBytes(6).toString("hex")}.alive`;
  const path = join(folder, name);
  try {
    execFileSync("mkfifo", [path], { stdio: "ignore" });
    const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    return {
      name,
      end: () => {
        closeSync(descriptor);
        removeLeftover(path);
      },
    };
  } catch {
    removeLeftover(path);
    return undefined;
  }
}

/** Removes the signs in `folder` that no process keeps open. */
export function clearLifeSigns(folder: string): void {
  for (const name of readdirSync(folder).filter(isSign)) {
    if (!isOpen(join(folder, name))) removeLeftover(join(folder, name));
  }
}
