// A lock on a folder that dies with its process. Lock files are numbered, `lock.1`, `lock.2`, …, and only the highest
// counts. To take the lock is to create the next number, which the file system lets one process do; so two processes
// that both find a dead holder cannot both take over, which with one fixed name they could. The highest file is never
// deleted (releasing empties it, which no full disk can prevent), so a number is never used twice.
//
// Whether a holder lives lock-holder.ts tells.

import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { SpaError } from "../errors.ts";
import { asidePath, removeLeftover } from "./atomic-file.ts";
import { fileError } from "./file-error.ts";
import {
  clearLifeSigns,
  isAlive,
  type LifeSign,
  type LockHolder,
  openLifeSign,
  placeOf,
  thisProcess,
} from "./lock-holder.ts";

export type { LockHolder } from "./lock-holder.ts";

/** Where file systems lack hard links a lock is a folder, and this is the file in it. */
const holderFile = "holder";

const noHardLinks = ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EINVAL", "EXDEV"];

function highestLock(folder: string): number {
  const numbers = readdirSync(folder).map((name) => Number(/^lock\.(\d+)$/.exec(name)?.[1] ?? 0));
  return Math.max(0, ...numbers);
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

/** The file that names the holder. */
function contentFile(lock: string): string {
  const inner = join(lock, holderFile);
  return existsSync(inner) ? inner : lock;
}

/** What a lock says. An empty one has been released; another unreadable one is the work of another program. */
function readLock(lock: string): LockHolder | undefined {
  try {
    const content = JSON.parse(readFileSync(contentFile(lock), "utf8")) as LockHolder | null;
    return Number.isInteger(content?.pid) ? (content as LockHolder) : undefined;
  } catch {
    return undefined;
  }
}

/** The holder that a lock names, unless it is known to be dead. */
function holderOf(folder: string, number: number): LockHolder | undefined {
  const holder = readLock(join(folder, `lock.${number}`));
  return holder && isAlive(holder, folder) ? holder : undefined;
}

/** Who holds the folder's lock at this moment, as far as can be told (a holder on another host may be dead). */
export function lockHolder(folder: string): LockHolder | undefined {
  return holderOf(folder, highestLock(folder));
}

/** Creates `lock` with its content at once; false if it exists, or a rival cleared away what stood aside. */
function createExclusively(lock: string, content: string): boolean {
  const aside = asidePath(lock);
  try {
    writeFileSync(aside, content);
    linkSync(aside, lock);
    return true;
  } catch (error) {
    const code = codeOf(error) ?? "";
    if (code === "EEXIST" || (code === "ENOENT" && existsSync(dirname(lock)))) return false;
    if (noHardLinks.includes(code)) return createFolderExclusively(lock, content);
    throw fileError(error, lock);
  } finally {
    removeLeftover(aside);
  }
}

/** A folder is not renamed onto a file, nor onto a folder with something in it. */
function createFolderExclusively(lock: string, content: string): boolean {
  const aside = `${asidePath(lock)}.folder`;
  try {
    mkdirSync(aside);
    writeFileSync(join(aside, holderFile), content);
    renameSync(aside, lock);
    return true;
  } catch (error) {
    if (["EEXIST", "ENOTEMPTY", "ENOTDIR", "ENOENT"].includes(codeOf(error) ?? "")) return false;
    throw fileError(error, lock);
  } finally {
    removeLeftover(aside);
  }
}

function lockedError(folder: string, holder: LockHolder, lock: string): SpaError {
  const { host, pid } = holder;
  const place = placeOf(holder);
  const where = place === "here" ? "" : `, another ${place}`;
  return new SpaError("RUN_LOCKED", `${folder} is in use by process ${pid} on ${host}${where}`, {
    hint:
      place === "here"
        ? `wait for it, or stop it (kill ${pid}: it saves and ends)`
        : `if no process works in it there any more, delete ${lock}`,
  });
}

/**
 * Takes the lock of `folder`, over the dead body of a former holder if need be.
 *
 * @returns an object whose disposal releases the lock
 * @throws SpaError `RUN_LOCKED`, which names the holder's process and host; `FILE_FAILED`, `DISK_FULL`
 */
export function acquireLock(folder: string): Disposable {
  let lifeSign: LifeSign | undefined;
  try {
    for (;;) {
      const highest = highestLock(folder);
      const holder = holderOf(folder, highest);
      if (holder) throw lockedError(folder, holder, join(folder, `lock.${highest}`));
      lifeSign ??= openLifeSign(folder);
      const lock = join(folder, `lock.${highest + 1}`);
      if (!createExclusively(lock, `${JSON.stringify(thisProcess(lifeSign?.name))}\n`)) continue;
      // The listing may be older than a lock that came and went since: then a higher number exists, and counts.
      if (highestLock(folder) > highest + 1) {
        removeLeftover(lock);
        continue;
      }
      for (let number = highest; number > 0 && existsSync(join(folder, `lock.${number}`)); number--) {
        removeLeftover(join(folder, `lock.${number}`));
      }
      clearLifeSigns(folder);
      return { [Symbol.dispose]: () => release(lock, lifeSign) };
    }
  } catch (error) {
    lifeSign?.end();
    throw fileError(error);
  }
}

function release(lock: string, lifeSign: LifeSign | undefined): void {
  try {
    if (existsSync(lock)) truncateSync(contentFile(lock));
  } catch (error) {
    throw fileError(error);
  } finally {
    lifeSign?.end();
  }
}
