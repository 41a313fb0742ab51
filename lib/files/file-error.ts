// What the operating system says of files, in the package's words. This is the one place where a system's error becomes a
// SpaError; whoever writes says what, and what reaches the top unsaid is told by the error's own path.

import { getSystemErrorMap } from "node:util";
import { SpaError, type SpaErrorCode } from "../errors.ts";

interface Trouble {
  code?: SpaErrorCode;
  why?: string;
  hint: string;
}

const space = "free some space (df -h shows the disks), then go on with --resume";
const permission = "check owner and permissions (ls -ld shows them), or choose another place";
const device = "check the disk or network drive (dmesg says more), then go on with --resume";
const openFiles = "raise the limit of open files (ulimit -n shows it), or end other programs";

const troubles: Readonly<Record<string, Trouble>> = {
  ENOSPC: { code: "DISK_FULL", why: "the disk is full", hint: space },
  EDQUOT: { code: "DISK_FULL", why: "your disk quota is used up", hint: space },
  EFBIG: {
    code: "DISK_FULL",
    why: "the file would be larger than the system allows",
    hint: "raise the limit (ulimit -f shows it) or choose another file system, then go on with --resume",
  },
  EMFILE: { code: "CAPACITY", hint: openFiles },
  ENFILE: { code: "CAPACITY", hint: openFiles },
  EACCES: { hint: permission },
  EPERM: { hint: permission },
  EROFS: { hint: "choose a place that can be written to" },
  ENOENT: { hint: "check the path" },
  ENOTDIR: { hint: "a part of the path is a file where a folder is needed: check the path" },
  EISDIR: { hint: "a folder stands where a file is needed: check the path" },
  ENAMETOOLONG: { hint: "choose a shorter name" },
  ELOOP: { hint: "links lead in a circle: check the path" },
  EEXIST: { hint: "move away what is there, or choose another name" },
  ENOTEMPTY: { hint: "move away what is there, or choose another name" },
  EIO: { hint: device },
  ESTALE: { hint: device },
  ENODEV: { hint: device },
  ENXIO: { hint: device },
};

const verbs: Readonly<Record<string, string>> = {
  open: "opened",
  read: "read",
  write: "written",
  close: "closed",
  mkdir: "made",
  mkdtemp: "made",
  scandir: "listed",
  opendir: "listed",
  readlink: "read",
  realpath: "followed",
  stat: "looked at",
  lstat: "looked at",
  fstat: "looked at",
  statfs: "looked at",
  access: "looked at",
  rename: "renamed",
  link: "linked",
  symlink: "linked",
  unlink: "removed",
  rmdir: "removed",
  rm: "removed",
  truncate: "cut back",
  ftruncate: "cut back",
  fsync: "brought to disk",
  fdatasync: "brought to disk",
  copyfile: "copied",
  chmod: "changed",
  utime: "changed",
};

/**
 * A system's error about a file as the package's: `DISK_FULL` (space, quota, largest size), `CAPACITY` (open files) or
 * `FILE_FAILED`, with the path, what was being done, and a remedy. Any other error as it is.
 *
 * @param about the file, where the caller knows better than the error (files are written aside first), and what was done to it
 */
export function fileError(error: unknown, about?: string, action = "written"): unknown {
  if (!(error instanceof Error) || error instanceof SpaError) return error;
  const { code: system, errno, syscall, path, dest } = error as NodeJS.ErrnoException & { dest?: string };
  const verb = syscall === undefined ? undefined : verbs[syscall];
  if (system === undefined || verb === undefined || typeof errno !== "number") return error;
  const trouble = troubles[system];
  const why = trouble?.why ?? getSystemErrorMap().get(errno)?.[1] ?? error.message;
  const where = about ?? path ?? "a file";
  const done = about === undefined ? `${verb}${dest === undefined ? "" : ` to ${dest}`}` : action;
  const how = path === undefined || path === where ? "" : `, ${syscall} ${path}`;
  return new SpaError(
    trouble?.code ?? "FILE_FAILED",
    `${where} could not be ${done}: ${why} (${system}${how})`,
    { hint: trouble?.hint ?? "the system refused it: check the path and its file system", cause: error },
  );
}
